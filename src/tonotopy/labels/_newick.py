"""Reading Newick notation: `((a,b)inner,'it''s')root;`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tonotopy._errors import UsageError

_TOKEN = re.compile(
    r"""\s*(?:
        \[[^\]]*\]                          # a comment
      | (?P<quoted>'(?:[^']|'')*')
      | (?P<mark>[(),;])
      | :\s*(?P<length>[^\s(),:;'\[\]]+)
      | (?P<name>[^\s(),:;'\[\]]+)
    )\s*""",
    re.VERBOSE,
)


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
            where = f"under {'/'.join(above)}" if above else "at the top"
            raise UsageError(f"Newick: a node {where} has no name")
        path = (*above, node.name)
        paths.append(path)
        _check_siblings(node, path)
        stack += [(path, child) for child in reversed(node.children)]
    return paths


def _read(text: str) -> _Node:
    root = current = _Node()
    above: list[_Node] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            raise UsageError(f"Newick: unexpected {text[position : position + 10]!r}")
        position = token.end()
        mark = token["mark"]
        if token["quoted"] is not None:
            current.name = token["quoted"][1:-1].replace("''", "'")
        elif token["name"] is not None:
            # Unquoted underscores stand for blanks, by the standard.
            current.name = token["name"].replace("_", " ")
        elif mark == "(":
            above.append(current)
            current.children.append(_Node())
            current = current.children[-1]
        elif mark == ",":
            if not above:
                raise UsageError("Newick: a comma outside all parentheses")
            above[-1].children.append(_Node())
            current = above[-1].children[-1]
        elif mark == ")":
            if not above:
                raise UsageError("Newick: a closing parenthesis too many")
            current = above.pop()
        elif mark == ";":
            break
    if above:
        raise UsageError("Newick: a closing parenthesis is missing")
    return root


def _check_siblings(node: _Node, path: tuple[str, ...]) -> None:
    names = [child.name for child in node.children]
    for name in names:
        if names.count(name) > 1 and name:
            where = f"under {'/'.join(path)}" if path else "at the top"
            raise UsageError(f"Newick: two siblings {where} are named {name!r}")
