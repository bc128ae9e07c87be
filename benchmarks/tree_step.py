"""What the losses over a tree cost beside the encoder, in a batch of a tree of four levels.

    python benchmarks/tree_step.py [--batch 512] [--rounds 9]

The tree has 200 leaves; every clip is known to its leaf. A loss is timed forward and backward, on
random embeddings of the encoder's size; the encoder forward only, on features of noise, with what
its backward pass will need. Encoder and losses take turns in one process on one thread; processor
time is measured, and a ratio is the median of those within a round, so that it holds on a busy
machine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tonotopy._components import Component, build
from tonotopy.audio import FrontEnd
from tonotopy.encoders import Encoder
from tonotopy.labels import LabelTree
from tonotopy.losses import Loss, WeightedSumLoss
from tonotopy.training import FitConfig
from tonotopy.training.node_counts import NodeCounts
from tonotopy.training.presets import read_losses

TREE = LabelTree(
    (f"{a}", f"{b}", f"{c}", f"{d}")
    for a in range(5)
    for b in range(4)
    for c in range(2)
    for d in range(5)
)
LOSSES = (
    "LeafCrossEntropyLoss",
    "LevelCrossEntropyLoss",
    "NodeBCELoss",
    "HierarchicalCrossEntropyLoss",
    "SoftLabelLoss",
    "HierarchicalPrototypeLoss",
    "CPCCLoss",
    "TreeDistanceDistributionLoss",
    "GeneralizedTripletLoss",
    "QuadrupletLoss",
    "RankBasedLoss",
    "HiMulConLoss",
)
PRESETS = ("hybrid-pl+t", "hybrid-pl+b+t", "rbl", "tree-add", "himulcon", "quadl")
CLIP_SECONDS = (1.0, 5.0)

Work = Callable[[], object]


def encoder_pass(encoder: Encoder, front_end: FrontEnd, batch: int, seconds: float) -> Work:
    """Give the encoder's forward pass over the features of noise."""
    frames = round(seconds * front_end.sample_rate)
    noise = torch.randn(batch, frames, generator=torch.Generator().manual_seed(0))
    features, lengths = front_end(noise, None)
    return lambda: encoder(features, lengths)


def loss_step(losses: dict[str, Component], codes: Tensor, dim: int, weighted: bool) -> Work:
    """Give forward and backward of a sum of losses."""
    parts = {
        name: build(part, Loss, "tonotopy.losses", embedding_dim=dim, tree=TREE)
        for name, part in losses.items()
    }
    loss = WeightedSumLoss(parts, {})
    if weighted:
        NodeCounts(TREE, codes).apply(loss, [list(range(len(codes)))])
    random = torch.Generator().manual_seed(1)
    embeddings = torch.randn(len(codes), dim, generator=random, requires_grad=True)
    weights = list(loss.parameters())

    def step() -> None:
        torch.autograd.grad(loss(embeddings, codes), [embeddings, *weights])

    return step


def seconds_of(work: Work) -> float:
    """Give the processor time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=512, help="Clips in a batch.")
    parser.add_argument("--rounds", type=int, default=9, help="Rounds to measure.")
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = FitConfig(data=Path("unused"))
    front_end = build(config.front_end, FrontEnd, "tonotopy.audio")
    encoder = build(config.encoder, Encoder, "tonotopy.encoders", num_bins=front_end.num_bins)
    random = torch.Generator().manual_seed(0)
    leaves = torch.randint(TREE.num_leaves, (options.batch,), generator=random)
    codes = TREE.encode([TREE.path(leaf) for leaf in TREE.leaves])[leaves]

    passes = {s: encoder_pass(encoder, front_end, options.batch, s) for s in CLIP_SECONDS}
    dim = encoder.embedding_dim
    steps = {name: loss_step({name: Component(name)}, codes, dim, False) for name in LOSSES}
    for name in PRESETS:
        preset = read_losses(name)
        weighted = preset.get("class_weights", False)
        steps[f"preset {name}"] = loss_step(preset["losses"], codes, dim, weighted)

    for work in [*passes.values(), *steps.values()]:
        work()  # loads what is loaded at first use
    rounds = [
        (
            {seconds: seconds_of(work) for seconds, work in passes.items()},
            {name: seconds_of(work) for name, work in steps.items()},
        )
        for _ in range(options.rounds)
    ]

    print(
        f"{options.batch} clips, {TREE.num_leaves} leaves, {TREE.num_levels} levels, "
        f"{torch.get_num_threads()} thread, medians of {options.rounds} rounds\n"
    )
    print("| | processor ms |" + "".join(f" share of the encoder, {s:g} s |" for s in CLIP_SECONDS))
    print("| --- | --- |" + " --- |" * len(CLIP_SECONDS))
    for seconds in CLIP_SECONDS:
        median = statistics.median(encoder_times[seconds] for encoder_times, _ in rounds)
        empty = " |" * len(CLIP_SECONDS)
        print(f"| encoder, forward, clips of {seconds:g} s | {1e3 * median:.0f} |{empty}")
    for name in steps:
        median = statistics.median(loss_times[name] for _, loss_times in rounds)
        ratios = [
            statistics.median(loss[name] / encoder[seconds] for encoder, loss in rounds)
            for seconds in CLIP_SECONDS
        ]
        shares = "".join(f" {ratio:.0%} |" for ratio in ratios)
        print(f"| {name} | {1e3 * median:.1f} |{shares}")


if __name__ == "__main__":
    main()
