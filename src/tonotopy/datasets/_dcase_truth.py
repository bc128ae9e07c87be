"""Which test clips of DCASE Task 2 are anomalies, as the organisers' evaluators have it."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from tonotopy._errors import DataError

LIST_2020 = "eval_data_list.csv"
CONDITIONS = {"0": "normal", "1": "anomaly"}
DOMAINS = {"0": "source", "1": "target"}

Truth = dict[str, str]
"""File name to what is true of it."""


class GroundTruth:
    """Conditions and domains of the evaluation clips, where the evaluator's files lie.

    Those of 2020 are in `eval_data_list.csv`, those of later years in the folders
    `ground_truth_data` and (from 2022 on) `ground_truth_domain`. Lists of that kind for later
    years, as one of the baselines has them, are not read: that of 2022 contradicts the evaluator.

    Args:
        folder: The data set's; the files lie in it, in `eval_data`, or in a folder in it with
            `evaluator` in its name.
        year: 2020 to 2024.
    """

    def __init__(self, folder: Path, year: int) -> None:
        self._year = year
        places = [folder, folder / "eval_data", *sorted(folder.glob("*evaluator*"))]
        wanted = LIST_2020 if year == 2020 else "ground_truth_data"
        self.folder = next((place for place in places if (place / wanted).exists()), None)

    def of(self, machine_type: str, section: str) -> tuple[Truth, Truth]:
        """Give the conditions and domains of a section's evaluation clips, by file name.

        Raises:
            DataError: The evaluator's files are there, but not that of this section, or damaged.
        """
        if self.folder is None:
            return {}, {}
        if self._year == 2020:
            return _read_list(self.folder / LIST_2020, machine_type, section), {}
        stem = f"ground_truth_{machine_type}_section_{section}"
        data = self.folder / "ground_truth_data"
        if self._year == 2021:  # a file for each domain, which the names of the clips tell
            both = [
                _read_pairs(data / f"{stem}_{d}_test.csv", CONDITIONS) for d in DOMAINS.values()
            ]
            return both[0] | both[1], {}
        domains = self.folder / "ground_truth_domain"
        return (
            _read_pairs(data / f"{stem}_test.csv", CONDITIONS),
            _read_pairs(domains / f"{stem}_test.csv", DOMAINS) if domains.is_dir() else {},
        )


def _read_pairs(file: Path, words: dict[str, str]) -> Truth:
    """Read lines of a file name and 0 or 1."""
    if not file.is_file():
        raise DataError(f"{file} is missing: take all of the evaluator's files, or none")
    truth: Truth = {}
    for number, row in _lines(file):
        if len(row) != 2 or row[1] not in words:
            raise DataError(f"{file} is damaged: line {number} is not a file name and 0 or 1")
        _add(truth, row[0], words[row[1]], file)
    return truth


def _read_list(file: Path, machine_type: str, section: str) -> Truth:
    """Read lines of a file name, the name that tells its condition, and 0 or 1, below each type."""
    truth: Truth = {}
    current = None
    for number, row in _lines(file):
        if len(row) == 1:
            current = row[0]
        elif len(row) != 3 or row[2] not in CONDITIONS or current is None:
            raise DataError(
                f"{file} is damaged: line {number} is neither a machine type nor a file name, its "
                "full name and 0 or 1"
            )
        elif current == machine_type and row[0].startswith(f"{section}_"):
            _add(truth, row[0], CONDITIONS[row[2]], file)
    if not truth:
        raise DataError(f"{file} says nothing of {machine_type}, {section}: is it of another year?")
    return truth


def _lines(file: Path) -> Iterable[tuple[int, list[str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            for number, row in enumerate(csv.reader(opened), start=1):
                if row:
                    yield number, [cell.strip() for cell in row]
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is damaged: it is not UTF-8 ({error})") from error


def _add(truth: Truth, name: str, value: str, file: Path) -> None:
    if truth.setdefault(name, value) != value:
        raise DataError(f"{file} is damaged: it calls {name} both {truth[name]} and {value}")
