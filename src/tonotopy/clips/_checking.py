"""Open every listed file once: what is usable becomes a clip, the rest goes to the quarantine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tonotopy._errors import AudioError
from tonotopy._progress import track
from tonotopy.audio import content_hash, count_samples, probe
from tonotopy.clips._listing import Entry, Listing, Rejected
from tonotopy.clips.table import CLIP_SCHEMA, QUARANTINE_SCHEMA, ClipTable

MAX_THREADS = 8
"""libsndfile and hashing release the interpreter's lock; disks gain nothing from more."""

MP3_SLACK = 2 * 1152
"""Samples, two MP3 frames: encoder delay and padding make a header promise that much too many."""


@dataclass(frozen=True)
class _Sound:
    content: str
    seconds: float
    sample_rate: int
    channels: int


def check_files(listing: Listing) -> ClipTable:
    """Decode every file of a listing, in parallel, and make the table of the usable ones.

    Rows are sorted by path, whatever the order of the listing and of the threads.
    """
    names = sorted({entry.path for entry in listing.entries})
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as pool:
        try:
            results = pool.map(lambda name: _check(listing.root, name), names)
            checked = dict(
                zip(names, track(results, label="Checking", total=len(names)), strict=True)
            )
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # an interruption need not wait for all
            raise
    bad = [result for result in checked.values() if isinstance(result, Rejected)]
    return ClipTable(
        _clip_frame(listing.entries, checked),
        listing.root,
        _quarantine_frame([*listing.rejected, *bad]),
        dict(sorted(listing.ignored.items())),
    )


def _check(root: Path, name: str) -> _Sound | Rejected:
    path = root / name
    try:
        if path.is_symlink() and not path.exists():
            raise AudioError(path, "unreadable", "the link leads nowhere")
        info = probe(path)
        frames = count_samples(path)
        if frames < info.frames - MP3_SLACK:
            detail = f"cut off: {frames} of {info.frames} samples decode"
            raise AudioError(path, "corrupt", detail)
        content = content_hash(path)
    except AudioError as error:
        return Rejected(name, error.reason, error.detail)
    except Exception as error:  # a hostile header can raise anything, and must not stop a scan
        return Rejected(name, "unreadable", f"{type(error).__name__}: {error}")
    return _Sound(content, frames / info.sample_rate, info.sample_rate, info.channels)


def _clip_frame(entries: Sequence[Entry], checked: dict[str, _Sound | Rejected]) -> pl.DataFrame:
    rows: list[tuple[object, ...]] = []
    further = list(dict.fromkeys(name for entry in entries for name in entry.further))
    for entry in sorted(entries, key=lambda entry: (entry.path, entry.label)):
        sound = checked[entry.path]
        if isinstance(sound, _Sound):
            facts = (sound.content, list(entry.label), sound.seconds)
            given = (entry.fold, entry.group, *(entry.further.get(name) for name in further))
            rows.append((entry.path, *facts, sound.sample_rate, sound.channels, *given))
    schema = CLIP_SCHEMA | dict.fromkeys(further, pl.String())
    return pl.DataFrame(rows, schema=schema, orient="row")


def _quarantine_frame(rejected: Sequence[Rejected]) -> pl.DataFrame:
    rows = sorted((item.path, item.reason, item.detail) for item in rejected)
    return pl.DataFrame(rows, schema=QUARANTINE_SCHEMA, orient="row")
