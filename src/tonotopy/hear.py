"""The interface of HEAR, the Holistic Evaluation of Audio Representations.

Give this module's name to its tools, and a model's folder as the model:

    hear-validator tonotopy.hear --model runs/mine
    python -m heareval.embeddings.runner tonotopy.hear --model runs/mine ...

Source: Turian et al., "HEAR: Holistic Evaluation of Audio Representations", PMLR 176, 2022;
https://hearbenchmark.com/hear-api.html.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.embedder import AudioEmbedder

SAMPLE_RATES = (16000, 22050, 32000, 44100, 48000)
"""In hertz, at which HEAR has its data."""

WINDOWS_AT_ONCE = 64
"""Most windows in one pass, which bounds the memory of long recordings."""


class HearModel(nn.Module):
    """A model with the attributes that HEAR reads.

    Args:
        embedder: What embeds.
        hop_ms: Milliseconds from timestamp to timestamp. Default 50, the longest that HEAR
            suggests: onsets of music count within 50 ms.
        window_seconds: Length of the window around a timestamp. Default 1, the patch of the
            angular contrastive paper: shorter windows tell times better apart, and are less like
            what the model was trained on.

    Attributes:
        sample_rate: In hertz.
        scene_embedding_size: Length D of the embedding of a recording.
        timestamp_embedding_size: The same D.

    Raises:
        UsageError: HEAR has no data at the sample rate, or an option is not positive.
    """

    def __init__(
        self, embedder: AudioEmbedder, *, hop_ms: float = 50.0, window_seconds: float = 1.0
    ) -> None:
        super().__init__()
        if embedder.sample_rate not in SAMPLE_RATES:
            raise UsageError(
                f"HEAR has no data at {embedder.sample_rate} Hz, only at "
                f"{', '.join(map(str, SAMPLE_RATES))}: train a model whose front end takes those"
            )
        if hop_ms <= 0 or window_seconds <= 0:
            raise UsageError(
                f"hop_ms and window_seconds must be above 0, got {hop_ms} and {window_seconds}"
            )
        self.embedder = embedder
        self.hop_ms = hop_ms
        self.window_seconds = window_seconds
        self.sample_rate: int = embedder.sample_rate
        self.scene_embedding_size: int = embedder.embedding_dim
        self.timestamp_embedding_size: int = embedder.embedding_dim

    def forward(self, audio: Tensor) -> Tensor:
        """Embed recordings as `get_scene_embeddings` does."""
        return get_scene_embeddings(audio, self)


def load_model(
    model_file_path: str | Path, *, hop_ms: float = 50.0, window_seconds: float = 1.0
) -> HearModel:
    """Load a model for HEAR.

    Args:
        model_file_path: A folder that `fit` or `save_pretrained` wrote, or a hub id.
        hop_ms: See `HearModel`.
        window_seconds: See `HearModel`.

    Raises:
        UsageError: There is no model, or HEAR has no data at its sample rate.
        DataError: The file is damaged.
    """
    embedder = AudioEmbedder.from_pretrained(model_file_path)
    return HearModel(embedder, hop_ms=hop_ms, window_seconds=window_seconds).eval()


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Embed whole recordings.

    Args:
        audio: (n_sounds, n_samples) at the model's sample rate, in [-1, 1].
        model: Of `load_model`.

    Returns:
        (n_sounds, D), float32, on the CPU.

    Raises:
        UsageError: The audio has another shape, no sample, or values that are not finite.
    """
    _check(audio)
    return model.embedder.embed(list(audio))


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Embed a window around every timestamp; the first is at 0 ms, the last within the recording.

    Outside a recording is silence. Every centre is rounded to a sample by itself, so that
    timestamps do not drift in long recordings.

    Args:
        audio: (n_sounds, n_samples) at the model's sample rate, in [-1, 1].
        model: Of `load_model`.

    Returns:
        Embeddings (n_sounds, n_timestamps, D) and timestamps (n_sounds, n_timestamps) in
        milliseconds, the centres of the windows, float32, on the CPU.

    Raises:
        UsageError: The audio has another shape, no sample, or values that are not finite.
    """
    return embed_windows(
        audio, model.embedder, hop_ms=model.hop_ms, window_seconds=model.window_seconds
    )


@torch.no_grad()
def embed_windows(
    audio: Tensor, embedder: AudioEmbedder, *, hop_ms: float = 50.0, window_seconds: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Embed windows as `get_timestamp_embeddings` does, at any sample rate.

    Args:
        audio: (n_sounds, n_samples) at the embedder's sample rate.
        embedder: What embeds.
        hop_ms: Milliseconds from centre to centre.
        window_seconds: Length of a window.

    Returns:
        Embeddings (n_sounds, n_windows, D) and centres (n_sounds, n_windows) in milliseconds.

    Raises:
        UsageError: The audio has another shape, no sample, or values that are not finite.
    """
    _check(audio)
    was_training = embedder.training
    embedder.eval()
    try:
        return _embed_windows(audio, embedder, hop_ms, window_seconds)
    finally:
        embedder.train(was_training)


def _embed_windows(
    audio: Tensor, embedder: AudioEmbedder, hop_ms: float, window_seconds: float
) -> tuple[Tensor, Tensor]:
    sounds, samples = audio.shape
    size = max(1, round(window_seconds * embedder.sample_rate))
    count = 1 + int(1000 * samples / (embedder.sample_rate * hop_ms))
    times = torch.arange(count, dtype=torch.float64) * hop_ms
    centres = (times * embedder.sample_rate / 1000).round().long()
    # The last centre may be where the last sample ends; a window then is half silence.
    padded = F.pad(audio, (size // 2, size))
    within = torch.arange(size, device=audio.device)
    embeddings = torch.empty(sounds * count, embedder.embedding_dim)
    for rows in torch.split(torch.arange(sounds * count), WINDOWS_AT_ONCE):
        sound = (rows // count).to(audio.device)
        start = centres[rows % count].to(audio.device)  # `size // 2` before the centre, padded
        windows = padded[sound[:, None], start[:, None] + within]
        embeddings[rows] = embedder(windows.to(embedder.device)).float().cpu()
    return embeddings.view(sounds, count, -1), times.float().expand(sounds, -1)


def _check(audio: Tensor) -> None:
    if audio.ndim != 2 or audio.shape[1] == 0:
        raise UsageError(
            f"expected audio (n_sounds, n_samples) with at least one sample, got shape "
            f"{tuple(audio.shape)}"
        )
    if not audio.isfinite().all():
        raise UsageError("the audio holds NaN or infinity: clean it before embedding")
