"""`tonotopy probe`: what a frozen model knows of classes, in numbers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tonotopy.cli._output import Output
from tonotopy.cli._parse import make_parser

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = """\
Measure how well the classes of DATA can be read off the embeddings of a frozen model.

    tonotopy probe RUN FOLDER                     sub-folders are the labels
    tonotopy probe RUN esc50.csv --test_fold 5 --val_fold 4
    tonotopy probe RUN DATA --methods knn         one method alone
    tonotopy probe RUN DATA --methods linear,knn,few-shot,finetune --epochs 50
    tonotopy probe VGG_best.safetensors DATA --out probes/vgg

Clips are cut into patches. Classifiers learn from the training clips, their settings are chosen
on the validation clips, and the test clips are judged once: per clip and per patch, micro (every
clip or patch counts alike) and macro (every class counts alike), with 95 % bootstrap intervals.

    linear      logistic regression on standardised embeddings
    knn         vote of the nearest training patches by cosine
    few-shot    k clips of each class, drawn many times: nearest centroid and linear
    finetune    the whole model trained on; takes as long as training does

The split is that of --test_fold and --val_fold; else of a column `split` of DATA (train, val,
test); else a fifth of the clips is drawn for the test and a fifth of the rest for validation.
The folder RUN/probes/DATA gets probe.html, probe.json and the embeddings, which a second call
uses again.
"""


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    parser = make_parser("probe", DESCRIPTION)
    parser.add_argument(
        "run",
        metavar="RUN",
        help="A run or other model folder, a released encoder (safetensors), or a model's id on "
        "the Hugging Face hub.",
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        type=Path,
        help="A folder whose sub-folders are labels, a CSV or Parquet table, a saved Hugging Face "
        "data set, or clips.parquet. Its classes need not be those of RUN.",
    )
    parser.add_argument(
        "--methods",
        default="linear,knn,few-shot",
        help="Of linear, knn, few-shot and finetune, separated by commas.",
    )
    parser.add_argument("--patch_seconds", type=float, default=1.0, help="Length of a patch.")
    parser.add_argument("--test_fold", type=str | None, help="Fold to test.")
    parser.add_argument("--val_fold", type=str | None, help="Fold that chooses settings.")
    parser.add_argument(
        "--shots", default="1,5,10", help="Clips per class for few-shot, separated by commas."
    )
    parser.add_argument("--draws", type=int, default=50, help="Draws of the few-shot clips.")
    parser.add_argument("--epochs", type=int, default=30, help="Epochs of fine-tuning.")
    parser.add_argument(
        "--seed", type=int, default=0, help="Of draws, shares, resamples and fine-tuning."
    )
    parser.add_argument(
        "--out", type=Path | None, help="Folder to write. Default: RUN/probes/ and DATA's name."
    )
    parsed = parser.parse_args(list(arguments))

    from tonotopy.protocols import probe_run

    result = probe_run(
        parsed.run,
        parsed.data,
        _options(parsed),
        out=parsed.out,
        command=shlex.join(["tonotopy", "probe", *arguments]),
    )
    return Output(result, _summary(result), lambda console: _show(console, result))


def _options(parsed: Any) -> Any:
    from tonotopy._errors import UsageError
    from tonotopy.protocols import ProbeOptions
    from tonotopy.training.config import SplitOptions

    try:
        shots = tuple(int(k) for k in parsed.shots.split(","))
    except ValueError as error:
        raise UsageError(f"--shots needs numbers such as 1,5,10, got {parsed.shots!r}") from error
    return ProbeOptions(
        methods=tuple(name.strip() for name in parsed.methods.split(",")),
        patch_seconds=parsed.patch_seconds,
        split=SplitOptions(test_fold=parsed.test_fold, val_fold=parsed.val_fold),
        shots=shots,
        draws=parsed.draws,
        epochs=parsed.epochs,
        seed=parsed.seed,
    )


def _summary(result: dict[str, Any]) -> str:
    parts = [f"{result['clips']['test']} test clips of {len(result['classes'])} classes"]
    for method in ("linear", "knn", "finetune"):
        if result[method] is not None:
            found = result[method]["accuracy"]
            micro, macro = (found[f"accuracy_clip_{kind}"]["value"] for kind in ("micro", "macro"))
            parts.append(f"{method} {micro:.1%} of clips (macro {macro:.1%})")
    shots = result["few_shot"]
    if shots is not None and shots["linear"]:
        row = shots["linear"][-1]
        mean = row["accuracy"]["accuracy_clip_micro"]["mean"]
        parts.append(f"{mean:.1%} from {row['clips_per_class']} clips a class")
    return f"{', '.join(parts)}; page: {result['page']}"


def _show(console: Console, result: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from tonotopy.metrics import CLIP_ACCURACIES

    names = [name.removeprefix("accuracy_").replace("_", "\n") for name in CLIP_ACCURACIES]
    table = Table("method", *names, title="accuracy in per cent, with 95 % intervals")
    for method in ("linear", "knn", "finetune"):
        if result[method] is not None:
            found = (result[method]["accuracy"][name] for name in CLIP_ACCURACIES)
            table.add_row(method, *(_interval(entry, entry["value"]) for entry in found))
    shots = result["few_shot"] or {}
    for method in ("centroid", "linear"):
        for row in shots.get(method, []):
            found = (row["accuracy"][name] for name in CLIP_ACCURACIES)
            name = f"{method}, {row['clips_per_class']} a class"
            table.add_row(name, *(_interval(entry, entry["mean"]) for entry in found))
    console.print(table)
    for caution in result["cautions"]:
        console.print(Text(f"Caution: {caution}"))


def _interval(entry: dict[str, float], middle: float) -> str:
    low, high = entry["low"], entry["high"]
    return f"{100 * middle:.1f}\n{100 * low:.1f}–{100 * high:.1f}"
