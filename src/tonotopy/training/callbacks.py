"""What watches a run: the epoch log, the best epoch, checkpoints, and signs of collapse."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from tonotopy._files import write_text
from tonotopy.training.self_supervised_task import SelfSupervisedTask
from tonotopy.training.task import EmbeddingTask

LAST = "last.safetensors"
BEST = "best.safetensors"


class EpochLog(Callback):
    """Keep one row of numbers an epoch in `logs/metrics.csv`, also across resumes.

    Args:
        path: The CSV file.
        epochs: Number of epochs of the run, for the line printed after each.
    """

    def __init__(self, path: Path, epochs: int) -> None:
        self._path = path
        self._epochs = epochs
        self._rows: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._batches = 0
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; a resumed epoch has no start of its own."""
        self._started = time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the means."""
        self._started = time.monotonic()
        self._sums, self._batches = {}, 0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Add up the loss terms; Lightning's own means forget what came before a resume."""
        assert isinstance(pl_module, EmbeddingTask)
        for name, value in pl_module.last_terms.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file again with this epoch's row."""
        row: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        row |= {name: total / self._batches for name, total in self._sums.items()}
        row |= {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name not in self._sums
        }
        row["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        row["seconds"] = round(time.monotonic() - self._started, 3)
        self._rows = [kept for kept in self._rows if kept["epoch"] < row["epoch"]] + [row]
        if trainer.is_global_zero:
            write_text(self._path, _as_csv(self._rows))
            print(self._line(row), file=sys.stderr)

    def state_dict(self) -> dict[str, Any]:
        """Keep the rows, and the sums of an unfinished epoch, in checkpoints."""
        return {"rows": self._rows, "sums": self._sums, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on below the rows of the interrupted run."""
        self._rows = list(state_dict["rows"])
        self._sums = dict(state_dict["sums"])
        self._batches = state_dict["batches"]

    def _line(self, row: dict[str, float]) -> str:
        shown = {
            name: value
            for name, value in row.items()
            if name.startswith(("train/", "val/")) and name.count("/") == 1 and math.isfinite(value)
        }
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in shown.items())
        return f"epoch {int(row['epoch']) + 1}/{self._epochs}  {numbers}  {row['seconds']:.1f} s"


def _as_csv(rows: list[dict[str, float]]) -> str:
    last = ["lr", "seconds"]
    names = dict.fromkeys(name for row in rows for name in row if name not in last)
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, *last], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class RunCheckpoints(Checkpoint):
    """Save the last state for resuming and the best epoch for use; stop when nothing improves.

    Args:
        folder: `checkpoints/` of the run.
        monitor: The logged value that chooses the best epoch; None keeps only the last state.
        mode: Whether a larger (`"max"`) or a smaller (`"min"`) `monitor` is better.
        patience: Stop after this many epochs without a better value; 0 never stops early.
        minutes: Save the last state within an epoch this often.
    """

    def __init__(
        self, folder: Path, monitor: str | None, mode: str, patience: int, minutes: float
    ) -> None:
        self._folder = folder
        self._monitor = monitor
        self._sign = 1.0 if mode == "max" else -1.0
        self._patience = patience
        self._seconds = minutes * 60
        self._saved = time.monotonic()
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self._last_epoch = -1

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Do not go on with a run that had already stopped early."""
        self._stop_if_stale(trainer)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Save within a long epoch; its last batch is followed by the save of the epoch."""
        due = time.monotonic() - self._saved >= self._seconds
        if due and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save(trainer, LAST)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the best epoch, then the last state, which remembers the best value."""
        self._last_epoch = trainer.current_epoch
        if self._monitor is not None:
            value = float(trainer.callback_metrics[self._monitor])
            if self.best_value is None or self._sign * (value - self.best_value) > 0:
                self.best_value, self.best_epoch = value, trainer.current_epoch
                self._save(trainer, BEST)
        self._save(trainer, LAST)
        self._stop_if_stale(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Keep the best value in checkpoints."""
        return {
            "best_value": self.best_value,
            "best_epoch": self.best_epoch,
            "last_epoch": self._last_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on comparing with the best value of the interrupted run."""
        self.best_value = state_dict["best_value"]
        self.best_epoch = state_dict["best_epoch"]
        self._last_epoch = state_dict["last_epoch"]

    def _save(self, trainer: Trainer, name: str) -> None:
        trainer.save_checkpoint(self._folder / name)
        self._saved = time.monotonic()

    def _stop_if_stale(self, trainer: Trainer) -> None:
        if self._patience and self.best_epoch is not None:
            trainer.should_stop |= self._last_epoch - self.best_epoch >= self._patience


TOLD_APART = 0.9
"""From this share of right nearest neighbours on, narrow embeddings are not collapsed ones."""


class CollapseMonitor(Callback):
    """Say so, by name, when embeddings lose their dimensions or fall together."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at the validation embeddings' effective rank and mean pairwise cosine."""
        rank = float(trainer.callback_metrics.get("monitor/effective_rank", math.nan))
        cosine = float(trainer.callback_metrics.get("monitor/mean_cosine", math.nan))
        if not trainer.is_global_zero or _tells_apart(trainer, pl_module):
            return
        if cosine > 0.95:
            print(
                f"warning: collapse: all embeddings point one way (mean pairwise cosine "
                f"{cosine:.3f}); lower the learning rate or the weight of the spread terms",
                file=sys.stderr,
            )
        elif rank < 2.0:
            print(
                f"warning: dimensional collapse: the embeddings fill {rank:.1f} dimensions; "
                "lower the learning rate, or give a separating loss more weight",
                file=sys.stderr,
            )


def _tells_apart(trainer: Trainer, module: LightningModule) -> bool:
    """Whether neighbours are of one class, however narrow the cone that embeddings lie in.

    Clips of a single class may lie close; what trains on them has a guard of its own. Views of
    clips are told apart whatever their classes.
    """
    assert isinstance(module, EmbeddingTask)
    tree = module.embedder.tree
    accuracy = float(trainer.callback_metrics.get("val/knn_accuracy", math.nan))
    one_class = tree is not None and tree.num_leaves == 1
    by_views = isinstance(module, SelfSupervisedTask)
    return (one_class and not by_views) or (tree is not None and accuracy >= TOLD_APART)
