"""Cross-batch memory: clips of earlier batches as further company for those at hand.

Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.labels import UNKNOWN, PairRelations
from tonotopy.losses._base import Labels, PairLoss, Terms

NO_ID = -1


class CrossBatchMemory(PairLoss):
    """Compute a loss over pairs of the batch and the clips of the last batches.

    Embeddings are remembered as they were, without gradient: the clips at hand are moved as if the
    batch were larger, at the price of company that is a few steps old. Begin when embeddings have
    become steady, and keep the memory to a few hundred batches at most. Pairs of two remembered
    clips count as unknown, since nothing can be learned from them; for a loss that does not take
    `PairRelations` they count in its value, without gradient. Empty places count as unlabelled.

    In evaluation mode the memory is read, but nothing is added to it. Everything that is
    remembered, the place of the next clip included, is part of the state. With several processes
    all remember the clips of all, as each computes the loss over them.

    Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020.

    Args:
        loss: Over pairs.
        memory_size: Clips to remember, M, at least 1.
        embedding_dim: Length D of the embeddings.
        label_width: Levels L, where codes of a label tree are remembered; None for class ids. Then
            codes count as the class of their whole path, and partial ones as unlabelled.

    Attributes:
        embeddings: (M, D) buffer of remembered embeddings, not normalised.
        labels: (M,) or (M, L) buffer of their labels, -1 where nothing is known or remembered yet.
        ids: (M,) buffer of the ids of their clips, -1 for none.
        position: Buffer: the place that the next clip is put to.
        filled: Buffer: how many clips are remembered.

    Raises:
        UsageError: The sizes are below 1; when called: labels do not fit `label_width`, or ids the
            clips.

    Examples:
        >>> from tonotopy.losses import SupConLoss
        >>> loss = CrossBatchMemory(SupConLoss(), memory_size=64, embedding_dim=8)
        >>> for _ in range(3):
        ...     value = loss(torch.randn(6, 8), torch.tensor([0, 0, 1, 1, 2, 2]))
        >>> loss.filled
        tensor(18)
    """

    embeddings: Tensor
    labels: Tensor
    ids: Tensor
    position: Tensor
    filled: Tensor

    def __init__(
        self,
        loss: PairLoss,
        memory_size: int,
        embedding_dim: int,
        *,
        label_width: int | None = None,
    ) -> None:
        super().__init__()
        width = () if label_width is None else (label_width,)
        if min(memory_size, embedding_dim, *width) < 1:
            raise UsageError(
                "memory_size, embedding_dim and label_width must be at least 1, got "
                f"{memory_size}, {embedding_dim} and {label_width}"
            )
        self.loss = loss
        self.takes_relations = False  # labels of later clips could not be compared with them
        self._current_ids: Tensor | None = None
        self.register_buffer("embeddings", torch.zeros(memory_size, embedding_dim))
        self.register_buffer("labels", torch.full((memory_size, *width), UNKNOWN))
        self.register_buffer("ids", torch.full((memory_size,), NO_ID))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))

    def forward(self, embeddings: Tensor, labels: Labels, ids: Tensor | None = None) -> Tensor:
        """Give the loss of a batch and the memory; in training, remember the batch.

        Args:
            embeddings: (B, D) floats, not normalised.
            labels: (B,) int class ids, -1 = ignored; (B, L) codes; or, without `label_width`,
                (B, C) soft targets, of which the largest class counts.
            ids: (B,) ints that tell clips apart, -1 = none. Remembered embeddings of a clip of the
                batch are passed over: its own past would be too easy a match, or, where labels are
                of views, a false negative.

        Returns:
            Scalar.

        Raises:
            UsageError: The shapes or the form of the labels do not fit.
            DataError: An embedding is not finite.
        """
        self._current_ids = ids
        return super().forward(embeddings, labels)

    def compute(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Terms]:
        """Give the loss, and how many clips were remembered, `filled`."""
        ids, self._current_ids = self._current_ids, None
        if labels.is_floating_point() or (labels.ndim == 2 and self.labels.ndim == 1):
            labels = self.class_ids(labels)
        if ids is None:
            ids = torch.full((len(embeddings),), NO_ID, device=embeddings.device)
        self._check(embeddings, labels, ids)
        everyone = torch.cat([embeddings, self.embeddings.to(embeddings.dtype)])
        all_labels = torch.cat([labels.long(), self._usable_labels(ids)])
        known: Labels = all_labels
        if self.loss.takes_relations:
            known = PairRelations.from_labels(all_labels, remembered=len(self.embeddings))
        value: Tensor = self.loss(everyone, known)
        terms = {"filled": self.filled.clone()}
        if self.training:
            self._remember(embeddings.detach(), labels, ids)
        return value, terms

    def terms(self) -> Terms:
        """Give `filled` and the terms of the loss that it calls."""
        return super().terms() | self.loss.terms()

    def extra_repr(self) -> str:
        """Say how much it remembers."""
        return f"memory_size={len(self.embeddings)}, embedding_dim={self.embeddings.shape[1]}"

    def _usable_labels(self, ids: Tensor) -> Tensor:
        at_hand = ((self.ids[:, None] == ids) & (ids != NO_ID)).any(dim=1)
        passed_over = at_hand if self.labels.ndim == 1 else at_hand[:, None]
        return self.labels.masked_fill(passed_over, UNKNOWN)

    @torch.no_grad()
    def _remember(self, embeddings: Tensor, labels: Tensor, ids: Tensor) -> None:
        size = len(self.embeddings)
        count = min(len(embeddings), size)
        places = (self.position + torch.arange(count, device=self.position.device)) % size
        newest = slice(len(embeddings) - count, None)
        self.embeddings[places] = embeddings[newest].to(self.embeddings.dtype)
        self.labels[places] = labels[newest].long()
        self.ids[places] = ids[newest].long()
        self.position.copy_((self.position + count) % size)
        self.filled.copy_((self.filled + count).clamp_max(size))

    def _check(self, embeddings: Tensor, labels: Tensor, ids: Tensor) -> None:
        if embeddings.shape[1] != self.embeddings.shape[1]:
            raise UsageError(
                f"the memory holds embeddings of length {self.embeddings.shape[1]}, got "
                f"{embeddings.shape[1]}"
            )
        if labels.shape[1:] != self.labels.shape[1:]:
            raise UsageError(
                f"the memory holds codes of {self.labels.shape[1]} levels, got labels of shape "
                f"{tuple(labels.shape)}; leave label_width out for class ids"
            )
        if ids.shape != labels.shape[:1] or ids.is_floating_point():
            raise UsageError(
                f"ids must be one int for each of the {len(labels)} clips, got "
                f"{tuple(ids.shape)} {ids.dtype}"
            )
