"""Time and memory of evaluating many embeddings.

    python benchmarks/evaluation.py [--clips 100000 --dim 256 --classes 50 --threads 2]

Runs `evaluate_embeddings` in a process of its own and prints a Markdown table of its wall-clock
time, its processor time and the peak resident memory of the process, embeddings included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from tonotopy.metrics import evaluate_embeddings

CHILD = "--measure"


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Evaluate random clusters of clips in this process."""
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(options.classes, (options.clips,), generator=generator)
    centres = torch.randn(options.classes, options.dim, generator=generator)
    embeddings = torch.randn(options.clips, options.dim, generator=generator)
    embeddings.mul_(2.0).add_(centres[labels])
    logits = embeddings @ centres.T

    wall, processor = time.perf_counter(), time.process_time()
    result = evaluate_embeddings(embeddings, labels, num_classes=options.classes, logits=logits)
    return {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
        "queries": result["retrieval"]["queries"],
    }


def main() -> None:
    """Measure in a child process and print, or be that child."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100_000, help="Number of clips.")
    parser.add_argument("--dim", type=int, default=256, help="Dimensions of an embedding.")
    parser.add_argument("--classes", type=int, default=50, help="Number of classes.")
    parser.add_argument("--threads", type=int, default=2, help="Processor threads.")
    parser.add_argument(CHILD, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options)))
        return

    child = [sys.executable, __file__, *sys.argv[1:], CHILD]
    answer = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(answer)
    print("| clips | dimensions | classes | queries | threads | seconds | processor s | peak GB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    print(
        f"| {options.clips:,} | {options.dim} | {options.classes} | {found['queries']:,} "
        f"| {options.threads} | {found['seconds']:.1f} | {found['processor']:.1f} "
        f"| {found['peak']:.2f} |"
    )


if __name__ == "__main__":
    main()
