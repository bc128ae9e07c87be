"""Seconds that `TreeBatchSampler` takes to draw a million clips.

    python benchmarks/tree_sampler.py [--clips 500000] [--indices 1000000]

The tree has 4 levels and 200 leaves of uneven sizes; every tenth clip is known to the third level
only, every fiftieth not at all.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from tonotopy.clips import TreeBatchSampler
from tonotopy.labels import LabelTree


def main() -> None:
    """Draw whole epochs until there are enough indices, and print the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=500_000)
    parser.add_argument("--indices", type=int, default=1_000_000)
    options = parser.parse_args()

    leaves = [
        (f"{a}", f"{b}", f"{c}", f"{d}")
        for a in range(5)
        for b in range(4)
        for c in range(2)
        for d in range(5)
    ]
    tree = LabelTree(leaves)
    random = np.random.default_rng(0)
    shares = random.lognormal(0.0, 1.0, len(leaves))
    labels = random.choice(len(leaves), options.clips, p=shares / shares.sum())
    paths = [leaves[label] for label in labels]
    for clip in range(0, len(paths), 10):
        paths[clip] = paths[clip][:3] if clip % 50 else ()
    codes = tree.encode(paths)

    start = time.perf_counter()
    sampler = TreeBatchSampler(codes, tree)
    prepared = time.perf_counter() - start
    drawn = 0
    start = time.perf_counter()
    while drawn < options.indices:
        for batch in sampler:
            drawn += len(batch)
            if drawn >= options.indices:
                break
    seconds = time.perf_counter() - start
    print(f"{tree.num_leaves} leaves, {options.clips} clips, branching {sampler.branching}")
    print(f"one epoch: {len(sampler)} batches of {sampler.batch_size}")
    print(f"prepared in {prepared:.2f} s, {drawn} indices drawn in {seconds:.2f} s")


if __name__ == "__main__":
    main()
