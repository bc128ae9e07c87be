"""Label paths from folders, table rows, parent tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tonotopy._errors import DataError, UsageError

FORMAT = 1


def as_path(path: Sequence[str]) -> tuple[str, ...]:
    """Give a label path as a tuple; refuse a bare text, which is a sequence of its letters."""
    if isinstance(path, str):
        raise UsageError(f"label {path!r} is one text; a path is a sequence of names: ({path!r},)")
    return tuple(path)


def check_names(path: tuple[str, ...]) -> None:
    """Refuse a path with a name that is empty, no text, or cannot be written to a file."""
    for name in path:
        if not isinstance(name, str) or not name:
            raise UsageError(f"label {path!r}: every name must be text, not empty")
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"label {path!r}: {name!r} is not valid UTF-8; rename it") from error


def all_prefixes(paths: Iterable[Sequence[str]]) -> set[tuple[str, ...]]:
    """Give every path and every path that one of them starts with."""
    found: set[tuple[str, ...]] = set()
    for given in paths:
        path = as_path(given)
        if path not in found:
            check_names(path)
            found.update(path[:end] for end in range(1, len(path) + 1))
    return found


def json_paths(text: str) -> list[list[str]]:
    """Give the paths in the JSON of a tree."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DataError(f"this is no label tree: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise DataError(f"this is no label tree of format {FORMAT}")
    paths = document.get("paths")
    if not isinstance(paths, list) or not all(isinstance(path, list) for path in paths):
        raise DataError('this is no label tree: "paths" must be a list of lists of names')
    return paths


def folder_paths(root: Path) -> Iterator[tuple[str, ...]]:
    """Give the nested sub-folders of a folder, hidden ones left out."""
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    for folder in root.rglob("*"):
        names = folder.relative_to(root).parts
        if folder.is_dir() and not any(name.startswith(".") for name in names):
            yield names


def column_paths(rows: Iterable[Sequence[str | None]]) -> Iterator[tuple[str, ...]]:
    """Give each row down to its first empty cell."""
    for row in rows:
        names: list[str] = []
        for name in row:
            if name is None or name == "":
                break
            names.append(name)
        if any(name is not None and name != "" for name in row[len(names) :]):
            raise UsageError(f"row {tuple(row)!r}: a finer label follows an empty one")
        yield tuple(names)


def parent_mapping(rows: Iterable[tuple[str, str | None]]) -> dict[str, str | None]:
    """Give child to parent, refusing a child that stands twice."""
    parents: dict[str, str | None] = {}
    for child, parent in rows:
        if child in parents:
            problem = (
                "stands twice"
                if parents[child] == parent
                else f"has two parents, {parents[child]!r} and {parent!r}"
            )
            raise UsageError(f"node {child!r} {problem}")
        parents[child] = parent
    return parents


def parent_paths(parents: Mapping[str, str | None]) -> Iterator[tuple[str, ...]]:
    """Give the path from the top to every node, refusing cycles."""
    for name in parents:
        path = [name]
        while parent := parents.get(path[0]):
            if parent in path:
                cycle = " -> ".join([*path[path.index(parent) :: -1], parent])
                raise UsageError(f"label tree: node {parent!r} is its own ancestor ({cycle})")
            path.insert(0, parent)
        yield tuple(path)
