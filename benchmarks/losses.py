"""What each loss costs: time and memory of a step, beside its matrix products and its peer.

    pip install -e '.[bench]'
    python benchmarks/losses.py [--device cpu] [--batches 256 1024 4096] [--dims 128 512]
        [--losses NTXentLoss ...] [--peers] [--out losses.md]

Prints a Markdown table. A step is forward and backward of one batch. Every case runs in a process
of its own; there, floor, loss and peer are timed in turn, so their ratios hold on a busy machine.
The floor is the matrix products alone: Z Z' (or Z W') and the two of its backward pass. Peak memory
is what the process takes beyond its inputs, in megabytes. The last two columns are ratios to ours.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tonotopy import losses
from tonotopy.labels import LabelTree

CLASSES = 128
TREE = LabelTree.from_paths(
    [(str(a), str(b), str(c)) for a in range(8) for b in range(4) for c in range(4)]
)
LIMIT_S = 60.0
Step = Callable[[], Tensor]


def make_ours(name: str, dim: int) -> nn.Module:
    """Make a loss with its defaults."""
    family = getattr(losses, name)
    if name in CLASS_BASED:
        loss: nn.Module = family(num_classes=CLASSES, embedding_dim=dim)
    elif name in TREE_BASED:
        loss = family(tree=TREE, embedding_dim=dim)
    elif name == "AngularContrastiveLoss":
        loss = family()
    else:
        loss = family()
    return loss


def make_peer(name: str, dim: int) -> nn.Module | None:
    """Make the nearest loss of pytorch-metric-learning, or None."""
    from pytorch_metric_learning import losses as peers
    from pytorch_metric_learning.distances import CosineSimilarity

    made: dict[str, Callable[[], nn.Module]] = {
        "NTXentLoss": lambda: peers.NTXentLoss(temperature=0.2),
        "SupConLoss": lambda: peers.SupConLoss(temperature=0.1),
        "AngularContrastiveLoss": lambda: peers.NTXentLoss(temperature=0.2),
        "GeneralizedTripletLoss": lambda: peers.TripletMarginLoss(
            margin=0.3, distance=CosineSimilarity(), triplets_per_anchor="all"
        ),
        "ArcFaceLoss": lambda: peers.ArcFaceLoss(CLASSES, dim),
        "CosFaceLoss": lambda: peers.CosFaceLoss(CLASSES, dim),
        "SphereFaceLoss": lambda: peers.SphereFaceLoss(CLASSES, dim),
        "NormalizedSoftmaxLoss": lambda: peers.NormalizedSoftmaxLoss(CLASSES, dim),
    }
    return made[name]() if name in made else None


CLASS_BASED = (
    "CrossEntropyLoss",
    "NormalizedSoftmaxLoss",
    "SphereFaceLoss",
    "CosFaceLoss",
    "ArcFaceLoss",
    "AdaCosLoss",
    "SubclusterAdaCosLoss",
    "AdaProjLoss",
)
TREE_BASED = (
    "LeafCrossEntropyLoss",
    "LevelCrossEntropyLoss",
    "NodeBCELoss",
    "HierarchicalCrossEntropyLoss",
    "SoftLabelLoss",
)
PAIR_BASED = (
    "AngularDistanceDistributionLoss",
    "TreeDistanceDistributionLoss",
    "GeneralizedTripletLoss",
    "QuadrupletLoss",
    "RankBasedLoss",
    "NTXentLoss",
    "SupConLoss",
    "AngularMarginContrastiveLoss",
    "AngularContrastiveLoss",
    "HiMulConLoss",
)
VIEWS = ("NTXentLoss", "AngularMarginContrastiveLoss", "AngularContrastiveLoss")


def labels_of(name: str, batch: int, device: str) -> Tensor:
    """Make labels: two views a clip, codes of the tree, or classes."""
    generator = torch.Generator().manual_seed(0)
    leaf = torch.randint(0, CLASSES, (batch,), generator=generator)
    if name in VIEWS:
        labels = torch.arange(batch) % (batch // 2)
    elif name in TREE_BASED or name in PAIR_BASED[1:5] or name == "HiMulConLoss":
        paths = [TREE.path(node) for node in TREE.leaves]
        labels = TREE.encode(paths)[leaf]
    else:
        labels = leaf
    return labels.to(device)


def measure(name: str, batch: int, dim: int, device: str, who: str) -> dict[str, float]:
    """Give seconds of floor and loss (medians of a few rounds), and the loss's peak memory."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    z = torch.randn(batch, dim, device=device, requires_grad=True)
    labels = labels_of(name, batch, device)
    loss = make_ours(name, dim) if who == "ours" else make_peer(name, dim)
    assert loss is not None, "only peers that exist are measured"
    loss = loss.to(device)
    if who == "peer" and labels.ndim == 2:
        labels = labels[:, -1]  # it knows flat classes only
    columns = next((p for p in loss.parameters() if p.ndim == 2), None)

    def step(clips: int = batch) -> Tensor:
        z.grad = None
        value: Tensor = loss(z[:clips], labels[:clips])
        value.backward()  # type: ignore[no-untyped-call]  # torch's own
        return value.detach()

    def floor() -> Tensor:
        other = z.detach() if columns is None else columns.detach().reshape(-1, dim)
        s = z.detach() @ other.mT
        return (s @ other).sum() + (s.mT @ z.detach()).sum()

    step(16)  # loads what is loaded at first use
    before = _reset_peak(device)
    first = _seconds(step, device)
    peak = _peak(device) - before
    rounds = min(15, int(3.0 / max(first, 1e-4)))  # none for the very slow
    times = [(_seconds(floor, device), _seconds(step, device)) for _ in range(rounds)]
    floors, steps = zip(*times or [(_seconds(floor, device), first)], strict=True)
    return {
        "seconds": statistics.median(steps),
        "floor": statistics.median(floors),
        "megabytes": peak,
    }


