"""`tonotopy reproduce rbl`: the experiment of the rank-based loss paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tonotopy.cli._output import Output

if TYPE_CHECKING:
    from rich.console import Console


def reproduce_rbl(
    *,
    data: Path,
    out: Path = Path("runs/reproduce-rbl"),
    methods: list[str] | None = None,
    distances: list[Literal["cosine", "euclidean"]] | None = None,
    seeds: int = 5,
    setting: Literal["long", "published"] = "long",
    model: str | None = None,
) -> Output:
    """Rank-based loss against quadruplet loss and two controls, on clips with labels of two levels.

    A linear layer with three outputs is trained on given vectors, one for each clip, and measured
    on test clips: silhouettes of fine and coarse classes, nearest neighbours, misplaced pairs,
    collapse. The epoch is chosen on validation clips. Nothing but the loss, the batches or the
    hierarchy differs between methods; finished trials are not repeated.

    Methods:
      init-emb              the given vectors, nothing trained
      quadl                 quadruplet loss
      rbl                   rank-based loss as this library has it by default
      rbl-released          rank-based loss as the authors' code has it
      rbl-unconstrained     rbl on shuffled batches, which may lack a rank
      rbl-random-hierarchy  rbl with the fine classes dealt out to coarse ones at random

    DATA is one of
      - a folder with embeddings.parquet: columns name, split (train, val, test and, for fine
        classes that are not trained on, unseen), fine, coarse, e000, e001, ..., standardised on
        the training clips already;
      - NSynth or TUT Acoustic Scenes 2016 in its official layout. The weights of VGGish, which
        embeds the clips in the paper, are not available here: a clip is represented by the mean and
        deviation over time of 64 log-mel bands instead, or by a model of yours. Figures are then
        not comparable with published ones.

    For example:
      tonotopy reproduce rbl --data tut2016_vggish
      tonotopy reproduce rbl --data tut2016_vggish --setting published --out runs/rbl-published
      tonotopy reproduce rbl --data data/nsynth --model runs/instruments --methods '[rbl, quadl]'

    Args:
        data: Folder of vectors, or a data set in its official layout.
        out: Folder of one file a trial and of results.json and results.md.
        methods: Methods to compare. Default: all.
        distances: Distances of the losses. Default: both.
        seeds: Number of seeds, counted from 0.
        setting: `published` trains for at most 100 epochs at learning rate 1e-5 with patience 20,
            which stops while the loss still falls; `long` for 1500 epochs at 1e-4.
        model: A run folder or model id that embeds the clips of a data set.
    """
    import torch

    from tonotopy.protocols.rbl_experiment import (
        DISTANCES,
        INITIAL,
        METHODS,
        RECIPES,
        run_rbl_experiment,
    )

    # Batches of twelve: more threads would only wait for each other.
    torch.set_num_threads(1)
    result = run_rbl_experiment(
        data,
        out,
        methods=methods or [INITIAL, *METHODS],
        distances=distances or DISTANCES,
        seeds=range(seeds),
        recipe=RECIPES[setting],
        model=model,
    )
    return Output(
        result,
        f"{len(result['trials'])} trials, {setting} setting; table in {out / 'results.md'}",
        lambda console: _show(console, result["table"]),
    )


def _show(console: Console, table: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from tonotopy.protocols.rbl_experiment import HEADINGS, cells

    for split in dict.fromkeys(row["split"] for row in table):
        shown = Table(*HEADINGS, title=split)
        for row in table:
            if row["split"] == split:
                shown.add_row(*cells(row))
        console.print(shown)
