"""What every clip of a batch says about all others, a block of clips at a time.

Nothing of the size of all pairs is kept for the backward pass, which computes the blocks again: the
memory is O(N D) for the batch and `BLOCK_ENTRIES` for the block at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from tonotopy.geometry import pairwise_cosine
from tonotopy.labels import PairRelations

BLOCK_ENTRIES = 2**22
"""Pairs looked at together: 16 MiB in float32, a few times over."""


class RowStatistics(NamedTuple):
    """Of each of N clips as the anchor, at each of K levels.

    Attributes:
        lse: (N, K) log-sum-exp of scale · s over the clips that are certainly of the anchor's class
            or certainly not; 0 where there are none.
        positives: (N, K) sum of the cosines s to the clips of its class.
        counts: (N, K) number of the clips of its class, without gradient.
    """

    lse: Tensor
    positives: Tensor
    counts: Tensor


def row_statistics(
    u: Tensor,
    relations: PairRelations,
    scale: Tensor,
    *,
    by_level: bool = False,
    block_entries: int | None = None,
) -> RowStatistics:
    """Give what a softmax over the pairs of a batch is made of.

    Args:
        u: (N, D) unit vectors.
        relations: Of the N clips; H levels.
        scale: Scalar; logit of cosine 1. It may have a gradient.
        by_level: Whether classes are those of every level of the labels, K = H, coarse to fine, or
            those of the whole labels, K = 1.
        block_entries: Pairs looked at together. Default `BLOCK_ENTRIES`.
    """
    outputs = _RowStatistics.apply(  # type: ignore[no-untyped-call]  # torch's own
        u, scale, relations, by_level, _step(u, block_entries)
    )
    return RowStatistics(*outputs)


def contrastive_means(statistics: RowStatistics, scale: Tensor) -> Tensor:
    """Give (K,) means over anchors of the mean over their positives p of lse - scale · s_p.

    Anchors without positives are left out; a level without anchors gives 0.
    """
    lse, positives, counts = statistics
    anchors = counts > 0
    values = lse - scale * positives / counts.clamp_min(1.0)
    return torch.where(anchors, values, 0.0).sum(dim=0) / anchors.sum(dim=0).clamp_min(1)


RowFunction = Callable[..., Tensor]
"""Cosines (R, N) of a block, its slice of rows, and per-row values (R, ...), to (R, ...)."""


def map_row_blocks(
    function: RowFunction, u: Tensor, *per_row: Tensor, block_entries: int | None = None
) -> Tensor:
    """Apply a function to the cosines of a block of clips to all, and join what it gives.

    Args:
        function: Called as `function(s, rows, *values)`: the (R, N) cosines of a block, its slice
            of the clips, and their part of `per_row`. It is called again for the backward pass.
        u: (N, D) unit vectors.
        per_row: (N, ...) tensors, which may have gradients.
        block_entries: Pairs looked at together. Default `BLOCK_ENTRIES`.

    Returns:
        (N, ...) the results of all blocks.
    """

    def of_block(block: Tensor, everyone: Tensor, rows: slice, *values: Tensor) -> Tensor:
        return function(pairwise_cosine(block, everyone), rows, *values)

    parts = []
    blocks = (torch.split(tensor, _step(u, block_entries)) for tensor in (u, *per_row))
    start = 0
    for block, *values in zip(*blocks, strict=True):
        rows = slice(start, start + len(block))
        start = rows.stop
        if torch.compiler.is_exporting():  # nothing is trained there
            parts.append(of_block(block, u, rows, *values))
            continue
        part = checkpoint(
            of_block, block, u, rows, *values, use_reentrant=False, preserve_rng_state=False
        )
        parts.append(cast(Tensor, part))
    return torch.cat(parts)


def pair_masks(
    relations: PairRelations, rows: slice, *, by_level: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give for each level which clips are certainly of the anchor's class, and which are not.

    Args:
        relations: Of N clips.
        rows: The anchors.
        by_level: Whether classes are those of every level of the labels, coarse to fine, or those
            of the whole labels.

    Yields:
        (R, N) masks of the positives and of the negatives; no clip is either to itself.
    """
    if not by_level:
        yield relations.masks(rows)
        return
    lo, hi = relations.bounds(rows)
    clips = torch.arange(len(relations), device=relations.device)
    others = clips[rows].unsqueeze(1) != clips
    for level in range(1, relations.num_levels + 1):
        yield (lo >= level) & others, (hi < level) & others


class _RowStatistics(torch.autograd.Function):
    """`row_statistics` of tensors and numbers, which is what `torch.compile` passes through."""

    @staticmethod
    def forward(
        u: Tensor, scale: Tensor, relations: PairRelations, by_level: bool, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        parts = []
        for rows in _slices(len(u), step):
            s = pairwise_cosine(u[rows], u)
            logits = s * scale
            levels = []
            for positive, negative in pair_masks(relations, rows, by_level=by_level):
                lse = logits.masked_fill(~(positive | negative), -torch.inf).logsumexp(dim=1)
                lse = lse.masked_fill(lse == -torch.inf, 0.0)
                near = s.masked_fill(~positive, 0.0).sum(dim=1)
                levels.append(torch.stack([lse, near, positive.sum(dim=1).to(s.dtype)]))
            parts.append(torch.stack(levels, dim=2))
        lse, positives, counts = torch.cat(parts, dim=1).unbind()
        return lse.clone(), positives.clone(), counts.clone()  # no views of one another

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        u, scale, ctx.relations, ctx.by_level, ctx.step = inputs
        lse, _, counts = output
        ctx.mark_non_differentiable(counts)
        ctx.save_for_backward(u, scale, lse)

    @staticmethod
    def backward(ctx: Any, grad_lse: Tensor, grad_near: Tensor, _: Tensor) -> Any:
        u, scale, lse = ctx.saved_tensors
        grad_u = torch.zeros_like(u)
        grad_scale = torch.zeros_like(scale) if ctx.needs_input_grad[1] else None
        for rows in _slices(len(u), ctx.step):
            s = pairwise_cosine(u[rows], u)
            slope = torch.zeros_like(s)
            masks = pair_masks(ctx.relations, rows, by_level=ctx.by_level)
            for level, (positive, negative) in enumerate(masks):
                column = slice(level, level + 1)
                share = torch.sub(s * scale, lse[rows, column]).exp_()
                share.mul_(grad_lse[rows, column]).masked_fill_(~(positive | negative), 0.0)
                if grad_scale is not None:
                    grad_scale += (share * s).sum()
                slope.addcmul_(share, scale)
                slope.addcmul_(positive.to(s.dtype), grad_near[rows, column])
            # A cosine moves both its vectors.
            grad_u[rows] += slope @ u
            grad_u.addmm_(slope.mT, u[rows])
        return grad_u, grad_scale, None, None, None


def row_slices(u: Tensor) -> Iterator[slice]:
    """Give blocks of the rows of all pairs of N clips, of about `BLOCK_ENTRIES` pairs each."""
    return _slices(len(u), _step(u, None))


def _step(u: Tensor, block_entries: int | None) -> int:
    entries = BLOCK_ENTRIES if block_entries is None else block_entries
    return max(1, entries // max(1, len(u)))


def _slices(count: int, step: int) -> Iterator[slice]:
    for start in range(0, max(1, count), step):
        yield slice(start, min(start + step, count))
