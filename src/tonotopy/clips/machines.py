"""Which machine a clip is of, and in what state: the columns that anomaly detection needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from tonotopy._errors import DataError, UsageError
from tonotopy.clips._columns import nearest
from tonotopy.clips.machine_names import (
    CONDITIONS,
    DOMAINS,
    MachineFacts,
    label_facts,
    merge,
    path_facts,
)
from tonotopy.clips.table import ClipTable

MACHINE_COLUMNS = ("machine_type", "section", "attributes", "domain", "condition")
"""All of nullable text, as `machine`, which is `machine_type/section` or just `machine_type`."""

LEVELS = ("machine_type", "section", "attributes", "domain")
"""What the class of a clip can be made of, in the order in which it is written."""


@dataclass(frozen=True)
class MachineColumns:
    """Columns of a table that say what a clip's machine is; None where it is left to guessing.

    Args:
        type_column: The machine type, such as `fan`.
        section_column: The individual machine or setting, such as `id_00`; empty for none.
        attribute_columns: Settings such as `speed`; they are written `speed_3_load_1`, and only a
            column called `attributes` as it is. `[]` for none.
        domain_column: `source` or `target`; empty if unknown.
        condition_column: `normal`, or `anomaly` (or `abnormal`, `anomalous`); empty if unknown.
    """

    type_column: str | None = None
    section_column: str | None = None
    attribute_columns: Sequence[str] | None = None
    domain_column: str | None = None
    condition_column: str | None = None


def add_machines(clips: ClipTable, columns: MachineColumns | None = None) -> ClipTable:
    """Add the columns `machine_type`, `section`, `attributes`, `domain`, `condition`, `machine`.

    Each of the first five comes from the first of these that there is:

    1. the column that the user named;
    2. a column of that very name (`machine` serves for `machine_type`);
    3. the name of a DCASE Task 2 file of any year from 2020 to 2024, and the folder above `train`
       or `test` as the machine type;
    4. MIMII's folders `fan/id_00/normal/` and `fan/id_00/abnormal/`;
    5. the label: its first name is the machine type, the second the section, further ones are
       attributes; `normal`, `anomaly`, `abnormal` or `anomalous` at its end is the condition,
       `source` or `target` anywhere the domain, and `train` and `test` are passed over.

    A column speaks for all rows: where it is empty, nothing is known. If nothing tells a machine
    type, all clips are of one machine, called after the data's folder, with a warning.

    Args:
        clips: Clips of any source.
        columns: What the user said about columns.

    Returns:
        The same clips with the six columns of nullable text; `machine` is `fan/id_00`, or `fan`
        where there is no section, and never null.

    Raises:
        UsageError: A named column does not exist or holds no text.
        DataError: A column holds another word than is listed, only some clips have a machine type,
            or file name, folder and label contradict each other; the message names the file.
    """
    chosen = _choose(clips.frame, columns or MachineColumns())
    facts = _guess(clips, [name for name in MACHINE_COLUMNS if chosen[name] is None])
    values = {
        name: [getattr(fact, name) for fact in facts]
        if names is None
        else _column(clips.frame, name, names)
        for name, names in chosen.items()
    }
    for name, words in (("domain", DOMAINS), ("condition", CONDITIONS)):
        values[name] = _words(clips, values[name], chosen[name], words)
    values["machine_type"] = _types(clips, values["machine_type"], chosen["machine_type"])
    machine = [
        kind if section is None else f"{kind}/{section}"
        for kind, section in zip(values["machine_type"], values["section"], strict=True)
    ]
    return clips.with_columns(
        *(pl.Series(name, values[name], dtype=pl.String) for name in MACHINE_COLUMNS),
        pl.Series("machine", machine, dtype=pl.String),
    )


def official_split(clips: ClipTable) -> pl.Series | None:
    """Give which clips a data set lets train, by its column `split` or the names of its files.

    Returns:
        A string series named `split` of `train` and `test`; None where not every clip says so.

    Raises:
        DataError: A name and its folder contradict each other.
    """
    if "split" in clips.frame.columns:
        said = clips.frame["split"].cast(pl.String).to_list()
    else:
        said = [merge(path, path_facts(path)).split for path in clips.paths]
    known = all(split in {"train", "test"} for split in said)
    return pl.Series("split", said, dtype=pl.String) if known else None


def auxiliary_classes(frame: pl.DataFrame, levels: Sequence[str]) -> list[str | None]:
    """Name the class that each clip has in the auxiliary task of anomaly detection.

    One class for every different string of the chosen levels, over all machines together
    as the systems of Wilkinghoff for DCASE Task 2 have it.

    Args:
        frame: With the columns that `add_machines` adds.
        levels: Any of `machine_type`, `section`, `attributes` and `domain`; they are written in
            this order. Without any, all clips are of the one class `normal`.

    Returns:
        Such as `"fan, 00, speed_3, source"`, missing parts left out. None for an anomaly, which no
        model is trained on, and for a clip of which none of the levels is known.

    Raises:
        UsageError: A level is unknown, or its column missing.
        DataError: Two different classes would be written alike.
    """
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise UsageError(f"no level {unknown[0]!r}{nearest(unknown[0], LEVELS, 'levels')}")
    used = [level for level in LEVELS if level in levels]
    missing = [name for name in (*used, "condition") if name not in frame.columns]
    if missing:
        raise UsageError(f"the clips have no column {missing[0]!r}: add_machines makes it")
    meanings: dict[str, tuple[str | None, ...]] = {}
    classes: list[str | None] = []
    for *parts, condition in frame.select(*used, "condition").iter_rows():
        name = ", ".join(part for part in parts if part is not None)
        if condition == "anomaly" or (used and not name):
            classes.append(None)
            continue
        name = name or "normal"
        meaning = meanings.setdefault(name, tuple(parts))
        if meaning != tuple(parts):
            raise DataError(
                f"two classes would be called {name!r}: {used} = {meaning} and {tuple(parts)}; "
                "rename one of their parts"
            )
        classes.append(name)
    return classes


def _choose(frame: pl.DataFrame, columns: MachineColumns) -> dict[str, tuple[str, ...] | None]:
    """Give the columns that each of ours is read from; None where paths and labels decide."""
    attributes = columns.attribute_columns
    told = {
        "machine_type": _one(columns.type_column),
        "section": _one(columns.section_column),
        "attributes": None if attributes is None else tuple(attributes),
        "domain": _one(columns.domain_column),
        "condition": _one(columns.condition_column),
    }
    for name in (name for names in told.values() for name in names or ()):
        if name not in frame.columns:
            raise UsageError(f"the clips have no column {name!r}{nearest(name, frame.columns)}")
    for name in MACHINE_COLUMNS:
        if told[name] is None and name in frame.columns:
            told[name] = (name,)
    if told["machine_type"] is None and "machine" in frame.columns:
        told["machine_type"] = ("machine",)
    return told


def _one(column: str | None) -> tuple[str, ...] | None:
    return None if column is None else (column,)


def _column(frame: pl.DataFrame, name: str, columns: Sequence[str]) -> list[str | None]:
    texts = [_texts(frame, column) for column in columns]
    if name != "attributes":
        return texts[0]
    rows = zip(*texts, strict=True) if texts else [()] * len(frame)
    return [_attributes(dict(zip(columns, row, strict=True))) for row in rows]


def _attributes(settings: Mapping[str, str | None]) -> str | None:
    """Write settings as DCASE does, each value behind its name."""
    parts = [
        value if name == "attributes" else f"{name}_{value}"
        for name, value in settings.items()
        if value is not None
    ]
    return "_".join(parts) or None


def _texts(frame: pl.DataFrame, column: str) -> list[str | None]:
    dtype = frame.schema[column]
    if dtype.is_nested() or dtype in (pl.Binary, pl.Object):
        raise UsageError(f"column {column!r} holds {dtype}: expected text or numbers")
    texts = frame[column].cast(pl.String).str.strip_chars()
    return [text or None for text in texts.to_list()]


def _guess(clips: ClipTable, wanted: Sequence[str]) -> list[MachineFacts]:
    """Give what path and label say of every clip, of what no column says."""
    if not wanted:
        return [MachineFacts()] * len(clips)
    answered = dict.fromkeys(name for name in (*MACHINE_COLUMNS, "split") if name not in wanted)
    facts = []
    for path, label in zip(clips.paths, map(label_facts, clips.labels), strict=True):
        # The places of names in a label mean something only where nothing else tells the type.
        anywhere = MachineFacts(domain=label.domain, condition=label.condition)
        sources = path_facts(path) | {"its label": anywhere}
        said = merge(path, {name: replace(fact, **answered) for name, fact in sources.items()})
        if said.machine_type is None and "machine_type" in wanted:
            said = replace(
                said,
                machine_type=label.machine_type,
                section=said.section or label.section,
                attributes=said.attributes or label.attributes,
            )
        facts.append(said)
    return facts


def _words(
    clips: ClipTable,
    values: Sequence[str | None],
    columns: Sequence[str] | None,
    words: Mapping[str, str],
) -> list[str | None]:
    """Give the words of a column in our spelling."""
    if columns is None:
        return list(values)
    for path, value in zip(clips.frame["path"], values, strict=True):
        if value is not None and value.lower() not in words:
            raise DataError(
                f"column {columns[0]!r} says {value!r} of {path}: expected "
                f"{', '.join(words)}, or nothing if it is unknown"
            )
    return [None if value is None else words[value.lower()] for value in values]


def _types(
    clips: ClipTable, values: Sequence[str | None], columns: Sequence[str] | None
) -> list[str]:
    """Give the machine types, of which none is missing or holds a slash."""
    known = [value for value in values if value is not None]
    if not known and columns is None:
        name = clips.root.absolute().name or "machine"
        warnings.warn(
            f"nothing tells the machine type of the clips in {clips.root}: all {len(clips)} count "
            f"as one machine, {name!r}; for several machines, name a column of a table, or put "
            "each machine's clips into a folder of its own",
            stacklevel=3,
        )
        return [name] * len(clips)
    source = f"column {columns[0]!r}" if columns else "its folders"
    for path, value in zip(clips.frame["path"], values, strict=True):
        if value is None:
            raise DataError(
                f"{source} gives no machine type for {path}, but for other clips: fill it in, or "
                "leave the clip out"
            )
        if "/" in value:
            raise DataError(
                f"{source} gives the machine type {value!r} for {path}: it must hold no slash; "
                "what follows it belongs into a column 'section'"
            )
    return known
