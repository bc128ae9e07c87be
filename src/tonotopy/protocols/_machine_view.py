"""The recordings of one machine, as they are read, masked and scored to explain them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tonotopy._errors import AudioError, UsageError
from tonotopy.audio import decode, probe
from tonotopy.clips import window_starts
from tonotopy.detection import Detector, MachineModel
from tonotopy.explanation import (
    Fill,
    Maskable,
    ViewedEncoder,
    mask_features,
    mask_magnitudes,
    mask_waveform,
    noise_floor,
)

Mode = Literal["wave", "stft"]

FLOOR_CLIPS = 50
WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class Window:
    """A stretch of a recording: start in seconds, samples (L,) and embedding (D,)."""

    start: float
    waveform: Tensor
    embedding: Tensor


class MachineView:
    """How the recordings of one machine are read, masked and scored."""

    def __init__(self, detector: Detector, machine: MachineModel, mode: Mode, fill: Fill) -> None:
        self.machine = machine
        self.embedder = detector.embedder.eval()
        self.rate = detector.embedder.sample_rate
        self._detector = detector
        self._mode = mode
        self.floor = _floor(self) if fill == "floor" else None

    @property
    def batch_size(self) -> int:
        """Clips at once; on a processor larger batches take memory and save no time."""
        return 32 if self.embedder.device.type == "cpu" else 128

    def most_anomalous(self, path: Path) -> Window:
        """Give the window of a recording that has the highest score."""
        seconds = self._detector.window_seconds
        starts = window_starts(probe(path).seconds, seconds)
        if len(starts) == 1:
            waveform = torch.from_numpy(decode(path, self.rate))
            return Window(0.0, waveform, self._detector.embed([waveform])[0])
        embeddings = torch.cat(
            [
                self._detector.embed([self._read(path, start) for start in starts[first:last]])
                for first, last in _blocks(len(starts))
            ]
        )
        best = int(self.machine.score(embeddings).argmax())
        return Window(starts[best], self._read(path, starts[best]), embeddings[best])

    def maskable(self, waveform: Tensor) -> Maskable:
        """Prepare a waveform (L,) for masking."""
        waveform = waveform.to(self.embedder.device)
        if self._mode == "wave":
            return mask_waveform(waveform, self._score_waveforms, sample_rate=self.rate)
        front_end, encoder = self.embedder.front_end, self.embedder.encoder
        if isinstance(encoder, ViewedEncoder):
            return mask_magnitudes(waveform, front_end, encoder, self._score)
        return mask_features(waveform, front_end, encoder, self._score)

    def load(self, row: int) -> Tensor:
        """Decode a reference's waveform.

        Raises:
            AudioError: The file is gone or damaged.
        """
        path, start = self.machine.references.frame.select("path", "start").row(row)
        if not Path(path).is_file():
            raise AudioError(path, "file not found")
        return self._read(Path(path), start or 0.0)

    def _read(self, path: Path, start: float) -> Tensor:
        seconds = self._detector.window_seconds
        return torch.from_numpy(decode(path, self.rate, start=start, seconds=seconds))

    def _score(self, embeddings: Tensor) -> Tensor:
        return self.machine.score(embeddings.cpu())

    def _score_waveforms(self, waveforms: Tensor) -> Tensor:
        # As `AudioEmbedder.embed` does with clips that are longer than its own windows.
        longest = round(self.embedder.window_seconds * self.rate)
        parts = waveforms.tensor_split(math.ceil(waveforms.shape[1] / longest), dim=1)
        weighted = [self.embedder(part) * part.shape[1] for part in parts]
        return self._score(torch.stack(weighted).sum(dim=0) / waveforms.shape[1])


def _floor(view: MachineView) -> Tensor:
    """Estimate the noise floor of a machine from references spread over all of them.

    Raises:
        UsageError: No recording of the references is there any more.
    """
    count = len(view.machine.references)
    rows = torch.linspace(0, count - 1, min(count, FLOOR_CLIPS)).round().long().tolist()
    normals, problem = [], ""
    for row in rows:
        try:
            normals.append(view.maskable(view.load(row)).values)
        except AudioError as error:
            problem = str(error)
    if not normals:
        raise UsageError(
            f"--fill floor needs recordings of normal clips, and none is left ({problem}): bring "
            "them back, or choose --fill mean"
        )
    return noise_floor(normals)


def _blocks(count: int) -> list[tuple[int, int]]:
    """Divide so many windows into blocks that are decoded at once."""
    return [(first, first + WINDOWS_AT_ONCE) for first in range(0, count, WINDOWS_AT_ONCE)]
