"""The tree of labels: immutable, of any depth, ragged."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_text
from tonotopy.labels._display import display_name
from tonotopy.labels._newick import parse_newick
from tonotopy.labels._sources import (
    FORMAT,
    all_prefixes,
    as_path,
    check_names,
    column_paths,
    folder_paths,
    json_paths,
    parent_mapping,
    parent_paths,
)

UNKNOWN = -1
"""Code of a level that exists but is not known: the label is partial."""

NO_LEVEL = -2
"""Code of a level that does not exist: the label is complete and ended above."""

LabelPath = tuple[str, ...]


class LabelTree:
    """A taxonomy of labels; a clip's label is a path from coarse to fine.

    Nodes are numbered in the order of their sorted paths, each before its children, whatever the
    order of the input. A path that ends in a leaf is complete; one that ends in an inner node is
    partial: the finer label exists but is not known. The root is no node; -1 stands for it.

    Args:
        paths: Label paths; every prefix of a path is a node. Prefer the `from_...` constructors.

    Raises:
        UsageError: A path is a bare text, or a name in it is empty or no valid text.

    Examples:
        >>> tree = LabelTree([("Strings", "Violin"), ("Strings", "Cello"), ("Voice",)])
        >>> tree.leaf_names
        ('Strings/Cello', 'Strings/Violin', 'Voice')
        >>> tree.encode([("Strings", "Violin"), ("Strings",), ("Voice",), ()]).tolist()
        [[0, 2], [0, -1], [3, -2], [-1, -1]]
    """

    def __init__(self, paths: Iterable[Sequence[str]]) -> None:
        self._paths = tuple(sorted(all_prefixes(paths)))
        self._ids = {path: node for node, path in enumerate(self._paths)}

    @classmethod
    def from_paths(cls, paths: Iterable[Sequence[str]]) -> LabelTree:
        """Build the smallest tree that holds all paths; empty paths add nothing."""
        return cls(paths)

    @classmethod
    def from_folder(cls, root: Path | str) -> LabelTree:
        """Build the tree of a folder's nested sub-folders; hidden ones are left out.

        Raises:
            UsageError: `root` is no folder.
        """
        return cls(folder_paths(Path(root)))

    @classmethod
    def from_columns(cls, rows: Iterable[Sequence[str | None]]) -> LabelTree:
        """Build the tree of table rows, coarse to fine; None or "" ends a row.

        Raises:
            UsageError: A row goes on after an empty cell.
        """
        return cls(column_paths(rows))

    @classmethod
    def from_parents(cls, parents: Mapping[str, str | None]) -> LabelTree:
        """Build a tree from child to parent; None or "" marks a node at the top.

        A parent that is no key of its own stands at the top.

        Raises:
            UsageError: Nodes are their own ancestors; the message names the cycle.
        """
        return cls(parent_paths(parents))

    @classmethod
    def from_parent_table(cls, rows: Iterable[tuple[str, str | None]]) -> LabelTree:
        """Build a tree from (child, parent) rows.

        Raises:
            UsageError: A child has two parents or stands twice, or there is a cycle.
        """
        return cls.from_parents(parent_mapping(rows))

    @classmethod
    def from_newick(cls, text: str) -> LabelTree:
        """Build a tree from Newick notation; branch lengths and comments are left out.

        The outermost node is the root, whatever its name. Names with special characters stand in
        single quotes, doubled inside.

        Raises:
            UsageError: The notation is broken, a node has no name, or siblings share one.
        """
        return cls(parse_newick(text))

    @classmethod
    def from_json(cls, text: str) -> LabelTree:
        """Build the tree that `to_json` wrote.

        Raises:
            DataError: The text is no label tree.
        """
        try:
            return cls(json_paths(text))
        except UsageError as error:
            raise DataError(f"this is no label tree: {error}") from error

    def to_json(self) -> str:
        """Write the tree as JSON."""
        leaves = [list(self._paths[leaf]) for leaf in self.leaves]
        return json.dumps({"format": FORMAT, "paths": leaves}, ensure_ascii=False, indent=1)

    def save(self, path: Path | str) -> None:
        """Write the tree to a JSON file, whole or not at all."""
        write_text(path, self.to_json() + "\n")

    @classmethod
    def load(cls, path: Path | str) -> LabelTree:
        """Read the tree from a JSON file.

        Raises:
            DataError: The file cannot be read or is no label tree.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: this is no label tree: not UTF-8 text") from error
        except DataError as error:
            raise DataError(f"{path}: {error}") from error

    @property
    def num_nodes(self) -> int:
        """Nodes, without the root."""
        return len(self._paths)

    @cached_property
    def num_levels(self) -> int:
        """Depth L of the deepest node; 0 for the empty tree."""
        return max((len(path) for path in self._paths), default=0)

    @cached_property
    def leaves(self) -> tuple[int, ...]:
        """Nodes without children, ascending; flat class c is `leaves[c]`."""
        return tuple(node for node, below in enumerate(self._children) if not below)

    @property
    def num_leaves(self) -> int:
        """Number of flat classes C."""
        return len(self.leaves)

    @cached_property
    def leaf_names(self) -> tuple[str, ...]:
        """Names of the leaves for display, "Strings/Violin"; see `display_name`."""
        return tuple(display_name(self._paths[leaf]) for leaf in self.leaves)

    def children(self, node: int) -> tuple[int, ...]:
        """Nodes right below `node`, ascending; -1 gives the top level."""
        return self._children[node] if self.path(node) else self._top

    def parent(self, node: int) -> int:
        """The node right above, -1 at the top."""
        return self._ids.get(self.path(node)[:-1], -1)

    def depth(self, node: int) -> int:
        """Depth of a node; 1 is the coarsest level."""
        return len(self.path(node))

    def path(self, node: int) -> LabelPath:
        """Names from the top down to `node`; () for the root, -1.

        Raises:
            UsageError: There is no such node; the same holds for all that take one.
        """
        if not -1 <= node < self.num_nodes:
            raise UsageError(f"there is no node {node}: expected -1 (root) to {self.num_nodes - 1}")
        return self._paths[node] if node >= 0 else ()

    def node(self, path: Sequence[str]) -> int:
        """The node of a path.

        Raises:
            UsageError: There is none; the message names the nearest.
        """
        path = as_path(path)
        found = self._ids.get(path)
        if found is None:
            raise UsageError(self._unknown(path))
        return found

    def known_part(self, path: Sequence[str]) -> LabelPath:
        """The longest upper part of any path that is in the tree; () where nothing is."""
        path = as_path(path)
        depths = range(len(path), -1, -1)
        return next(path[:depth] for depth in depths if path[:depth] in self._ids or depth == 0)

    def is_leaf(self, node: int) -> bool:
        """Whether a node has no children."""
        return not self.children(node)

    def is_partial(self, path: Sequence[str]) -> bool:
        """Whether a path stops above a leaf; the empty path is partial."""
        return not path or not self.is_leaf(self.node(path))

    def leaves_under(self, node: int) -> tuple[int, ...]:
        """Leaves at or below a node, ascending."""
        path = self.path(node)
        return tuple(leaf for leaf in self.leaves if self._paths[leaf][: len(path)] == path)

    def lca_depth(self, a: int, b: int) -> int:
        """Depth of the deepest common ancestor of two nodes; 0 if only the root is common."""
        depth = 0
        for left, right in zip(self.path(a), self.path(b), strict=False):
            if left != right:
                break
            depth += 1
        return depth

    def encode(self, paths: Iterable[Sequence[str]]) -> Tensor:
        """Give the node of each path at each depth.

        Args:
            paths: B label paths of this tree; `()` for no label.

        Returns:
            (B, L) int64 node ids; `UNKNOWN` (-1) where a level exists below a partial path, and
            `NO_LEVEL` (-2) where none does. Equal ids mean equal prefixes.

        Raises:
            UsageError: A path is not in the tree; the message names it and the nearest.
        """
        rows = [self._encode(as_path(path)) for path in paths]
        return torch.tensor(rows, dtype=torch.long).reshape(len(rows), self.num_levels)

    def decode(self, codes: Tensor) -> list[LabelPath]:
        """Give the paths, as far as they are known, of codes (B, L)."""
        paths = []
        for row in codes.tolist():
            known = [node for node in row if node >= 0]
            paths.append(self._paths[known[-1]] if known else ())
        return paths

    def leaf_index(self, paths: Iterable[Sequence[str]]) -> Tensor:
        """Give flat classes: (B,) int64 indices into `leaves`, -1 for partial paths.

        Raises:
            UsageError: A path is not in the tree.
        """
        order = {leaf: index for index, leaf in enumerate(self.leaves)}
        classes = [order.get(self.node(path), -1) if path else -1 for path in paths]
        return torch.tensor(classes, dtype=torch.long)

    def counts(self, paths: Iterable[Sequence[str]]) -> list[int]:
        """Count, for each node, the paths that lead to it or through it."""
        totals = [0] * self.num_nodes
        for path in map(as_path, paths):
            for end in range(1, len(path) + 1):
                totals[self.node(path[:end])] += 1
        return totals

    def render(self, counts: Sequence[int] | None = None) -> list[str]:
        """Draw the tree, a line a node, with a number behind each name where `counts` are given."""
        lines = []
        for node, path in enumerate(self._paths):
            number = "" if counts is None else f"  {counts[node]}"
            lines.append(f"{'  ' * (len(path) - 1)}{display_name(path[-1:])}{number}")
        return lines

    def __contains__(self, path: object) -> bool:
        return isinstance(path, tuple | list) and tuple(path) in self._ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelTree) and self._paths == other._paths

    def __hash__(self) -> int:
        return hash(self._paths)

    def __repr__(self) -> str:
        return f"LabelTree({self.num_leaves} leaves, {self.num_levels} levels)"

    @cached_property
    def _children(self) -> tuple[tuple[int, ...], ...]:
        below: list[list[int]] = [[] for _ in self._paths]
        for node, path in enumerate(self._paths):
            if len(path) > 1:
                below[self._ids[path[:-1]]].append(node)
        return tuple(tuple(nodes) for nodes in below)

    @cached_property
    def _top(self) -> tuple[int, ...]:
        return tuple(node for node, path in enumerate(self._paths) if len(path) == 1)

    @cached_property
    def _deepest(self) -> tuple[int, ...]:
        """Depth of the deepest leaf at or below each node."""
        deepest = [len(path) for path in self._paths]
        for node in reversed(range(self.num_nodes)):
            for child in self._children[node]:
                deepest[node] = max(deepest[node], deepest[child])
        return tuple(deepest)

    def _encode(self, path: LabelPath) -> list[int]:
        known = [self.node(path[:end]) for end in range(1, len(path) + 1)]
        reach = self._deepest[known[-1]] if known else self.num_levels
        unknown = [UNKNOWN] * (reach - len(known))
        return known + unknown + [NO_LEVEL] * (self.num_levels - reach)

    def _unknown(self, path: LabelPath) -> str:
        check_names(path)
        if not path:
            return "the empty path is the root, which is no node of the tree"
        known = 0
        while path[: known + 1] in self._ids:
            known += 1
        siblings = self.children(self._ids[path[:known]]) if known else self._top
        names = [self._paths[node][-1] for node in siblings]
        near = difflib.get_close_matches(path[known], names, n=1)
        there = f"; there are: {', '.join(names[:8])}" if names else "; nothing is below it"
        hint = f"; did you mean {near[0]!r}?" if near else there
        where = f" under {display_name(path[:known])}" if known else ""
        return f"label {display_name(path)} is not in the tree: no {path[known]!r}{where}{hint}"
