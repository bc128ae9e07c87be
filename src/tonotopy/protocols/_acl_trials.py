"""The trainings and measurements of the angular contrastive experiment, in the order of running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tonotopy.protocols._acl_options import Stage

Kind = Literal["pretrain", "linear", "finetune-noisy", "finetune-clean", "supervised"]
"""`pretrain` is measured by nearest neighbours among the verified training clips, which choose
alpha; all others on the test clips."""


@dataclass(frozen=True)
class Trial:
    """One training, and how it is measured.

    Args:
        kind: What is done.
        alpha: Share of NT-Xent, or of cross-entropy.
        seed: Of weights, batches, augmentations and drawn splits.
        temperature: Of NT-Xent; None for the supervised part.
        subset: Training clips of the supervised part; None for the others.
    """

    kind: Kind
    alpha: float
    seed: int
    temperature: float | None = None
    subset: str | None = None

    @property
    def name(self) -> str:
        """The name of its file and of its run."""
        of = self.subset if self.temperature is None else f"temperature{self.temperature:g}"
        return f"{self.kind}/{of}-alpha{self.alpha:g}-seed{self.seed}"

    @property
    def pretraining(self) -> Trial:
        """The training whose encoder is probed or trained further."""
        return Trial("pretrain", self.alpha, self.seed, self.temperature)


def list_trials(
    stages: Sequence[Stage],
    *,
    alphas: Sequence[float],
    temperatures: Sequence[float],
    subsets: Sequence[str],
    seeds: Sequence[int],
) -> list[Trial]:
    """List the trials, seed by seed, so that an interrupted experiment has some of everything.

    Args:
        stages: What is done.
        alphas: Shares; 0 is left out of the supervised part, where it would train no classifier.
        temperatures: Of NT-Xent.
        subsets: Training clips of the supervised part.
        seeds: Seeds of every trial.
    """
    kinds: list[Kind] = []
    if "pretrain" in stages:
        kinds.append("pretrain")
    if "linear" in stages:
        kinds.append("linear")
    if "finetune" in stages:
        kinds += ["finetune-noisy", "finetune-clean"]
    trials = []
    for seed in dict.fromkeys(seeds):
        trials += [
            Trial(kind, alpha, seed, temperature)
            for temperature in dict.fromkeys(temperatures)
            for alpha in dict.fromkeys(alphas)
            for kind in kinds
        ]
        if "supervised" in stages:
            trials += [
                Trial("supervised", alpha, seed, subset=subset)
                for subset in dict.fromkeys(subsets)
                for alpha in dict.fromkeys(alphas)
                if alpha > 0
            ]
    return trials
