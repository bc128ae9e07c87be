"""Momentum contrast: keys by a slow copy of the encoder, and a queue of those of earlier batches.

He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from tonotopy._errors import UsageError
from tonotopy.labels import UNKNOWN, PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms
from tonotopy.losses.projected import ProjectionLoss

Tensors = tuple[Tensor, ...] | list[Tensor]


class MomentumContrast(PairLoss):
    """Compare queries with keys, which have no gradient, and with a queue of earlier keys.

    The keys are embeddings of other views by a slow copy of the encoder, so that those of earlier
    batches are still comparable: a batch can be small and the number of negatives large. Call
    `set_keys` before each training step. Pairs of a query with a query, a key or a queued key
    count, in both orders; pairs of two keys do not. Queued keys of a clip that is at hand are
    passed over: an older view of a clip is no negative. A projection is followed slowly too; in
    the slow copies batch normalisation works with running statistics, as in Cai et al.,
    "Exponential Moving Average Normalization", CVPR 2021.

    In evaluation mode, and where no keys were set, it is the loss itself.

    He et al., "Momentum Contrast for Unsupervised Visual Representation Learning", CVPR 2020.

    Args:
        loss: Over pairs; one that takes `PairRelations`.
        queue_size: Keys to remember, Q, at least 1.
        embedding_dim: Length D of the embeddings.
        momentum: How slow the projection's copy is, in [0, 1): 0 copies at every step.

    Raises:
        UsageError: A size is below 1, `momentum` is out of range, or the loss takes no relations.
    """

    takes_relations = False

    queue: Tensor
    queue_labels: Tensor
    queue_ids: Tensor
    position: Tensor

    def __init__(
        self, loss: PairLoss, queue_size: int, embedding_dim: int, momentum: float = 0.99
    ) -> None:
        super().__init__()
        if min(queue_size, embedding_dim) < 1:
            raise UsageError(
                f"a queue needs positive sizes, got {queue_size} keys of {embedding_dim}"
            )
        if not loss.takes_relations:
            raise UsageError(
                f"{type(loss).__name__} has no negatives that a queue could hold: leave it out"
            )
        self.loss = loss
        self.slow_projection: AveragedModel | None = None
        if isinstance(loss, ProjectionLoss) and loss.projection is not None:
            self.slow_projection = slow_copy(loss.projection, momentum)
        self.register_buffer("queue", torch.zeros(queue_size, embedding_dim))
        self.register_buffer("queue_labels", torch.full((queue_size,), UNKNOWN))
        self.register_buffer("queue_ids", torch.full((queue_size,), UNKNOWN))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self._keys: tuple[Tensor, Tensor, Tensor] | None = None

    def set_keys(self, keys: Tensor, labels: Tensor, ids: Tensor) -> None:
        """Give the keys of the batch that comes next.

        Args:
            keys: (K, D) embeddings by the slow encoder, of the clips of all processes.
            labels: (K,) what the loss goes by: clips, or classes.
            ids: (K,) their clips.
        """
        self._keys = (keys.detach(), labels, ids)

    def compute(self, embeddings: Tensor, labels: Labels) -> tuple[Tensor, Terms]:
        """Give the loss of queries, keys and queue, and how many keys were queued."""
        if not self.training or self._keys is None:
            return self.loss(embeddings, labels), {}
        (keys, key_labels, ids), self._keys = self._keys, None
        assert isinstance(labels, Tensor), "the labels of queries are ids"
        past = torch.cat([keys.to(embeddings.dtype), self.queue.to(embeddings.dtype)])
        passed_over = (self.queue_ids[:, None] == ids).any(dim=1)
        known = self.queue_labels.masked_fill(passed_over, UNKNOWN)
        relations = PairRelations.from_labels(
            torch.cat([labels, key_labels, known]), remembered=len(past)
        )
        value, terms = self._compare(embeddings, past, relations)
        terms = {**terms, "queued": (self.queue_ids >= 0).sum()}
        self._enqueue(keys, key_labels, ids)
        return value, terms

    def _compare(
        self, queries: Tensor, past: Tensor, relations: PairRelations
    ) -> tuple[Tensor, Terms]:
        everyone = torch.cat([queries, past])
        if self.slow_projection is None or not isinstance(self.loss, ProjectionLoss):
            return self.loss(everyone, relations), self.loss.terms()
        assert self.loss.projection is not None, "there is a copy of it"
        self.slow_projection.update_parameters(self.loss.projection)
        self.slow_projection.eval()
        with torch.no_grad():
            projected = self.slow_projection(past)
        z = torch.cat([self.loss.project(queries), projected])
        return self.loss.compare(everyone, z, relations)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor, labels: Tensor, ids: Tensor) -> None:
        size = len(self.queue)
        count = min(len(keys), size)
        places = (self.position + torch.arange(count, device=self.position.device)) % size
        self.queue[places] = keys[-count:].to(self.queue.dtype)
        self.queue_labels[places] = labels[-count:].long()
        self.queue_ids[places] = ids[-count:].long()
        self.position.copy_((self.position + count) % size)

    def extra_repr(self) -> str:
        """Say how much it remembers."""
        return f"queue_size={len(self.queue)}, embedding_dim={self.queue.shape[1]}"


def slow_copy(module: torch.nn.Module, momentum: float) -> AveragedModel:
    """Make a copy that `update_parameters` moves by a share of 1 - momentum towards a module.

    Buffers follow too; those of whole numbers are copied.

    Raises:
        UsageError: `momentum` is not in [0, 1).
    """
    if not 0.0 <= momentum < 1.0:
        raise UsageError(f"momentum must be at least 0 and less than 1, got {momentum}")
    average = get_ema_multi_avg_fn(momentum)  # type: ignore[no-untyped-call]  # torch's own

    def follow(slow: Tensors, fast: Tensors, count: Tensor | int) -> None:
        if slow[0].is_floating_point():
            average(slow, fast, count)
            return
        # Counts and indices: torch would truncate their mean, and so lose an index by and by.
        for behind, ahead in zip(slow, fast, strict=True):
            behind.copy_(ahead)

    copy = AveragedModel(module, multi_avg_fn=follow, use_buffers=True)
    return copy.requires_grad_(False).eval()
