"""Where the time of a self-supervised step goes: crops, front end, augmentations, encoder, loss.

    python benchmarks/self_supervised_step.py [--batch 64] [--rounds 9] [--device cpu]

A step takes clips of 5 s of noise, cuts two views of 1 s from each and trains on them: the features
of `FitConfig` with `ConvNet`, and those of the angular contrastive paper with its networks. The
wave augmentation is `MixBack`; the features are resized crops, compressed and made noisy. The parts
take turns, round by round, in one process on one thread. A ratio is the median of those within a
round, so that it holds on a busy machine, between the smallest and the largest of them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tonotopy._components import Component, build
from tonotopy.audio import (
    Augmentation,
    Compression,
    FeatureNoise,
    FrontEnd,
    KeyedGenerator,
    MixBack,
    RandomResizedCrop,
    RawWaveform,
    Views,
)
from tonotopy.encoders import Encoder
from tonotopy.losses import AngularContrastiveLoss
from tonotopy.training import FitConfig

VIEWS = 2
CLIP_SECONDS = 5.0
DEFAULT = FitConfig(data=Path("unused")).front_end
PAPER = Component("PeakLogMel")
SETUPS = (
    (DEFAULT, Component("ConvNet")),
    (PAPER, Component("PatchVGG")),
    (PAPER, Component("PatchResNet18")),
)
PARTS = ("crops and waves", "front end", "features", "encoder", "loss")
PREPARING = PARTS[:3]

Seconds = dict[str, float]


class Step:
    """One training step, whose parts can be timed one after the other.

    Args:
        front_end: Of the encoder.
        encoder: What is trained.
        batch: Clips.
        device: Where everything happens.
    """

    def __init__(
        self, front_end: Component, encoder: Component, batch: int, device: torch.device
    ) -> None:
        self.device = device
        self.front_end = build(front_end, FrontEnd, "tonotopy.audio").to(device)
        rate, bins = self.front_end.sample_rate, self.front_end.num_bins
        self.encoder = build(encoder, Encoder, "tonotopy.encoders", num_bins=bins).to(device)
        self.cropped = Views(RawWaveform(rate), [MixBack()], views=VIEWS).to(device)
        self.augmentations: Sequence[Augmentation] = [
            RandomResizedCrop(),
            Compression(),
            FeatureNoise(),
        ]
        dim = self.encoder.embedding_dim
        projection = nn.Sequential(nn.Linear(dim, 512), nn.ReLU(), nn.Linear(512, 512))
        self.loss = AngularContrastiveLoss(projection).to(device)
        self.waves = torch.randn(batch, round(CLIP_SECONDS * rate), device=device)
        self.lengths = torch.full((batch,), self.waves.shape[1], device=device)
        self.clips = torch.arange(batch, device=device)
        self.optimiser = torch.optim.SGD([*self.encoder.parameters(), *self.loss.parameters()], 0.0)
        self.name = f"{type(self.front_end).__name__}, {type(self.encoder).__name__}"

    def run(self, epoch: int) -> Seconds:
        """Do a step and give the seconds of its parts."""
        seconds: Seconds = {}
        last = self._now()

        def lap(part: str) -> None:
            nonlocal last
            now = self._now()
            seconds[part] = seconds.get(part, 0.0) + now - last
            last = now

        waves, _ = self.cropped(self.waves, self.lengths, self.clips, epoch)
        lap("crops and waves")
        features, frames = self.front_end(waves[:, 0], None)
        lap("front end")
        features = self._changed(features, frames, epoch)
        lap("features")
        embeddings = self.encoder(features, frames)
        lap("encoder")
        loss = self.loss(embeddings, self.clips.repeat(VIEWS))
        self.optimiser.zero_grad()
        gradient = self._loss_backward(loss, embeddings)
        lap("loss")
        embeddings.backward(gradient)
        self.optimiser.step()
        lap("encoder")
        return seconds

    def _loss_backward(self, loss: Tensor, embeddings: Tensor) -> Tensor:
        """Do the loss's half of the backward pass: the gradient of the embeddings."""
        weights = list(self.loss.parameters())
        gradient, *of_weights = torch.autograd.grad(loss, [embeddings, *weights])
        for weight, of_weight in zip(weights, of_weights, strict=True):
            weight.grad = of_weight
        return gradient

    def _changed(self, features: Tensor, frames: Tensor, epoch: int) -> Tensor:
        """Change the features of each view with a generator of its own, as `Views` does."""
        parts = []
        for view in range(VIEWS):
            rows = slice(view * len(self.clips), (view + 1) * len(self.clips))
            generator = KeyedGenerator.for_views(self.clips, seed=0, epoch=epoch, view=view)
            part = features[rows]
            for augment in self.augmentations:
                part = augment(part, frames[rows], generator)
            parts.append(part)
        return torch.cat(parts)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def ratio(rounds: Sequence[Seconds], parts: Sequence[str], against: Sequence[str]) -> str:
    """Give the median over the rounds of one time as a share of another, and its range."""
    values = [sum(s[p] for p in parts) / sum(s[p] for p in against) for s in rounds]
    return f"{statistics.median(values):.1%} ({min(values):.1%} to {max(values):.1%})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64, help="Clips in a batch.")
    parser.add_argument("--rounds", type=int, default=9, help="Rounds to measure.")
    parser.add_argument("--device", default="cpu", help="Where to measure, cpu or cuda.")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = torch.device(options.device)
    steps = [Step(front_end, encoder, options.batch, device) for front_end, encoder in SETUPS]
    for step in steps:
        step.run(0)  # loads what is loaded at first use
    rounds = [[step.run(1 + number) for step in steps] for number in range(options.rounds)]

    print(
        f"{options.batch} clips of {CLIP_SECONDS:g} s, {VIEWS} views of 1 s, {options.device}, "
        f"{torch.get_num_threads()} thread, medians of {options.rounds} rounds\n"
    )
    for step, taken in zip(steps, zip(*rounds, strict=True), strict=True):
        whole = [sum(seconds.values()) for seconds in taken]
        rate = options.batch / statistics.median(whole)
        print(f"{step.name}: {rate:.0f} clips a second\n")
        print("| part | ms | share of a step |")
        print("| --- | --- | --- |")
        for part in PARTS:
            median = statistics.median(seconds[part] for seconds in taken)
            print(f"| {part} | {1e3 * median:.1f} | {ratio(taken, [part], PARTS)} |")
        print(f"| a step | {1e3 * statistics.median(whole):.1f} | |")
        shares = ratio(taken, PREPARING, ["encoder"])
        print(f"\nThe first three together against the encoder: {shares}.\n")


if __name__ == "__main__":
    main()
