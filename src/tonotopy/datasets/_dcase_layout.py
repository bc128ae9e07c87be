"""The files of DCASE Task 2 in their official folders, and what their names say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tonotopy._errors import DataError
from tonotopy.clips.machine_names import MachineFacts, dcase_facts
from tonotopy.datasets._dcase_truth import GroundTruth
from tonotopy.datasets._layout import read_rows

PARTS = {"dev": "dev_data", "eval": "eval_data"}
FIRST_ATTRIBUTES = 2022
"""The first year with tables of attributes."""

_ATTRIBUTE_COLUMN = re.compile(r"d\d+[pv]")


@dataclass(frozen=True)
class DcaseClip:
    """A clip of the data set: where it should be, and what is known of it."""

    path: str
    part: str
    facts: MachineFacts


def list_clips(folder: Path, year: int) -> list[DcaseClip]:
    """List the clips of an edition, those included that a table names and that are not there.

    Raises:
        DataError: A name is not of the year's scheme, a table is missing or damaged, or the ground
            truth lacks a clip.
    """
    truth = GroundTruth(folder, year)
    clips: dict[str, DcaseClip] = {}
    for part, name in PARTS.items():
        root = folder / name
        # Baselines of the organisers put the archives' content one folder deeper.
        root = root / "raw" if (root / "raw").is_dir() else root
        machines = [machine for machine in _folders(root) if _split_folders(machine, year)]
        if part == "dev" and not machines:
            raise DataError(
                f"{root} holds no machine type: expected folders such as {root / 'fan' / 'train'}"
            )
        for machine in machines:
            for file in _files(machine, year):
                facts = _facts(file, year)
                relative = file.relative_to(folder).as_posix()
                clips[relative] = DcaseClip(relative, part, facts)
    if truth.folder is None:
        return list(clips.values())
    return list(_with_truth(clips, truth, folder).values())


def _files(machine: Path, year: int) -> Iterator[Path]:
    """Give the audio files of a machine type, and those that its tables name."""
    present = [
        file
        for split in _split_folders(machine, year)
        for file in sorted(split.iterdir())
        if file.suffix == ".wav" and not file.name.startswith(".")
    ]
    yield from present
    if year >= FIRST_ATTRIBUTES:
        trained = [_facts(file, year) for file in present if file.parent.name == "train"]
        for section in sorted({str(facts.section) for facts in trained}):
            # Where attributes are withheld, a table would say nothing of them.
            told = any(f.attributes for f in trained if f.section == section)
            table = machine / f"attributes_{section}.csv"
            if told or table.is_file():
                yield from _named(table, set(present))


def _named(table: Path, present: set[Path]) -> Iterator[Path]:
    """Give the files that a table of attributes names and that are not there."""
    if not table.is_file():
        raise DataError(
            f"{table} is missing, which names the section's clips: unpack the archive again"
        )
    for line, row in enumerate(read_rows(table, ("file_name",)), start=2):
        cells: dict[Any, Any] = {**row}
        if None in cells or None in cells.values():
            raise DataError(f"{table} is damaged: line {line} is not as long as the header")
        for name in cells:
            if name != "file_name" and not _ATTRIBUTE_COLUMN.fullmatch(name):
                raise DataError(
                    f"{table} is not the official table: it has the unknown column {name}; "
                    "expected file_name, d1p, d1v, d2p, d2v and so on"
                )
        # Written fan/train/NAME.wav; a part that was not fetched has no folder.
        file = table.parent.joinpath(*row["file_name"].split("/")[-2:])
        if file not in present and file.parent.is_dir():
            yield file


def _facts(file: Path, year: int) -> MachineFacts:
    facts = dcase_facts(file)
    if (facts.section or "").startswith("id_") != (year == 2020):
        raise DataError(
            f"{file} is not named as the files of {year} are: those of 2020 are called such as "
            "normal_id_00_00000000.wav, those of later years such as section_00_0000.wav; is it "
            "of another year?"
        )
    if facts.split == "train" and facts.condition != "normal":
        raise DataError(f"{file} lies with the training clips, but is not called normal: move it")
    return facts if facts.split else replace(facts, split="test")


def _with_truth(
    clips: dict[str, DcaseClip], truth: GroundTruth, folder: Path
) -> dict[str, DcaseClip]:
    """Add conditions and domains of evaluation clips, and clips that only the truth names."""
    tests: dict[tuple[str, str], dict[str, str]] = {}
    for path, clip in clips.items():
        if clip.part == "eval" and clip.facts.split == "test":
            machine = (str(clip.facts.machine_type), str(clip.facts.section))
            tests.setdefault(machine, {})[Path(path).name] = path
    result = dict(clips)
    for machine, paths in tests.items():
        conditions, domains = truth.of(*machine)
        for name in sorted(paths.keys() | conditions.keys()):
            path = paths.get(name) or _beside(next(iter(paths.values())), name)
            lacking = [
                word
                for word, known in (("condition", conditions), ("domain", domains))
                if known and name not in known
            ]
            if lacking:
                raise DataError(
                    f"the ground truth in {truth.folder} lacks the {lacking[0]} of {path}: is it "
                    "of another year?"
                )
            facts = clips[path].facts if path in clips else dcase_facts(folder / path)
            known = replace(
                facts,
                condition=conditions.get(name, facts.condition),
                domain=domains.get(name, facts.domain),
                split="test",
            )
            result[path] = DcaseClip(path, "eval", known)
    return result


def _beside(path: str, name: str) -> str:
    """Give the path of a test clip that is not there, from one of its section that is."""
    folder, split, _ = path.rsplit("/", 2)
    domain = re.search(r"_(source|target)_", name)
    if split.endswith("_test") and domain:
        split = f"{domain[1]}_test"
    return f"{folder}/{split}/{name}"


def _split_folders(machine: Path, year: int) -> list[Path]:
    """Give the folders of a machine type that hold clips.

    A baseline's `test` beside the official `source_test` and `target_test` of 2021 holds copies.
    """
    by_domain = [machine / "source_test", machine / "target_test"]
    tests = by_domain if any(path.is_dir() for path in by_domain) else [machine / "test"]
    return [path for path in (machine / "train", *tests) if path.is_dir()]


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        return []
    return [path for path in sorted(root.glob("[!.]*")) if path.is_dir()]
