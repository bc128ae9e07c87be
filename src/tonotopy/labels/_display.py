"""How a label path is written for people."""

from __future__ import annotations

from collections.abc import Sequence


def display_name(path: Sequence[str]) -> str:
    r"""Join the names of a path by slashes; a slash in a name becomes `\/`, a backslash `\\`."""
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in path)
