"""Reading Newick notation: `((a,b)inner,'it''s')root;`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tonotopy._errors import UsageError

_TOKEN = re.compile(
    r"""\s*(?:
        \[[^\]]*\]                          # a comment
      | (?P<quoted>'(?:[^']|'')*')
      | (?P<mark>[(),;])
      | (?P<length>:\s*[^\s(),:;'\[\]]+)
      | (?P<name>[^\s(),:;'\[\]]+)
    )\s*""",
    re.VERBOSE,
)

# What may stand before a token; "" is the beginning of the text.
_BEFORE = {
    "name": {"", "(", ",", ")"},
    "length": {"", "(", ",", ")", "name"},
    "(": {"", "(", ","},
    ",": {"(", ",", ")", "name", "length"},
    ")": {"(", ",", ")", "name", "length"},
    ";": {")", "name", "length"},
}


@dataclass
class _Node:
    name: str = ""
    children: list[_Node] = field(default_factory=list)


def parse_newick(text: str) -> list[tuple[str, ...]]:
    """Give the path of every node below the root.

    Raises:
        UsageError: The notation is broken, a node has no name, or siblings share a name.
    """
    paths: list[tuple[str, ...]] = []
    root = _read(text)
    _check_siblings(root, ())
    stack: list[tuple[tuple[str, ...], _Node]] = [((), node) for node in reversed(root.children)]
    while stack:
        above, node = stack.pop()
        if not node.name:
            raise UsageError(f"Newick: a node {_place(above)} has no name")
        path = (*above, node.name)
        paths.append(path)
        _check_siblings(node, path)
        stack += [(path, child) for child in reversed(node.children)]
    return paths


def _read(text: str) -> _Node:
    root = current = _Node()
    above: list[_Node] = []
    for kind, name in _tokens(text):
        if kind == "name":
            current.name = name
        elif kind == "(":
            above.append(current)
            current = _add_child(current)
        elif kind == ",":
            if not above:
                raise UsageError("Newick: a comma outside all parentheses")
            current = _add_child(above[-1])
        elif kind == ")":
            if not above:
                raise UsageError("Newick: a closing parenthesis too many")
            current = above.pop()
    if above:
        raise UsageError("Newick: a closing parenthesis is missing")
    return root


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind of every token, and its name; refuse one that may not stand in its place."""
    position, before = 0, ""
    while position < len(text):
        token = _TOKEN.match(text, position)
        kind = "" if token is None else token["mark"] or token.lastgroup or "comment"
        kind = "name" if kind == "quoted" else kind
        if token is None or before not in _BEFORE.get(kind, {before}):
            excerpt = text[position : position + 10].strip()
            raise UsageError(f"Newick: unexpected {excerpt!r} at character {position + 1}")
        position = token.end()
        if kind == "comment":
            continue
        before = kind
        if token["quoted"] is not None:
            yield kind, token["quoted"][1:-1].replace("''", "'")
        else:
            # Unquoted underscores stand for blanks, by the standard.
            yield kind, (token["name"] or "").replace("_", " ")
    if not before:
        raise UsageError("Newick: the text is empty; expected a tree such as (a,b);")


def _add_child(node: _Node) -> _Node:
    node.children.append(_Node())
    return node.children[-1]


def _check_siblings(node: _Node, path: tuple[str, ...]) -> None:
    for name, count in Counter(child.name for child in node.children).items():
        if count > 1 and name:
            raise UsageError(f"Newick: two siblings {_place(path)} are named {name!r}")


def _place(path: tuple[str, ...]) -> str:
    return f"under {'/'.join(path)}" if path else "at the top"
