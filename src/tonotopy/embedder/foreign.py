"""Foreign encoders with the front ends that they need."""

from __future__ import annotations

from pathlib import Path

from tonotopy.audio import LogMel, RawWaveform
from tonotopy.embedder.audio_embedder import AudioEmbedder
from tonotopy.encoders import HuggingFaceEncoder, TFLiteEncoder

LONGEST_WINDOW = 30.0
YAMNET_EMBEDDING = "tower0/network/layer28/reduce_mean"
"""The 1,024 values before YAMNet's classifier."""


def load_hugging_face(source: Path | str, *, frozen: bool = True) -> AudioEmbedder:
    """Load an audio model of transformers as an embedder; needs the extra `hf-audio`.

    Clips longer than 30 s, or than what the model reads, are cut into windows.

    Args:
        source: A folder of `save_pretrained` of transformers, or a hub id, with weights as
            safetensors.
        frozen: Whether training leaves the weights as they are.

    Raises:
        MissingExtraError: transformers is not installed.
        UsageError: There is no such model, or it embeds no audio.
        DataError: The weights are not those of the model.
    """
    encoder = HuggingFaceEncoder(str(source), frozen=frozen)
    window = min(LONGEST_WINDOW, encoder.max_seconds or LONGEST_WINDOW)
    return AudioEmbedder(RawWaveform(encoder.sample_rate), encoder, window_seconds=window).eval()


def load_yamnet(file: Path | str, *, output: str | None = YAMNET_EMBEDDING) -> AudioEmbedder:
    """Load a YAMNet that reads log-mel patches, as TensorFlow Lite; needs the extra `tflite`.

    The front end has 64 HTK mel bands of equal height from 125 to 7,500 Hz of the magnitudes of
    25 ms windows, 10 ms apart, and ln(mel + 0.001); patches of 96 frames, half of one apart. A clip
    shorter than 0.96 s is repeated. Frames are centred, which moves them by 13 ms against those
    of the published front end.

    Args:
        file: The `.tflite` file, with an input (1, 96, 64).
        output: Name of the embedding tensor; None for the 521 class scores.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
        UsageError: The file cannot be read or is another network.
        DataError: The file is damaged.
    """
    front_end = LogMel(
        sample_rate=16000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        n_mels=64,
        f_min=125.0,
        f_max=7500.0,
        mel_scale="htk",
        mel_norm=None,
        power=1.0,
        log="log",
        eps=1e-3,
    )
    encoder = TFLiteEncoder(
        front_end.num_bins,
        str(file),
        axes="batch time bins",
        output=output,
        patch_frames=96,
        patch_hop=48,
    )
    return AudioEmbedder(front_end, encoder).eval()
