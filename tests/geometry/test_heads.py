"""Classifier heads."""

from __future__ import annotations

import math

import pytest
import torch

from tonotopy._components import build
from tonotopy._errors import UsageError
from tonotopy.geometry import Head, LinearHead, RBFHead, rbf_logits

HEADS = [LinearHead(4, 3), RBFHead(4, 3, scale=5.0), RBFHead(4, 3, normalise=False)]


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_head_is_rebuilt_from_its_component_and_state(head: Head) -> None:
    rebuilt = build(head.component, Head, "tonotopy.geometry")
    rebuilt.load_state_dict(head.state_dict())
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rebuilt(z), head(z))
    assert head(z).shape == (5, 3)
    assert (head.embedding_dim, head.num_classes) == (4, 3)


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
def test_half_precision_weights_serve_float32_embeddings(head: Head) -> None:
    half = build(head.component, Head, "tonotopy.geometry").bfloat16()
    z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert half(z).dtype == torch.float32
    assert half(z.bfloat16()).isfinite().all()


def test_rbf_logits_are_those_of_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    z, w = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (5, 3))
    expected = [
        [14 * math.exp(-(math.dist(a, b) ** 2) / 2.2) for b in w.tolist()] for a in z.tolist()
    ]
    torch.testing.assert_close(
        rbf_logits(z, w, 14.0, 2.2), torch.tensor(expected, dtype=torch.float64)
    )


def test_rbf_gradient_is_zero_on_a_centre() -> None:
    z = torch.ones(1, 4, requires_grad=True)
    logits = rbf_logits(z, torch.ones(1, 4), 14.0, 2.2)
    torch.autograd.backward(logits.sum())
    assert logits.item() == 14.0
    assert z.grad is not None
    assert not z.grad.any()


@pytest.mark.parametrize(("dim", "classes"), [(0, 3), (4, 0)])
def test_empty_heads_are_refused(dim: int, classes: int) -> None:
    with pytest.raises(UsageError, match="at least 1 dimension and 1 class"):
        LinearHead(dim, classes)
