"""Vectors for the rank-based loss experiment from the recordings of a public data set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from tonotopy._errors import DataError, UsageError
from tonotopy._files import atomic_path
from tonotopy._progress import track
from tonotopy.audio import LogMel, decode
from tonotopy.clips import ClipTable
from tonotopy.datasets import PublicDataset, find_dataset
from tonotopy.embedder import AudioEmbedder
from tonotopy.extraction import embed_clips
from tonotopy.protocols._rbl_data import ABOUT, SPLITS, TABLE, UNSEEN

JOB = "tonotopy.rbl.job"
MEL_BANDS = 64
STD_FLOOR = 1e-4
"""Added to the deviation of each dimension, as by the authors: one may be constant."""

Label = tuple[str, ...]


@dataclass(frozen=True)
class Source:
    """Which clips of a public data set the paper took.

    Args:
        dataset: Its name.
        seen: Labels to train on, coarse to fine.
        unseen: Labels of known coarse classes, only tested.
        sizes: Clips of the seen labels by split.
        unseen_each: Clips of each unseen label.
    """

    dataset: str
    seen: tuple[Label, ...]
    unseen: tuple[Label, ...]
    sizes: Mapping[str, int]
    unseen_each: int


def _instruments(**numbers: tuple[int, ...]) -> tuple[Label, ...]:
    return tuple((f, f"{f}_acoustic_{n:03}") for f, given in numbers.items() for n in given)


def _scenes(**names: tuple[str, ...]) -> tuple[Label, ...]:
    return tuple((place, scene) for place, given in names.items() for scene in given)


SOURCES = (
    # The authors name instruments by NSynth's running number; here it is the number in the name.
    Source(
        "nsynth",
        seen=_instruments(flute=(13, 22, 29), guitar=(19, 25, 29), keyboard=(17, 19, 20)),
        unseen=_instruments(flute=(16, 20, 24), guitar=(1, 4, 36), keyboard=(0, 1, 18)),
        sizes={"test": 207, "val": 300, "train": 1200},
        unseen_each=10,
    ),
    Source(
        "tut-acoustic-scenes-2016",
        seen=_scenes(
            indoor=("home", "library", "metro_station"),
            outdoor=("residential_area", "beach", "forest_path"),
            vehicle=("bus", "train", "tram"),
        ),
        unseen=_scenes(
            indoor=("cafe/restaurant", "office"), outdoor=("city_center", "park"), vehicle=("car",)
        ),
        sizes={"test": 30, "val": 192, "train": 480},
        unseen_each=6,
    ),
)
"""Classes and numbers of clips as in the authors' tables; which clips is drawn here."""


def vectors_folder(
    data: Path, out: Path, model: str | None = None, sources: Sequence[Source] = SOURCES
) -> Path:
    """Give a folder with `embeddings.parquet`, which is made in `out` where `data` is audio.

    Clips of a public data set are drawn as the paper's tables count them, always the same. Each is
    represented by the mean and the deviation over time of 64 log-mel bands, or by a model, and
    standardised on the training clips. A table that is in `out` already is used.

    Args:
        data: A folder that holds `embeddings.parquet`, or a public data set in its official layout.
        out: Where to write.
        model: A run folder or model id that embeds the clips.
        sources: What is known of the data sets.

    Raises:
        UsageError: `data` is neither, a model is given for vectors, or `out` has vectors of
            something else.
        DataError: The data set has too few clips of a class.
    """
    if (data / TABLE).is_file():
        if model is not None:
            raise UsageError(f"--model embeds audio, but {data} holds vectors already ({TABLE})")
        return data
    source = _find_source(data, sources)
    job = json.dumps([source.dataset, str(data.absolute()), model])
    table = out / TABLE
    if table.is_file():
        if pl.read_parquet_metadata(table).get(JOB) != job:
            raise UsageError(
                f"{table} was made of other data or by another model: choose another folder with "
                "--out"
            )
        return out
    clips = draw_clips(find_dataset(source.dataset).load(data), source)
    frame, what = _embed(clips, out, model)
    about = f"{source.dataset}, {what}, in place of the VGGish embeddings of the paper"
    with atomic_path(table) as temporary:
        frame.write_parquet(temporary, metadata={ABOUT: about + _shared_groups(clips), JOB: job})
    return out


