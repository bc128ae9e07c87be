"""`tonotopy reproduce acl`: the experiment of the angular contrastive paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_acl(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-acl"),
    stages: list[Literal["pretrain", "linear", "finetune", "supervised"]] | None = None,
    alphas: list[float] | None = None,
    temperatures: list[float] | None = None,
    subsets: list[Literal["clean", "all", "noisy", "noisy_small"]] | None = None,
    seeds: int = 1,
    epochs: int = 500,
    probe_epochs: int = 200,
    supervised_epochs: int = 99,
    encoder: Literal["PatchResNet18", "PatchVGG", "PatchCRNN"] = "PatchResNet18",
    width: int | None = None,
    authors: list[Literal["input-scale", "probe-batch-norm", "patch-weighted", "reduction"]]
    | None = None,
    accelerator: str = "auto",
    threads: int = 0,
    workers: int = 0,
) -> Output:
    """Angular contrastive loss against NT-Xent on FSDnoisy18k, and with labels.

    For every share alpha of NT-Xent an encoder is trained on the noisy clips without their labels;
    a linear classifier then learns from its embeddings and the noisy labels, and it is fine-tuned
    on the larger noisy set and on the small clean one. With labels, cross-entropy is joined by an
    angular margin on the last convolution, on four sets of training clips. The tables have the
    published figures beside ours, with intervals, and say on top what was run and what was not.
    Finished trials are not repeated; an interrupted training goes on.

    The test clips choose nothing: epochs and alpha are chosen on other clips.

    What the authors' code does, and this only when told by --authors:
      input-scale       inputs are divided by sqrt(sum of squares) / n, not by their deviation
      probe-batch-norm  batch normalisation goes on learning under the linear classifier
      patch-weighted    alpha is chosen by the accuracy that weights clips by their patches
      reduction         the angular part is a sum over the pairs of a batch, divided by 25 or 50

    For example:
      tonotopy reproduce acl --data FSDnoisy18k
      tonotopy reproduce acl --data FSDnoisy18k --stages '[pretrain, linear]' --alphas '[0.3, 1]'

    Args:
        data: Folder of FSDnoisy18k in its official layout.
        out: Folder of all runs, of one file a trial and of results.json and results.md.
        stages: What is done: pretrain; linear and finetune, which need it; supervised. Default:
            all.
        alphas: Shares of NT-Xent, or of cross-entropy, from 0 to 1. Default: 0 to 1 by 0.1.
        temperatures: Of NT-Xent. Default: 0.2.
        subsets: Training clips with labels: clean, all, noisy, noisy_small. Default: all four.
        seeds: Number of seeds, counted from 0.
        epochs: Of pre-training.
        probe_epochs: Of linear classifiers and of fine-tuning.
        supervised_epochs: Of the training with labels.
        encoder: Of the part without labels.
        width: Channels of the first stage of PatchResNet18. Default: 64, as published.
        authors: Defects of the authors' code to switch on; see above. Default: none.
        accelerator: auto, cpu, cuda, ... (as Lightning names them).
        threads: CPU threads; 0 leaves it to PyTorch.
        workers: Loader processes; 0 loads in the training process.
    """
    from tonotopy._components import Component
    from tonotopy._errors import UsageError
    from tonotopy.datasets import find_dataset
    from tonotopy.protocols.acl_experiment import (
        ALPHAS,
        STAGES,
        SUBSETS,
        TEMPERATURE,
        AclOptions,
        run_acl_experiment,
    )

    if width is not None and encoder != "PatchResNet18":
        raise UsageError(f"--width is of PatchResNet18, not of {encoder}")
    result = run_acl_experiment(
        find_dataset("fsdnoisy18k").load(data),
        out,
        options=AclOptions(
            encoder=Component(encoder, {} if width is None else {"width": width}),
            epochs=epochs,
            probe_epochs=probe_epochs,
            supervised_epochs=supervised_epochs,
            authors=tuple(authors or ()),
            accelerator=accelerator,
            threads=threads,
            workers=workers,
        ),
        stages=stages or STAGES,
        alphas=alphas or ALPHAS,
        temperatures=temperatures or [TEMPERATURE],
        subsets=subsets or SUBSETS,
        seeds=range(seeds),
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; tables in {out / 'results.md'}",
        lambda console: _show(console, result),
    )


def _show(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table

    from tonotopy.protocols.acl_experiment import headings, sections, table_rows

    for line in result["ran"]:
        console.print(line, highlight=False)
    for title, rows in sections(result["table"]).items():
        shown = Table(*headings(rows), title=title)
        for cells in table_rows(rows):
            # Brackets would be read as markup.
            shown.add_row(*(cell.replace("[", r"\[") for cell in cells))
        console.print(shown)
