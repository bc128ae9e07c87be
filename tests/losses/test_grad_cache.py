"""Chunks give the gradient of the whole batch, for every loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from loss_row import Row
from loss_table import ROWS
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.losses import GradCache, SupConLoss

DIM = 5


class Noisy(nn.Module):
    """An encoder that draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(9)
        self.layers = nn.Sequential(
            nn.Linear(DIM, 7), nn.Tanh(), nn.Dropout(0.3), nn.Linear(7, DIM)
        ).double()

    def forward(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.layers(x)
        return encoded


def gradients(*modules: nn.Module) -> list[Tensor]:
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_loss_has_the_gradient_of_the_whole_batch(row: Row) -> None:
    x, labels = row.batch(DIM)
    encoder, loss = Noisy(), row.build(DIM)
    torch.manual_seed(1)
    value = loss(torch.cat([encoder(chunk) for chunk in torch.split(x, 4)]), labels)
    value.backward()
    after = torch.rand(1)

    cached_encoder, cached_loss = Noisy(), row.build(DIM)
    torch.manual_seed(1)
    cached = GradCache(cached_encoder, cached_loss, chunk_size=4).backward(x, labels)
    assert torch.equal(torch.rand(1), after)  # as many random numbers are drawn as without it
    torch.testing.assert_close(cached, value.detach())
    torch.testing.assert_close(
        gradients(cached_encoder, cached_loss), gradients(encoder, loss), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("chunk_size", [1, 3, 11, 100])
def test_the_size_of_a_chunk_does_not_matter(chunk_size: int) -> None:
    x, labels = torch.randn(11, DIM).double(), torch.arange(11) % 3
    encoder, cached_encoder = Noisy().eval(), Noisy().eval()
    SupConLoss()(encoder(x), labels).backward()
    GradCache(cached_encoder, SupConLoss(), chunk_size).backward(x, labels)
    torch.testing.assert_close(gradients(cached_encoder), gradients(encoder))


def test_gradients_add_up_and_are_scaled() -> None:
    x, labels = torch.randn(11, DIM).double(), torch.arange(11) % 3
    encoder = Noisy().eval()
    engine = GradCache(encoder, SupConLoss(), 4)
    value = engine.backward(x, labels)
    once = [grad.clone() for grad in gradients(encoder)]
    scaled = engine.backward(x, labels, scale=lambda loss: 8.0 * loss)
    assert torch.equal(scaled, value)
    assert not value.requires_grad
    torch.testing.assert_close(gradients(encoder), [9.0 * grad for grad in once])


def test_no_graph_is_larger_than_a_chunk() -> None:
    x, labels = torch.randn(12, DIM).double(), torch.arange(12) % 3
    encoder, sizes = Noisy(), []

    def watch(_: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        sizes.append((len(arguments[0]), torch.is_grad_enabled()))

    encoder.register_forward_pre_hook(watch)
    GradCache(encoder, SupConLoss(), 5).backward(x, labels)
    assert sizes == [(n, graph) for graph in (False, True) for n in (5, 5, 2)]


class Distributed(nn.Module):
    """Remembers which forward passes would exchange gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(DIM, DIM).double()
        self.exchanging = True
        self.exchanged: list[bool] = []

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.exchanged.append(self.exchanging)
        encoded: Tensor = self.inner(x)
        return encoded

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        self.exchanging = False
        yield
        self.exchanging = True


def test_processes_exchange_gradients_once() -> None:
    encoder = Distributed()
    GradCache(encoder, SupConLoss(), 4).backward(torch.randn(11, DIM).double(), torch.arange(11))
    assert encoder.exchanged == [False, False, True]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_random_numbers_of_the_device_are_repeated() -> None:
    x, labels = torch.randn(11, DIM).double().cuda(), torch.arange(11).cuda() % 3
    encoder, cached_encoder = Noisy().cuda(), Noisy().cuda()
    torch.manual_seed(1)
    parts = [encoder(chunk) for chunk in torch.split(x, 4)]
    SupConLoss()(torch.cat(parts), labels).backward()
    torch.manual_seed(1)
    GradCache(cached_encoder, SupConLoss(), 4).backward(x, labels)
    torch.testing.assert_close(gradients(cached_encoder), gradients(encoder))


def test_any_callable_is_a_loss() -> None:
    def total(embeddings: Tensor, _: Any) -> Tensor:
        return embeddings.square().sum()

    losses: list[Callable[[Tensor, Any], Tensor]] = [total, lambda z, _: z.sum()]
    for loss in losses:
        x = torch.randn(5, DIM).double()
        encoder, cached_encoder = Noisy().eval(), Noisy().eval()
        torch.autograd.backward(loss(encoder(x), None))
        GradCache(cached_encoder, loss, 2).backward(x, torch.zeros(5))
        torch.testing.assert_close(gradients(cached_encoder), gradients(encoder))


def test_wrong_use_is_named() -> None:
    with pytest.raises(UsageError, match="chunk_size must be at least 1, got 0"):
        GradCache(nn.Identity(), SupConLoss(), 0)
