"""Classes for what is made of two clips: exchanged embeddings, and the labels of exchanges."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy.audio import draw_exchanges


def exchanged_classes(labels: Tensor, partners: Tensor, exchanged: Tensor) -> Tensor:
    """Label clips that were kept and clips that were exchanged with three classes for each class.

    A clip that was kept has [q, 0, 0], one that was exchanged [0, q/2, q_partner/2]: the first
    block is for true sounds, the second for what a made one keeps of its own, the third for what it
    has of its partner. Applied to its own result (`StatEx`, then `FeatEx`) there are 9 C classes.

    Source: Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.

    Args:
        labels: q, (B, C) one-hot or soft.
        partners: (B,) row of each clip's partner.
        exchanged: (B,) bool.

    Returns:
        (B, 3 C); where the labels sum to one, so does every row.

    Examples:
        >>> exchanged_classes(torch.eye(2), torch.tensor([1, 0]), torch.tensor([True, False]))
        tensor([[0.0000, 0.0000, 0.5000, 0.0000, 0.0000, 0.5000],
                [0.0000, 1.0000, 0.0000, 0.0000, 0.0000, 0.0000]])
    """
    none = torch.zeros_like(labels)
    kept = torch.cat([labels, none, none], dim=1)
    made = torch.cat([none, labels / 2, labels[partners] / 2], dim=1)
    return made.where(exchanged[:, None], kept)


def exchange_features(embeddings: Tensor, others: Tensor, branch_dims: Sequence[int]) -> Tensor:
    """Keep each embedding's first branch and take the second branch of another one.

    Args:
        embeddings: (B, D).
        others: (B, D), whose second branch is taken.
        branch_dims: Lengths of the two slices, D in all, as an encoder's `branch_dims`.

    Returns:
        (B, D).
    """
    first = branch_dims[0]
    return torch.cat([embeddings[:, :first], others[:, first:]], dim=1)


class FeatEx(nn.Module):
    """Exchange the second branch's vector between some clips of a batch (feature exchange).

    To tell such an embedding from a true one, both branches must know what belongs together. The
    labels are those of `exchanged_classes`.

    Source: Wilkinghoff, "Self-Supervised Learning for Anomalous Sound Detection", ICASSP 2024.

    Args:
        branch_dims: Lengths of the embedding's two slices, as `TwoBranchNet.branch_dims`.
        probability: Share of the clips that are changed, 0..1.

    Raises:
        UsageError: There are not two branches, or the probability is out of range.
    """

    def __init__(self, branch_dims: Sequence[int], probability: float = 0.5) -> None:
        super().__init__()
        if len(branch_dims) != 2 or min(branch_dims) < 1:
            raise UsageError(
                f"FeatEx exchanges one of two branches, got branches of {tuple(branch_dims)}; "
                "take an encoder with two, such as TwoBranchNet"
            )
        if not 0 <= probability <= 1:
            raise UsageError(f"FeatEx: expected a probability from 0 to 1, got {probability:g}")
        self.branch_dims = tuple(branch_dims)
        self.probability = probability

    def forward(
        self, embeddings: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Change a batch; nothing happens in `eval()` or to a single clip.

        Args:
            embeddings: (B, D), D the sum of `branch_dims`.
            generator: The only source of randomness, on the device of `embeddings`.

        Returns:
            The embeddings (B, D), each clip's partner (B,) and whether the two exchanged (B,).

        Raises:
            UsageError: The embeddings have another length.
        """
        if embeddings.shape[1] != sum(self.branch_dims):
            raise UsageError(
                f"FeatEx: expected embeddings of {sum(self.branch_dims)} = "
                f"{' + '.join(map(str, self.branch_dims))}, got {embeddings.shape[1]}"
            )
        probability = self.probability if self.training else 0.0
        partners, exchanged = draw_exchanges(embeddings, probability, generator)
        changed = exchange_features(embeddings, embeddings[partners], self.branch_dims)
        return changed.where(exchanged[:, None], embeddings), partners, exchanged