def _seconds(work: Step, device: str) -> float:
    start = time.perf_counter()
    work()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _reset_peak(device: str) -> float:
    """Forget the peak of the past, and give the memory in use, in megabytes."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 1e6
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _status("VmRSS")


def _peak(device: str) -> float:
    """Give the peak since, in megabytes."""
    return torch.cuda.max_memory_allocated() / 1e6 if device == "cuda" else _status("VmHWM")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1e3


def run_case(name: str, batch: int, dim: int, device: str, who: str) -> dict[str, Any] | None:
    """Measure in a process of its own; None if it fails or takes too long."""
    case = json.dumps([name, batch, dim, device, who])
    command = [sys.executable, __file__, "--case", case]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def row_of(name: str, batch: int, dim: int, device: str, peers: bool) -> str:
    """Measure a loss and its peer, and write a row."""
    ours = run_case(name, batch, dim, device, "ours")
    if ours is None:
        return f"| {name} | {batch} | {dim} | failed or over {LIMIT_S:.0f} s | | | | |"
    cells = [
        f"{1e3 * ours['seconds']:.1f}",
        f"{ours['seconds'] / ours['floor']:.1f}",
        f"{ours['megabytes']:.0f}",
    ]
    if peers and make_peer(name, dim) is not None:
        peer = run_case(name, batch, dim, device, "peer")
        if peer is None:
            cells += [f"failed or over {LIMIT_S:.0f} s", ""]
        else:
            cells += [
                f"{peer['seconds'] / ours['seconds']:.1f}",
                f"{peer['megabytes'] / max(ours['megabytes'], 1.0):.1f}",
            ]
    else:
        cells += ["", ""]
    return f"| {name} | {batch} | {dim} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", help="cpu or cuda.")
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dims", type=int, nargs="+", default=[128, 512])
    parser.add_argument(
        "--losses", nargs="+", default=[*CLASS_BASED, *TREE_BASED, *PAIR_BASED], help="Names."
    )
    parser.add_argument("--peers", action="store_true", help="Measure the peers too.")
    parser.add_argument("--out", type=Path, help="Also write the table to this file.")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(*json.loads(options.case))))
        return
    lines = [
        "| loss | B | D | ms | times its floor | peak MB | peer's time | peer's memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    for name in options.losses:
        for dim in options.dims:
            for batch in options.batches:
                lines.append(row_of(name, batch, dim, options.device, options.peers))
                print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
