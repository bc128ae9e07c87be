"""What a clip's path says about its machine: names of DCASE files, MIMII folders, label folders."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import PurePath

from tonotopy._errors import DataError

CONDITIONS = {
    "normal": "normal",
    "anomaly": "anomaly",
    "abnormal": "anomaly",
    "anomalous": "anomaly",
}
"""Accepted words, in lower case, to ours."""

DOMAINS = {"source": "source", "target": "target"}

SPLIT_FOLDERS = {
    "train": ("train", None),
    "test": ("test", None),
    "source_test": ("test", "source"),
    "target_test": ("test", "target"),
}
"""Folders that DCASE files lie in, to split and domain; the folder above is the machine type."""

NO_ATTRIBUTE = "noAttribute"
"""What DCASE writes in names from 2023 on where attributes are withheld."""

NAMES = (
    # 2020: normal_id_01_00000000, in the evaluation data id_01_00000000
    re.compile(r"(?:(?P<condition>normal|anomaly)_)?(?P<section>id_\d{2})_(?P<number>\d{8})"),
    # 2021 to 2024: section_00_source_train_normal_0000_strength_1
    re.compile(
        r"section_(?P<section>\d{2})_(?P<domain>source|target)_(?P<split>train|test)"
        r"_(?P<condition>normal|anomaly)_(?P<number>\d{4})(?:_(?P<attributes>.*))?"
    ),
    # Evaluation data of 2021: section_03_source_test_0000
    re.compile(
        r"section_(?P<section>\d{2})_(?P<domain>source|target)_(?P<split>test)_(?P<number>\d{4})"
    ),
    # Evaluation data of 2022 to 2024: section_03_0000, in their descriptions section_03_test_0000
    re.compile(r"section_(?P<section>\d{2})(?:_(?P<split>test))?_(?P<number>\d{4})"),
)

_LIKE_NAMES = re.compile(r"(section|id|normal_id|anomaly_id)_\d", re.IGNORECASE)
_MACHINE_ID = re.compile(r"id_\d+")


@dataclass(frozen=True)
class MachineFacts:
    """What is known of a clip; None where nothing is."""

    machine_type: str | None = None
    section: str | None = None
    attributes: str | None = None
    domain: str | None = None
    condition: str | None = None
    split: str | None = None


def dcase_name(stem: str) -> MachineFacts | None:
    """Read a file name of DCASE Task 2 of any year from 2020 to 2024.

    Args:
        stem: The file's name without its suffix.

    Returns:
        What it says; None if it is no such name.

    >>> dcase_name("section_00_source_train_normal_0001_speed_3").attributes
    'speed_3'
    """
    found = next((match for match in (name.fullmatch(stem) for name in NAMES) if match), None)
    if found is None:
        return None
    said = found.groupdict()
    attributes = said.get("attributes") or None
    return MachineFacts(
        section=said["section"],
        attributes=None if attributes == NO_ATTRIBUTE else attributes,
        domain=said.get("domain"),
        condition=said.get("condition"),
        split=said.get("split"),
    )


def path_facts(path: PurePath) -> dict[str, MachineFacts]:
    """Read the name of a DCASE file, and the folders that it or a file of MIMII lies in.

    Returns:
        What each of the two says, by its name for messages; without those that say nothing.

    Raises:
        DataError: The name begins like one of DCASE's and does not go on like it, in a folder such
            as `train`.
    """
    facts = {"its name": dcase_name(path.stem)}
    folder, above = path.parent.name, path.parent.parent
    if _MACHINE_ID.fullmatch(above.name) and folder.lower() in CONDITIONS:  # fan/id_00/abnormal/
        facts["its folder"] = MachineFacts(
            above.parent.name or None, above.name, condition=CONDITIONS[folder.lower()]
        )
    elif folder in SPLIT_FOLDERS and facts["its name"] is not None:  # fan/train/
        split, domain = SPLIT_FOLDERS[folder]
        facts["its folder"] = MachineFacts(above.name or None, domain=domain, split=split)
    elif folder in SPLIT_FOLDERS and _LIKE_NAMES.match(path.stem):
        raise _misnamed(path)
    return {source: said for source, said in facts.items() if said is not None}


def dcase_facts(path: PurePath) -> MachineFacts:
    """Read the name of a DCASE file and the folders it lies in, which must agree.

    Raises:
        DataError: It is not named as DCASE files are, or name and folder contradict each other.
    """
    if dcase_name(path.stem) is None:
        raise _misnamed(path)
    return merge(path, path_facts(path))


def _misnamed(path: PurePath) -> DataError:
    return DataError(
        f"{path} is not named as DCASE files are: expected such as "
        "section_00_source_train_normal_0000_speed_3.wav, section_00_0000.wav, "
        "normal_id_00_00000000.wav or id_00_00000000.wav; rename it or leave it out"
    )


def label_facts(label: Sequence[str]) -> MachineFacts:
    """Read a label path: machine type, section, finer attributes, and a condition at its end.

    Names that say something else are taken out first: `source` and `target` are domains, `train`
    and `test` say nothing about a machine.
    """
    names, domain, condition = [], None, None
    for name in label:
        word = name.lower()
        if word in SPLIT_FOLDERS:
            domain = SPLIT_FOLDERS[word][1] or domain
        elif word in DOMAINS:
            domain = DOMAINS[word]
        else:
            names.append(name)
    if names and names[-1].lower() in CONDITIONS:
        condition = CONDITIONS[names.pop().lower()]
    machine_type, section = (*names, None, None)[:2]
    return MachineFacts(machine_type, section, "_".join(names[2:]) or None, domain, condition)


def merge(path: PurePath, sources: dict[str, MachineFacts]) -> MachineFacts:
    """Put together what several sources say of one file.

    Args:
        path: The file, for messages.
        sources: What each source says, by its name for messages.

    Raises:
        DataError: Two sources contradict each other; the message says which, and the remedy.
    """
    merged: dict[str, str | None] = {}
    for field in fields(MachineFacts):
        said = {name: getattr(facts, field.name) for name, facts in sources.items()}
        known = {name: value for name, value in said.items() if value is not None}
        if len(set(known.values())) > 1:
            claims = ", ".join(f"{value!r} by {name}" for name, value in known.items())
            what = field.name.replace("_", " ")
            raise DataError(
                f"{path}: its {what} is {claims}; rename the file, or give a column {field.name!r} "
                "that says what is right"
            )
        merged[field.name] = next(iter(known.values()), None)
    return MachineFacts(**merged)
