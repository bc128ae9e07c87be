"""Where the time of a training step goes: decoding, front end, encoder, loss.

    python benchmarks/training_step.py --audio FOLDER [--encoder ConvNet] [--steps 20]

Prints a Markdown table of medians, all measured in one process on the same clips.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch import Tensor

from tonotopy._components import Component, build
from tonotopy.audio import AudioCache, FrontEnd, decode, fit_length
from tonotopy.encoders import Encoder
from tonotopy.losses import AngularDistanceDistributionLoss, CrossEntropyLoss
from tonotopy.training import FitConfig

CLASSES = 16


class Stopwatch:
    """Collects the seconds of named phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Book the time since the last lap."""
        now = time.perf_counter()
        self.seconds[phase].append(now - self._last)
        self._last = now


def read_batch(paths: list[Path], cache: AudioCache | None, frames: int) -> Tensor:
    """Load clips, decoding them or from the cache, cut to one length."""
    waves = [decode(p, 16000) if cache is None else cache.load(p) for p in paths]
    return torch.stack([torch.tensor(fit_length(w, frames, "pad")) for w in waves])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--audio", type=Path, required=True, help="A folder of audio files.")
    parser.add_argument("--encoder", default="ConvNet", help="Name of an encoder.")
    parser.add_argument("--batch", type=int, default=64, help="Clips in a batch.")
    parser.add_argument("--seconds", type=float, default=5.0, help="Length of an excerpt.")
    parser.add_argument("--steps", type=int, default=20, help="Steps to measure.")
    options = parser.parse_args()

    suffixes = {".wav", ".flac", ".ogg", ".mp3"}
    paths = sorted(p for p in options.audio.rglob("*") if p.suffix.lower() in suffixes)
    frames = round(options.seconds * 16000)
    front_end = build(FitConfig(data=options.audio).front_end, FrontEnd, "tonotopy.audio")
    encoder = build(
        Component(options.encoder), Encoder, "tonotopy.encoders", num_bins=front_end.num_bins
    )
    classify = CrossEntropyLoss(CLASSES, encoder.embedding_dim)
    shape = AngularDistanceDistributionLoss()
    labels = torch.arange(options.batch) % CLASSES
    optimiser = torch.optim.AdamW([*encoder.parameters(), *classify.parameters()])

    with tempfile.TemporaryDirectory() as folder:
        cache = AudioCache(Path(folder))
        watch = Stopwatch()
        for step in range(options.steps + 1):
            batch = [paths[(step * options.batch + i) % len(paths)] for i in range(options.batch)]
            watch.lap("between steps")
            read_batch(batch, None, frames)
            watch.lap("decode")
            read_batch(batch, cache, frames)
            watch.lap("fill the cache")
            waves = read_batch(batch, cache, frames)
            watch.lap("load from the cache")
            features, lengths = front_end(waves, None)
            watch.lap("front end")
            embeddings = encoder(features, lengths)
            watch.lap("encoder, forward")
            loss = classify(embeddings, labels) + shape(embeddings, labels)
            watch.lap("losses, forward")
            optimiser.zero_grad()
            # In two halves: the losses' part of backward ends where the encoder's begins.
            weights = list(classify.parameters())
            gradient, *of_weights = torch.autograd.grad(loss, [embeddings, *weights])
            for weight, of_weight in zip(weights, of_weights, strict=True):
                weight.grad = of_weight
            watch.lap("losses, backward")
            embeddings.backward(gradient)
            watch.lap("encoder, backward")
            optimiser.step()
            watch.lap("optimiser")

    medians = {name: statistics.median(values[1:]) for name, values in watch.seconds.items()}
    outside = {"decode", "fill the cache", "between steps"}
    step_phases = [name for name in medians if name not in outside]
    total = sum(medians[name] for name in step_phases)
    print(
        f"{options.encoder}, {options.batch} clips of {options.seconds:g} s, "
        f"{torch.get_num_threads()} threads, medians of {options.steps} steps\n"
    )
    print("| phase | ms | share of a step |")
    print("| --- | --- | --- |")
    for name in step_phases:
        print(f"| {name} | {1e3 * medians[name]:.1f} | {medians[name] / total:.0%} |")
    print(f"| a step | {1e3 * total:.1f} | 100% |")
    print(f"| (decoding instead of the cache) | {1e3 * medians['decode']:.1f} | |")


if __name__ == "__main__":
    main()