def _find_source(data: Path, sources: Sequence[Source]) -> Source:
    for source in sources:
        if _has_layout(data, find_dataset(source.dataset)):
            return source
    names = " or ".join(source.dataset for source in sources)
    raise UsageError(
        f"{data} holds neither {TABLE} nor {names} in its official layout; see "
        f"`tonotopy datasets {sources[0].dataset}`"
    )


def _has_layout(data: Path, dataset: PublicDataset) -> bool:
    return all((data / name).exists() for name in dataset.layout)


def draw_clips(clips: ClipTable, source: Source) -> ClipTable:
    """Draw the clips of every split, always the same, and give them a column `split`.

    The classes of a split take turns, so that it has as many clips of each as there are.

    Args:
        clips: The data set.
        source: What to draw.

    Raises:
        DataError: There are too few clips.
    """
    random = np.random.default_rng(0)
    rows_of: dict[Label, list[int]] = {label: [] for label in (*source.seen, *source.unseen)}
    for row in random.permutation(len(clips)).tolist():
        if clips.labels[row] in rows_of:
            rows_of[clips.labels[row]].append(row)
    split: list[str | None] = [None] * len(clips)
    wanted = [(name, source.seen, size) for name, size in source.sizes.items()]
    wanted += [(UNSEEN, (label,), source.unseen_each) for label in source.unseen]
    for name, labels, size in wanted:
        for row in _take_turns(rows_of, labels, size, f"{clips.root}: {name}"):
            split[row] = name
    drawn = clips.with_columns(pl.Series("split", split, dtype=pl.String))
    return drawn.filter(pl.col("split").is_not_null())


def _take_turns(
    rows_of: dict[Label, list[int]], labels: Sequence[Label], size: int, what: str
) -> list[int]:
    available = sum(len(rows_of[label]) for label in labels)
    if available < size:
        raise DataError(
            f"{what} takes {size} clips of {', '.join(map('/'.join, labels))}, but only "
            f"{available} usable ones are left: is the data set complete?"
        )
    taken: list[int] = []
    while len(taken) < size:
        # Those with most clips first: the rest of the last round is theirs.
        order = sorted(labels, key=lambda label: -len(rows_of[label]))
        turn = [label for label in order if rows_of[label]][: size - len(taken)]
        taken += [rows_of[label].pop() for label in turn]
    return taken


def _embed(clips: ClipTable, out: Path, model: str | None) -> tuple[pl.DataFrame, str]:
    if model is None:
        vectors = np.stack(
            [log_mel_statistics(path) for path in track(clips.paths, label="Log-mel")]
        )
        names, labels, split = clips.frame["path"], clips.labels, clips.frame["split"]
        what = f"mean and deviation over time of {MEL_BANDS} log-mel bands"
    else:
        embedder = AudioEmbedder.from_pretrained(model)
        table = embed_clips(embedder, clips, out / "model_embeddings.parquet")
        vectors, labels = table.embeddings.numpy(), table.labels
        names, split = table.frame["path"], table.frame["split"]
        what = f"embeddings of {model}"
    training = vectors[(split == "train").to_numpy()].astype(np.float64)
    standardised = (vectors - training.mean(axis=0)) / (training.std(axis=0) + STD_FLOOR)
    columns = {f"e{number:03}": column for number, column in enumerate(standardised.T)}
    coarse, fine = zip(*labels, strict=True)
    about = {"name": names, "split": split, "fine": fine, "coarse": coarse}
    return pl.DataFrame({**about, **columns}), f"{what}, standardised on the training clips"


def log_mel_statistics(path: Path) -> NDArray[np.float32]:
    """Give (128,): the mean over time of each of 64 log-mel bands at 16 kHz, then the deviations.

    Args:
        path: An audio file.

    Raises:
        AudioError: It cannot be used.
    """
    front_end = LogMel(n_mels=MEL_BANDS)
    wave = torch.from_numpy(decode(path, front_end.sample_rate))
    features, _ = front_end(wave[None])
    bands = features[0]
    statistics = torch.cat([bands.mean(dim=1), bands.std(dim=1, correction=0)])
    return np.asarray(statistics.numpy())


def _shared_groups(clips: ClipTable) -> str:
    """Say how many tested clips have a recording in common with training clips."""
    groups = {
        name: clips.frame.filter(pl.col("split") == name)["group"].drop_nulls() for name in SPLITS
    }
    trained = set(groups["train"])
    if not trained:
        return ""
    shared = sum(group in trained for group in groups["test"])
    return f"; {shared} of {len(groups['test'])} test clips share a recording with a training clip"
