"""Networks from features of any duration to one vector a clip."""

from __future__ import annotations

from tonotopy.encoders._patches import PatchEncoder
from tonotopy.encoders.convnet import ConvNet
from tonotopy.encoders.crnn import CRNN
from tonotopy.encoders.encoder import Encoder
from tonotopy.encoders.hugging_face_encoder import HuggingFaceEncoder
from tonotopy.encoders.max_pool_convnet import MaxPoolConvNet
from tonotopy.encoders.onnx_encoder import OnnxEncoder
from tonotopy.encoders.patch_convnet import PatchConvNet
from tonotopy.encoders.patch_crnn import PatchCRNN
from tonotopy.encoders.patch_resnet import PatchResNet18
from tonotopy.encoders.patch_vgg import PatchVGG
from tonotopy.encoders.resnet import ResNet18
from tonotopy.encoders.tflite_encoder import TFLiteEncoder
from tonotopy.encoders.two_branch import TwoBranchNet

__all__ = [
    "CRNN",
    "ConvNet",
    "Encoder",
    "HuggingFaceEncoder",
    "MaxPoolConvNet",
    "OnnxEncoder",
    "PatchCRNN",
    "PatchConvNet",
    "PatchEncoder",
    "PatchResNet18",
    "PatchVGG",
    "ResNet18",
    "TFLiteEncoder",
    "TwoBranchNet",
]
