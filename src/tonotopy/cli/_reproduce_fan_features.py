"""`tonotopy reproduce fan-features`: angular margin losses on features of fans in noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_fan_features(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-fan-features"),
    methods: list[str] | None = None,
    tasks: list[Literal["none", "id", "id+domain"]] | None = None,
    seeds: int = 5,
    epochs: int = 10,
) -> Output:
    """Losses with and without an auxiliary task, on features of four fans at 0 and 6 dB.

    An encoder of three layers without bias is trained on normal clips of all fans together. Each
    fan is a section; the noisier clips are the source domain and the others the target domain, and
    the reverse. Of the target domain there are ten clips a fan. Every training is scored with every
    back end: nearest neighbour and k-means, each with and without local density normalisation, and
    Mahalanobis distance. Finished trials are not repeated.

    Methods:
      raw, untrained            controls: the features; the encoder before training
      deep-svdd                 distance to a fixed centre
      one-class-compactness     distance to the mean of the batch
      class-compactness         distance to a fixed centre of the class
      ce+compactness            cross-entropy, and compactness of the batch
      ce                        cross-entropy
      cosface, arcface, adacos  angular margins, one centre a class
      sc-adacos-SCALE-CENTRES   sub-cluster AdaCos; scale fixed or safe, centres frozen or trainable
      adaproj                   AdaProj, 16 frozen vectors a class

    DATA is a folder with features.parquet: columns id, snr_db (two values), condition (normal,
    anomaly), split (reference, test), recording, f000, f001, ...; features are standardised on the
    references that are drawn.

    For example:
      tonotopy reproduce fan-features --data mimii_fan_features
      tonotopy reproduce fan-features --data mimii_fan_features --methods '[raw, adacos]' --seeds 2

    Args:
        data: Folder of the features.
        out: Folder of one file a trial and of results.json and results.md.
        methods: Methods to compare. Default: all.
        tasks: Auxiliary tasks: classes are fans (id), or fans and domains (id+domain); controls and
            the first two losses have none. Default: all.
        seeds: Number of seeds, counted from 0.
        epochs: Epochs of each training.
    """
    import torch

    from tonotopy.protocols.fan_features_experiment import (
        METHODS,
        TASKS,
        Recipe,
        run_fan_features_experiment,
    )

    # Small layers: more threads would only wait for each other.
    torch.set_num_threads(1)
    result = run_fan_features_experiment(
        data,
        out,
        methods=methods or METHODS,
        tasks=tasks or TASKS,
        seeds=range(seeds),
        recipe=Recipe(epochs=epochs),
    )
    return Output(
        result,
        f"{len(result['trials'])} trials; all measures in {out / 'results.md'}",
        lambda console: _show(console, result["table"]),
    )


def _show(console: Console, table: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from tonotopy.protocols.fan_features_experiment import SCORE_HEADINGS, score_rows

    for row in {row["source_ratio"]: row for row in table}.values():
        ratios = row["source_ratio"], row["target_ratio"]
        title = "Official score, source {} dB, target {} dB".format(*ratios)
        shown = Table(*SCORE_HEADINGS, title=title)
        for line in score_rows(table, row["source_ratio"]):
            shown.add_row(*line)
        console.print(shown)
