"""Files of scores and decisions as the evaluators of DCASE Task 2 read them."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Literal

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_text

Kind = Literal["anomaly_score", "decision_result"]

YEARS = (2020, 2021, 2022, 2023, 2024)

_NAMES = {
    2020: r"(?P<machine_type>.+)_(?P<section>id_\d{2})",
    2021: r"(?P<machine_type>.+)_section_(?P<section>\d{2})_(?P<domain>source|target)_test",
    2022: r"(?P<machine_type>.+)_section_(?P<section>\d{2})_test",
}
_KEYS = ("machine_type", "section", "domain")


def file_name(
    year: int, kind: Kind, machine_type: str, section: str, domain: str | None = None
) -> str:
    """Give the name of a section's file.

    Args:
        year: 2020 to 2024.
        kind: Scores or decisions; in 2020 there were none of the latter.
        machine_type: Such as `fan`.
        section: `id_05` in 2020, `03` later.
        domain: `source` or `target`; only the files of 2021 are of one domain.

    Raises:
        UsageError: Section or domain are not of the year's form, or another year.

    >>> file_name(2023, "anomaly_score", "ToyTank", "00")
    'anomaly_score_ToyTank_section_00_test.csv'
    """
    _check(year, kind)
    if year == 2020:
        stem = f"{machine_type}_{section}"
    elif year == 2021:
        stem = f"{machine_type}_section_{section}_{domain}_test"
    else:
        stem = f"{machine_type}_section_{section}_test"
    if not re.fullmatch(_NAMES[min(year, 2022)], stem) or "/" in stem:
        of_domain = f" in domain {domain!r}" if year == 2021 else ""
        raise UsageError(
            f"there is no file of {year} for {machine_type!r}, section {section!r}{of_domain}: a "
            f"section is {'id_NN' if year == 2020 else 'NN'}, two digits, a domain of 2021 "
            "source or target"
        )
    return f"{kind}_{stem}.csv"


def write_scores(folder: Path, year: int, clips: pl.DataFrame) -> list[Path]:
    """Write `anomaly_score_...csv` of every section: file name and score, no header.

    Args:
        folder: Where; one file a section (and domain in 2021), each whole or not at all.
        year: 2020 to 2024.
        clips: Columns `path`, `machine_type`, `section`, in 2021 `domain`, and `score` of type
            Float64, higher = more anomalous.

    Returns:
        The files, sorted. Lines are sorted by file name; a score keeps all its digits.

    Raises:
        UsageError: A section or domain is not of the year's form, or a column is missing.
        DataError: A score is not finite, or two clips of a section have one file name.
    """
    if clips.schema.get("score") != pl.Float64:
        raise UsageError("the column 'score' must be there and Float64")
    bad = clips.filter(~pl.col("score").is_finite().fill_null(False))
    if len(bad):
        raise DataError(f"the score of {bad['path'][0]} is {bad['score'][0]}, not a finite number")
    return _write(folder, year, "anomaly_score", clips, "score")


def write_decisions(folder: Path, year: int, clips: pl.DataFrame) -> list[Path]:
    """Write `decision_result_...csv` of every section: file name and 1 for an anomaly, else 0.

    Args:
        folder: Where.
        year: 2021 to 2024.
        clips: As for `write_scores`, with a column `decision` of type Boolean without nulls.

    Raises:
        UsageError: As `write_scores`; the year is 2020, which took no decisions.
        DataError: Two clips of a section have one file name.
    """
    if clips.schema.get("decision") != pl.Boolean or clips["decision"].null_count():
        raise UsageError("the column 'decision' must be there, Boolean, and hold no null")
    return _write(folder, year, "decision_result", clips, "decision")


def read_scores(folder: Path, year: int) -> pl.DataFrame:
    """Read all `anomaly_score_...csv` of a folder.

    Returns:
        Columns `machine_type`, `section`, `domain` (null but in 2021), `name` and `score`.

    Raises:
        UsageError: There is no such file.
        DataError: A file is damaged; the message names file and line.
    """
    return _read(folder, year, "anomaly_score", "score")


def read_decisions(folder: Path, year: int) -> pl.DataFrame:
    """Read all `decision_result_...csv` of a folder.

    Returns:
        As `read_scores`, with a Boolean column `decision` instead of `score`.

    Raises:
        UsageError: There is no such file, or the year is 2020.
        DataError: A file is damaged; the message names file and line.
    """
    frame = _read(folder, year, "decision_result", "decision")
    return frame.with_columns(pl.col("decision") == 1)


def _check(year: int, kind: Kind) -> None:
    if year not in YEARS:
        raise UsageError(f"year must be {YEARS[0]} to {YEARS[-1]}, got {year}")
    if year == 2020 and kind == "decision_result":
        raise UsageError("the challenge of 2020 took scores only, no decisions")


def _write(folder: Path, year: int, kind: Kind, clips: pl.DataFrame, column: str) -> list[Path]:
    keys = _KEYS if year == 2021 else _KEYS[:2]
    missing = [name for name in ("path", *keys, column) if name not in clips.columns]
    if missing:
        raise UsageError(f"the clips have no column {missing[0]!r}")
    texts: dict[Path, str] = {}
    for key, group in clips.group_by(*keys):
        file = folder / file_name(year, kind, *(str(value) for value in key))
        texts[file] = _text(group, column, file)
    for file, text in sorted(texts.items()):
        write_text(file, text)
    return sorted(texts)


def _text(clips: pl.DataFrame, column: str, file: Path) -> str:
    names = [PurePosixPath(path).name for path in clips["path"]]
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(f"{count} clips of {file.name} are called {name}: write them apart")
    values = [str(int(v)) if isinstance(v, bool) else repr(v) for v in clips[column].to_list()]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(zip(names, values, strict=True)))
    return text.getvalue()


def _read(folder: Path, year: int, kind: Kind, column: str) -> pl.DataFrame:
    _check(year, kind)
    rows: list[tuple[str | None, str, str | None, str, float]] = []
    for file in sorted(folder.glob(f"{kind}_*.csv")):
        said = re.fullmatch(_NAMES[min(year, 2022)], file.stem.removeprefix(f"{kind}_"))
        if said is None:
            continue
        key = (said["machine_type"], said["section"], said.groupdict().get("domain"))
        rows += [(*key, name, value) for name, value in _lines(file, binary=column == "decision")]
    if not rows:
        raise UsageError(f"{folder} holds no {kind}_...csv of {year}")
    schema = {**dict.fromkeys((*_KEYS, "name"), pl.String()), column: pl.Float64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _lines(file: Path, binary: bool) -> list[tuple[str, float]]:
    found: dict[str, float] = {}
    try:
        lines = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is damaged: it is not UTF-8 ({error})") from error
    for number, row in enumerate(lines, start=1):
        if not row:
            continue
        value = _number(row[1]) if len(row) == 2 else math.nan
        if not math.isfinite(value) or (binary and value not in (0, 1)):
            what = "0 or 1" if binary else "a score"
            raise DataError(f"{file} is damaged: line {number} is not a file name and {what}")
        if row[0] in found:
            raise DataError(f"{file} is damaged: line {number} names {row[0]} again")
        found[row[0]] = value
    return list(found.items())


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
