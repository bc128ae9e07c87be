"""`tonotopy reproduce noisy-labels`: losses on angles where training labels are wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy._errors import UsageError
from tonotopy.cli._output import Output
from tonotopy.cli._reproduce_add import show_table

if TYPE_CHECKING:
    from rich.console import Console

    from tonotopy.clips import ClipTable


def reproduce_noisy_labels(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-noisy-labels"),
    flip: float = 0.4,
    fold: str = "4",
    methods: list[str] | None = None,
    seeds: int = 3,
    layer: str = "layers.3.conv",
    amc_weights: list[float] | None = None,
    config: Path | None = None,
    threads: int = 0,
) -> Output:
    """Cross-entropy with and without losses on angles, where training labels are wrong.

    Labels of the training folds go to another class, each equally likely, with a given
    probability; the tested fold keeps its own. All losses see the same wrong labels. Every trial
    takes the last weights of a fixed number of epochs: no clip chooses one, so there are no
    validation labels. Measured are the accuracy on the test, and on the training clips that were
    flipped: by their given labels (learnt by heart) and by their true ones. Finished trials are not
    repeated, an interrupted one goes on.

    Args:
        data: ESC-50 in its official layout, or any labelled clips with folds that `scan` reads.
        out: Folder of all runs and of results.json and results.md.
        flip: Probability that a training label is wrong.
        fold: The fold to test; all others train.
        methods: ce, ce+amc (angular margin contrastive loss on the embeddings), ce+amc-layer (on a
            layer), ce+add-moments, ce+add-gram. Default: all.
        seeds: Number of seeds, counted from 0; each flips other labels.
        layer: The layer of the encoder that ce+amc-layer reads.
        amc_weights: Weights of same-class and different-class pairs. Default: [1.65, 33], those of
            the paper's code at alpha = 0.7 for batches of 16 classes with 4 clips each.
        config: A YAML file of `fit` options other than data, run, losses, split and seed.
        threads: CPU threads; 0 leaves it to PyTorch.
    """
    from tonotopy.protocols.noisy_labels_experiment import (
        AMC_WEIGHTS,
        METHODS,
        NoisyLabelsPlan,
        run_noisy_labels_experiment,
    )
    from tonotopy.training.config import FitConfig, read_config

    if seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {seeds}")
    weights = tuple(amc_weights) if amc_weights else AMC_WEIGHTS
    if len(weights) != 2:
        raise UsageError(f"--amc_weights are two numbers, got {len(weights)}")
    base = read_config(config, {"data": data}) if config else FitConfig(data=data)
    plan = NoisyLabelsPlan(
        base=replace(base, threads=threads),
        clips=_load(data),
        flip=flip,
        test_fold=fold,
        layer=layer,
        amc_weights=(weights[0], weights[1]),
    )
    result = run_noisy_labels_experiment(
        plan, out, methods=methods or list(METHODS), seeds=range(seeds)
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; table in {out / 'results.md'}",
        lambda console: _show(console, result["table"]),
    )


def _load(data: Path) -> ClipTable:
    from tonotopy.clips import load_clips
    from tonotopy.datasets import find_dataset

    if (data / "meta" / "esc50.csv").is_file():
        return find_dataset("esc-50").load(data)
    return load_clips(data)


def _show(console: Console, table: dict[str, dict[str, Any]]) -> None:
    """Print what concerns the test, then the training clips: together they are too wide."""
    for test in (True, False):
        part = {
            method: {name: value for name, value in row.items() if name.startswith("test") == test}
            for method, row in table.items()
        }
        show_table(console, part)
