"""Wrong labels put in on purpose, and what a trained model has made of them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import polars as pl
import torch

from tonotopy._errors import DataError, UsageError
from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import EmbeddingTable
from tonotopy.labels import LabelPath
from tonotopy.protocols.confidence import evaluate_confidence
from tonotopy.protocols.embedding import EMBEDDINGS_FILE, embed_run

TRUE_LABEL = "true_label"
LABEL_IS_RIGHT = "label_is_right"


def flip_labels(clips: ClipTable, flip: float, *, seed: int, spare: Sequence[str]) -> ClipTable:
    """Give clips a wrong label with a probability, each other class being equally likely.

    Whether and where a clip's label goes is a pure function of the seed and the clip's path, so
    order and number of the clips do not matter, and with a higher probability the same clips go
    the same way, and others with them.

    Args:
        clips: With complete labels.
        flip: Probability of a wrong label, in [0, 1).
        seed: Another seed flips other labels.
        spare: Folds whose labels stay right.

    Returns:
        The clips with further columns `true_label` and `label_is_right`.

    Raises:
        UsageError: The probability is out of range.
        DataError: There are fewer than two classes, or a clip has no label.
    """
    if not 0.0 <= flip < 1.0:
        raise UsageError(f"flip is a probability of at least 0 and less than 1, got {flip}")
    classes = sorted(set(clips.labels))
    if len(classes) < 2 or () in classes:
        raise DataError("labels can be flipped where every clip has one, of two classes or more")
    given = [
        label if fold in spare else _given(label, classes, flip, f"{seed}/{path}")
        for label, fold, path in zip(
            clips.labels, clips.frame["fold"], clips.frame["path"], strict=True
        )
    ]
    names = pl.List(pl.String)
    return clips.with_columns(
        pl.Series("label", [list(label) for label in given], dtype=names),
        pl.Series(TRUE_LABEL, [list(label) for label in clips.labels], dtype=names),
        pl.Series(LABEL_IS_RIGHT, [a == b for a, b in zip(given, clips.labels, strict=True)]),
    )


def noise_measures(run: Path) -> dict[str, Any]:
    """Measure what a run on flipped labels predicts of its training and test clips.

    Args:
        run: The run folder, of clips that `flip_labels` made; it is embedded where it is not yet.

    Returns:
        `kept_accuracy`, on training clips whose label is right; of those whose label was flipped
        `flipped_given`, the share that is predicted as labelled (learnt by heart), and
        `flipped_true`, as they really are; `num_flipped`; and `test_right`, for each test clip in
        the order of the table whether it is predicted right.
    """
    file = run / EMBEDDINGS_FILE
    table = EmbeddingTable.read(file) if file.is_file() else embed_run(run)
    sure = evaluate_confidence(run, column=LABEL_IS_RIGHT)["train"]
    clips = ClipTable.read(run / "clips.parquet")
    known = zip(clips.paths, clips.frame[TRUE_LABEL], clips.frame[LABEL_IS_RIGHT], strict=True)
    truth = {str(path): (tuple(label), right) for path, label, right in known}
    predicted = _predicted(AudioEmbedder.from_pretrained(run), table)
    flipped: list[bool] = []
    test_right: list[bool] = []
    for path, split, guess in zip(
        table.frame["path"], table.frame["split"], predicted, strict=True
    ):
        label, kept = truth[path]
        if split == "train" and not kept:
            flipped.append(guess == label)
        elif split == "test":
            test_right.append(guess == label)
    return {
        "kept_accuracy": sure["accuracy_verified"],
        "flipped_given": sure["accuracy_unverified"],
        "flipped_true": sum(flipped) / len(flipped) if flipped else None,
        "num_flipped": len(flipped),
        "test_right": test_right,
    }


@torch.no_grad()
def _predicted(embedder: AudioEmbedder, table: EmbeddingTable) -> list[LabelPath]:
    assert embedder.tree is not None, "a run with labels has a tree"
    leaves = embedder.tree.leaves
    best = embedder.probabilities(table.embeddings.to(embedder.device)).argmax(dim=1).tolist()
    return [embedder.tree.path(leaves[leaf]) for leaf in best]


def _given(label: LabelPath, classes: Sequence[LabelPath], flip: float, key: str) -> LabelPath:
    digest = blake2b(key.encode(), digest_size=16).digest()
    # 53 bits fill a double's mantissa, so that 1.0 cannot come out by rounding.
    whether, where = ((int.from_bytes(digest[at : at + 8]) >> 11) / (1 << 53) for at in (0, 8))
    if whether >= flip:
        return label
    others = [name for name in classes if name != label]
    return others[int(where * len(others))]
