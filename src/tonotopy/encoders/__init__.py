"""Networks from features of any duration to one vector a clip."""

from __future__ import annotations

from tonotopy.encoders.convnet import ConvNet
from tonotopy.encoders.crnn import CRNN
from tonotopy.encoders.encoder import Encoder
from tonotopy.encoders.max_pool_convnet import MaxPoolConvNet
from tonotopy.encoders.resnet import ResNet18

__all__ = ["CRNN", "ConvNet", "Encoder", "MaxPoolConvNet", "ResNet18"]
