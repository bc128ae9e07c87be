"""The softmax over very many classes, without a logit of every clip and class in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tonotopy.geometry import pairwise_cosine
from tonotopy.geometry.angular_heads import class_logits

DENSE_ENTRIES = 2**22
"""Cosines of clips and sub-centres up to which all are held: 16 MiB in float32."""

BLOCK_ENTRIES = 2**22
"""Cosines computed at once beyond that, apart from the backward pass, which does so again."""


def own_and_others(
    u: Tensor, centres: Tensor, ids: Tensor, *, scale: Tensor, subclusters: int
) -> tuple[Tensor, Tensor]:
    """Give the cosines to a clip's own class, and what all other classes weigh together.

    Both parts of the cross-entropy log(1 + exp(rest - own logit)). Its memory is O(B · C · S), or
    from `DENSE_ENTRIES` on O(B · S · D), at the price of computing the cosines a second time in
    the backward pass.

    Args:
        u: (B, D) unit vectors.
        centres: (C * S, D) unit vectors, class-major.
        ids: (B,) class ids in [0, C).
        scale: Scalar; logit of cosine 1. It gets no gradient.
        subclusters: Sub-centres S of each class.

    Returns:
        (B, S) cosines to the sub-centres of the own class, and (B,) the log-sum-exp of
        scale · cosine over the sub-centres of all other classes.
    """
    classes = len(centres) // subclusters
    if len(u) * len(centres) > DENSE_ENTRIES:
        owned = centres.reshape(classes, subclusters, -1)
        own = (owned[ids] * u.unsqueeze(1)).sum(dim=2)
        blocked: Tensor = _BlockedLogSumExp.apply(u, centres, ids, scale, subclusters)  # type: ignore[no-untyped-call]  # torch's own
        return own, blocked
    s = pairwise_cosine(u, centres).view(-1, classes, subclusters)
    own = s.gather(1, ids[:, None, None].expand(-1, 1, subclusters)).squeeze(1)
    logits = class_logits(s, scale)
    mine = ids.unsqueeze(1) == torch.arange(classes, device=ids.device)
    return own, logits.masked_fill(mine, -torch.inf).logsumexp(dim=1)


class _BlockedLogSumExp(torch.autograd.Function):
    """The log-sum-exp over the other classes, a block of classes at a time in both directions."""

    @staticmethod
    def forward(u: Tensor, centres: Tensor, ids: Tensor, scale: Tensor, subclusters: int) -> Tensor:
        total = u.new_full((len(u),), -torch.inf)
        for _, logits in _logit_blocks(u, centres, ids, scale, subclusters):
            total = torch.logaddexp(total, logits.logsumexp(dim=1))
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        *tensors, ctx.subclusters = inputs
        ctx.save_for_backward(*tensors, output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        u, centres, ids, scale, total = ctx.saved_tensors
        to_u, to_centres, *_ = ctx.needs_input_grad
        grad_u = torch.zeros_like(u) if to_u else None
        grad_centres = torch.empty_like(centres) if to_centres else None
        slope = (grad * scale).unsqueeze(1)
        for rows, logits in _logit_blocks(u, centres, ids, scale, ctx.subclusters):
            pull = logits.sub_(total.unsqueeze(1)).exp_().mul_(slope)  # slope · softmax
            if grad_u is not None:
                grad_u.addmm_(pull, centres[rows])
            if grad_centres is not None:
                grad_centres[rows] = pull.mT @ u
        return grad_u, grad_centres, None, None, None


def _logit_blocks(
    u: Tensor, centres: Tensor, ids: Tensor, scale: Tensor, subclusters: int
) -> Iterator[tuple[slice, Tensor]]:
    """Give blocks of rows of the centres and the logits of all clips, -inf to their own class."""
    step = max(1, BLOCK_ENTRIES // (len(u) * subclusters)) * subclusters
    for start in range(0, len(centres), step):
        rows = slice(start, min(start + step, len(centres)))
        classes = torch.arange(rows.start, rows.stop, device=ids.device) // subclusters
        logits = pairwise_cosine(u, centres[rows]) * scale
        yield rows, logits.masked_fill_(ids.unsqueeze(1) == classes, -torch.inf)
