"""What the experiment of the angular contrastive paper can be told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from tonotopy._components import Component
from tonotopy._errors import UsageError

Stage = Literal["pretrain", "linear", "finetune", "supervised"]
STAGES: tuple[Stage, ...] = get_args(Stage)

Defect = Literal["input-scale", "probe-batch-norm", "patch-weighted", "reduction"]
DEFECTS: dict[Defect, str] = {
    "input-scale": "inputs are divided by sqrt(sum of squares) / n instead of their deviation",
    "probe-batch-norm": "batch normalisation goes on learning under the linear classifier",
    "patch-weighted": "alpha is chosen by the accuracy that weights clips by their patches",
    "reduction": "the angular part is a sum over the pairs of a batch, divided by 25 or 50",
}
"""What the authors' code does and this one only when told; name to what it is."""

PUBLISHED_EPOCHS: dict[Stage, int] = {
    "pretrain": 500,
    "linear": 200,
    "finetune": 200,
    "supervised": 99,
}
"""Stage to the epochs of the paper."""


@dataclass(frozen=True)
class AclOptions:
    """How all trainings of an experiment are done.

    Args:
        encoder: Of the self-supervised part.
        supervised_encoder: Of the supervised part.
        epochs: Of pre-training.
        probe_epochs: Of the linear classifiers and of fine-tuning.
        supervised_epochs: Of the supervised part.
        authors: Names of `DEFECTS` that are on.
        accelerator: As in `FitConfig`; likewise `threads` and `workers`.
        threads: CPU threads; 0 leaves it to PyTorch.
        workers: Loader processes.
    """

    encoder: Component = field(default_factory=lambda: Component("PatchResNet18"))
    supervised_encoder: Component = field(default_factory=lambda: Component("PatchConvNet"))
    epochs: int = PUBLISHED_EPOCHS["pretrain"]
    probe_epochs: int = PUBLISHED_EPOCHS["linear"]
    supervised_epochs: int = PUBLISHED_EPOCHS["supervised"]
    authors: tuple[Defect, ...] = ()
    accelerator: str = "auto"
    threads: int = 0
    workers: int = 0

    def __post_init__(self) -> None:
        for name in self.authors:
            if name not in DEFECTS:
                raise UsageError(f"--authors: no {name!r}; there are: {', '.join(DEFECTS)}")
        if min(self.epochs, self.probe_epochs, self.supervised_epochs) < 1:
            raise UsageError("--epochs, --probe_epochs and --supervised_epochs are at least 1")

    def epochs_of(self, stage: Stage) -> int:
        """Give the epochs of a stage."""
        if stage == "pretrain":
            return self.epochs
        return self.supervised_epochs if stage == "supervised" else self.probe_epochs

    @property
    def compared(self) -> dict[str, Any]:
        """What trainings must have in common to stand in one table, as plain JSON."""
        values = asdict(self)
        for name in ("accelerator", "threads", "workers"):
            del values[name]
        return values | {
            "encoder": self.encoder.to_dict(),
            "supervised_encoder": self.supervised_encoder.to_dict(),
            "authors": sorted(self.authors),
        }
