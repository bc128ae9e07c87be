"""How a label path is written for people."""

from __future__ import annotations

from collections.abc import Sequence

_CONTROL = [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]
_ESCAPES = {code: chr(code).encode("unicode_escape").decode() for code in _CONTROL} | {
    ord("\\"): "\\\\",
    ord("/"): "\\/",
}


def display_name(path: Sequence[str]) -> str:
    r"""Join the names of a path by slashes, on one line; different paths look different.

    A slash in a name becomes `\/`, a backslash `\\`, a line break `\n`; other control characters,
    which could steer a terminal, become `\x1b` and the like.

    >>> print(display_name(("24/7", "new\nline")))
    24\/7/new\nline
    """
    return "/".join(name.translate(_ESCAPES) for name in path)
