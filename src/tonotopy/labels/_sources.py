"""Label paths from folders, table rows and parent tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tonotopy._errors import UsageError


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
            if not name:
                break
            names.append(name)
        if any(row[len(names) :]):
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
