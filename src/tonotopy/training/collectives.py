"""Losses over several processes, with the gradient that one process would have."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from tonotopy.losses import Loss


def global_loss(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Give a loss whose gradients, averaged over processes, are those of all clips in one process.

    A `"sample"` loss is computed on the local clips and weighted by their share of the labelled
    ones. A `"batch"` loss gets the clips of all processes, which may hold different numbers of
    them. Without a process group it is `loss(embeddings, labels)`.

    Args:
        loss: Called on every process alike.
        embeddings: (B, D) embeddings of the local clips, B of at least 0.
        labels: Their labels, of the same form and width everywhere.

    Returns:
        Scalar; of a `"sample"` loss it differs between processes, and the mean is that of one.
    """
    alone = not dist.is_initialized() or dist.get_world_size() == 1
    if loss.kind == "batch" and not alone:
        sizes = _sizes(len(embeddings), embeddings.device)
        embeddings = _GatherRows.apply(embeddings, sizes)  # type: ignore[no-untyped-call]  # torch's own
        labels = _gather_rows(labels, sizes)
    value: Tensor = loss(embeddings, labels)
    if loss.kind == "sample" and not alone:
        value = value * _share(loss.sample_count(labels))
    return value


def gather_rows(local: Tensor) -> Tensor:
    """Concatenate rows of all processes, in the order of their ranks, without gradient.

    Args:
        local: (B, ...) of this process, B of at least 0.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return local
    return _gather_rows(local, _sizes(len(local), local.device))


def _share(count: Tensor) -> Tensor:
    """Give the local part of the labelled clips, relative to equal parts."""
    total = count.detach().to(torch.float64)
    dist.all_reduce(total)
    return count * dist.get_world_size() / total.clamp_min(1.0)


def _sizes(count: int, device: torch.device) -> list[int]:
    mine = torch.tensor([count], device=device)
    sizes = [torch.zeros_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, mine)
    return [int(size) for size in sizes]


def _gather_rows(local: Tensor, sizes: list[int]) -> Tensor:
    """Concatenate the rows of all processes, in the order of their ranks."""
    # Padded to one length, which is what the back ends can gather.
    widths = [0, 0] * (local.ndim - 1)
    padded = F.pad(local, [*widths, 0, max(sizes) - len(local)]).contiguous()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


class _GatherRows(torch.autograd.Function):
    """Gather rows; the gradient of a row is the sum of those of its copies on all processes.

    Every process computes the same global loss, so the sum is world size times its gradient, and
    averaging over processes, as DistributedDataParallel does, divides by it again.
    """

    @staticmethod
    def forward(ctx: Any, local: Tensor, sizes: list[int]) -> Tensor:
        start = sum(sizes[: dist.get_rank()])
        ctx.rows = slice(start, start + len(local))
        return _gather_rows(local, sizes)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.rows], None
