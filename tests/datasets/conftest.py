"""Miniature copies of the official layouts of DCASE Task 2, of every year."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

WriteTone = Callable[..., Path]

SECTIONS = {
    "dev": {
        2020: [("ToyCar", "id_01"), ("fan", "id_00"), ("fan", "id_02")],
        2021: [("ToyTrain", "00"), ("fan", "00"), ("fan", "01")],
        2022: [("bearing", "00"), ("bearing", "01"), ("fan", "02")],
        2023: [("ToyCar", "00"), ("fan", "00")],
        2024: [("ToyTrain", "00"), ("fan", "00")],
    },
    "eval": {
        2020: [("ToyCar", "id_05"), ("fan", "id_01")],
        2021: [("fan", "03"), ("fan", "04")],
        2022: [("bearing", "03"), ("fan", "05")],
        2023: [("bandsaw", "00"), ("ToyDrone", "00")],
        2024: [("3DPrinter", "00"), ("AirCompressor", "00")],
    },
}
WITHHELD = {(2024, "ToyTrain"), (2024, "AirCompressor")}

Row = tuple[str, str, str | None, str | None, str | None, str, str]
"""Machine type, section, attributes, domain, condition, split, part."""


def expected(year: int, truth: bool = True) -> dict[str, Row]:
    """Give every clip of a miniature, by path; `truth` tells whether the evaluator is there."""
    rows: dict[str, Row] = {}
    for part, by_year in SECTIONS.items():
        for machine, section in by_year[year]:
            of_section = _2020 if year == 2020 else _2021 if year == 2021 else _later
            rows |= of_section(year, part, machine, section, truth)
    return rows


@pytest.fixture
def make_dcase(write_tone: WriteTone) -> Callable[..., dict[str, Row]]:
    """A function that writes a miniature of a year, and returns what should be read of it."""

    def make(root: Path, year: int, truth: bool = True) -> dict[str, Row]:
        rows = expected(year)
        for number, path in enumerate(rows):
            write_tone(root / path, seconds=0.1, frequency=200 + 40 * number)
        if year >= 2022:
            _write_attributes(root, rows)
        if truth:
            _write_truth(root, year, rows)
        return expected(year, truth)

    return make


def _2020(year: int, part: str, machine: str, section: str, truth: bool) -> dict[str, Row]:
    folder = f"{part}_data/{machine}"
    rows: dict[str, Row] = {
        f"{folder}/train/normal_{section}_{n:08}.wav": (
            *(machine, section, None, None, "normal", "train", part),
        )
        for n in range(2)
    }
    for n, condition in enumerate(("normal", "anomaly", "anomaly", "normal")):
        shown = condition if part == "dev" or truth else None
        name = f"{condition}_{section}" if part == "dev" else section
        row = (machine, section, None, None, shown, "test", part)
        rows[f"{folder}/test/{name}_{n:08}.wav"] = row
    return rows


def _2021(year: int, part: str, machine: str, section: str, truth: bool) -> dict[str, Row]:
    folder = f"{part}_data/{machine}"
    rows: dict[str, Row] = {}
    for domain in ("source", "target"):
        name = f"section_{section}_{domain}"
        attributes = f"strength_1_{domain}"
        rows[f"{folder}/train/{name}_train_normal_0000_{attributes}.wav"] = (
            *(machine, section, attributes, domain, "normal", "train", part),
        )
        for n, condition in enumerate(("normal", "anomaly")):
            shown = condition if part == "dev" or truth else None
            test = f"{name}_test_{condition}_{n:04}" if part == "dev" else f"{name}_test_{n:04}"
            row = (machine, section, None, domain, shown, "test", part)
            rows[f"{folder}/{domain}_test/{test}.wav"] = row
    return rows


def _later(year: int, part: str, machine: str, section: str, truth: bool) -> dict[str, Row]:
    folder = f"{part}_data/{machine}"
    withheld = (year, machine) in WITHHELD
    rows: dict[str, Row] = {}
    for number, domain in enumerate(("source", "target")):
        attributes = None if withheld else f"vel_{number}_loc_A"
        end = "noAttribute" if withheld else attributes
        name = f"section_{section}_{domain}"
        for n in range(2 - number):
            rows[f"{folder}/train/{name}_train_normal_{n:04}_{end}.wav"] = (
                *(machine, section, attributes, domain, "normal", "train", part),
            )
        for n, condition in enumerate(("normal", "anomaly")):
            if part == "dev":
                path = f"{folder}/test/{name}_test_{condition}_{n:04}_{end}.wav"
                rows[path] = (machine, section, attributes, domain, condition, "test", part)
            else:
                path = f"{folder}/test/section_{section}_{2 * number + n:04}.wav"
                known = (domain, condition) if truth else (None, None)
                rows[path] = (machine, section, None, *known, "test", part)
    return rows


def _write_attributes(root: Path, rows: dict[str, Row]) -> None:
    tables: dict[Path, list[str]] = {}
    for path, (_, section, attributes, _, _, split, part) in rows.items():
        table = (root / path).parent.parent / f"attributes_{section}.csv"
        lines = tables.setdefault(table, ["file_name,d1p,d1v,d2p,d2v"])
        if part == "dev" or split == "train":
            pairs = attributes.split("_") if attributes else [""] * 4
            lines.append(",".join(["/".join(path.split("/")[1:]), *pairs]))
    for file, lines in tables.items():
        file.write_text("\n".join(lines) + "\n")


def _write_truth(root: Path, year: int, rows: dict[str, Row]) -> None:
    tests = {path: row for path, row in rows.items() if row[-1] == "eval" and row[-2] == "test"}
    bit = {"normal": "0", "anomaly": "1", "source": "0", "target": "1"}
    files: dict[Path, list[str]] = {}
    for path, (machine, section, _, domain, condition, *_) in tests.items():
        name = path.rsplit("/", 1)[1]
        label = bit[str(condition)]
        if year == 2020:
            lines = files.setdefault(root / "eval_data_list.csv", [])
            if machine not in lines:
                lines.append(machine)
            lines.append(f"{name},{condition}_{name},{label}")
            continue
        middle = f"_{domain}" if year == 2021 else ""
        file = f"ground_truth_{machine}_section_{section}{middle}_test.csv"
        folder = root / f"dcase{year}_task2_evaluator"
        files.setdefault(folder / "ground_truth_data" / file, []).append(f"{name},{label}")
        if year > 2021:
            line = f"{name},{bit[str(domain)]}"
            files.setdefault(folder / "ground_truth_domain" / file, []).append(line)
    for target, lines in files.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("\n".join(lines) + "\n")
