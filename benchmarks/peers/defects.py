"""Defects of other libraries' losses, beside what tonotopy does with the same input.

    pip install -e '.[bench]'
    python benchmarks/peers/defects.py

Prints a Markdown table. Each line has a test of its own here; see the last column. Peers that pip
cannot install are not run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytorch_metric_learning
import torch
import torchmetrics
from pytorch_metric_learning import losses as peers
from torch import Tensor, nn
from torchmetrics.retrieval import RetrievalMAP

from tonotopy.losses import (
    ArcFaceLoss,
    CrossBatchMemory,
    GeneralizedTripletLoss,
    NTXentLoss,
    SupConLoss,
)
from tonotopy.metrics import evaluate_embeddings

SEEDS = 200
CLASSES, DIM = 3, 8


def bad_gradients_on_centre(make: Callable[[], nn.Module], weights: str) -> str:
    """Count seeds for which an embedding exactly on its centre has no finite gradient."""
    bad = 0
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        loss = make()
        centres = loss.get_parameter(weights).detach()
        centre = centres.mT[0] if centres.shape[0] == DIM else centres[0]
        z = (1.7 * centre).reshape(1, DIM).clone().requires_grad_()
        value = loss(z, torch.tensor([0]))
        (gradient,) = torch.autograd.grad(value, z)
        bad += not bool(value.isfinite() and gradient.isfinite().all())
    return f"{bad} of {SEEDS} seeds not finite"


def resumed_memory(make: Callable[[], nn.Module]) -> str:
    """Say whether a cross-batch memory is the same after saving and loading its state."""
    torch.manual_seed(0)
    first, second = make(), make()
    z, labels = torch.randn(6, DIM), torch.tensor([0, 0, 1, 1, 2, 2])
    first(z, labels)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(1)
    later = torch.randn(6, DIM)
    return "same" if torch.equal(first(later, labels), second(later, labels)) else "differs"


def missing_labels(loss: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Say whether two clips labelled -1 change anything."""
    torch.manual_seed(0)
    z, labels = torch.randn(8, DIM), torch.tensor([0, 0, 1, 1, 2, 2, -1, -1])
    try:
        whole = loss(z, labels)
    except (IndexError, RuntimeError, ValueError) as error:
        return f"raises {type(error).__name__}"
    return "ignored" if torch.allclose(whole, loss(z[:6], labels[:6])) else "taken for a class"


def tree_labels(loss: Callable[[Tensor, Tensor], Tensor]) -> str:
    """Say whether labels of two levels are taken."""
    try:
        loss(torch.randn(4, DIM), torch.tensor([[0, 2], [0, 3], [1, 4], [1, -1]]))
    except (IndexError, RuntimeError, ValueError, AssertionError) as error:
        return f"raises {type(error).__name__}"
    return "taken"


def graph_breaks(loss: nn.Module) -> str:
    """Count the graph breaks of torch.compile."""
    torch.compiler.reset()
    z, labels = torch.randn(8, DIM), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    explanation: Any = torch._dynamo.explain(loss)(z, labels)
    return f"{explanation.graph_break_count} graph breaks"


def perfect_ranking_with_negative_scores() -> tuple[str, str]:
    """Give mAP of a perfect ranking whose cosines are all negative."""
    scores, relevant = torch.tensor([-0.1, -0.5, -0.9]), torch.tensor([True, False, False])
    theirs = RetrievalMAP()(scores, relevant, torch.zeros(3).long())
    # Three vectors at mutual angles beyond a right one; two of them are of one class.
    angles = torch.tensor([0.0, 1.7, 3.9])
    z = torch.stack([angles.cos(), angles.sin()], dim=1)
    ours = evaluate_embeddings(z, torch.tensor([0, 0, 1]), num_classes=2)
    return f"{float(theirs):.1f}", f"{ours['retrieval']['map']:.1f}"


def main() -> None:
    """Run all and print."""
    warnings.simplefilter("ignore")
    arcface: Callable[[], nn.Module] = lambda: peers.ArcFaceLoss(CLASSES, DIM)  # noqa: E731
    ours_arc: Callable[[], nn.Module] = lambda: ArcFaceLoss(CLASSES, DIM)  # noqa: E731
    theirs_map, ours_map = perfect_ranking_with_negative_scores()
    rows = [
        (
            "ArcFace, embedding exactly on its centre",
            bad_gradients_on_centre(arcface, "W"),
            bad_gradients_on_centre(ours_arc, "classifier.centres"),
            "test_margin_losses.py",
        ),
        (
            "cross-batch memory after load_state_dict",
            resumed_memory(lambda: peers.CrossBatchMemory(peers.NTXentLoss(), DIM, 12)),
            resumed_memory(
                lambda: CrossBatchMemory(NTXentLoss(), memory_size=12, embedding_dim=DIM)
            ),
            "test_cross_batch_memory.py",
        ),
        (
            "label -1, NT-Xent",
            missing_labels(peers.NTXentLoss()),
            missing_labels(NTXentLoss()),
            "test_harness.py",
        ),
        (
            "label -1, SupCon",
            missing_labels(peers.SupConLoss()),
            missing_labels(SupConLoss()),
            "test_harness.py",
        ),
        (
            "label -1, ArcFace",
            missing_labels(arcface()),
            missing_labels(ours_arc()),
            "test_harness.py",
        ),
        (
            "labels of a tree, triplets",
            tree_labels(peers.TripletMarginLoss()),
            tree_labels(GeneralizedTripletLoss()),
            "test_tree_pair_losses.py",
        ),
        (
            "torch.compile, triplets",
            graph_breaks(peers.TripletMarginLoss()),
            graph_breaks(GeneralizedTripletLoss()),
            "test_harness.py",
        ),
        (
            "torch.compile, ArcFace",
            graph_breaks(peers.ArcFaceLoss(4, DIM)),
            graph_breaks(ArcFaceLoss(4, DIM)),
            "test_harness.py",
        ),
        (
            "mAP of a perfect ranking of negative cosines (torchmetrics)",
            theirs_map,
            ours_map,
            "test_retrieval_metrics.py",
        ),
    ]
    print(
        f"pytorch-metric-learning {pytorch_metric_learning.__version__}, "
        f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}\n"
    )
    print("| input | peer | tonotopy | test |\n| --- | --- | --- | --- |")
    for row in rows:
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
