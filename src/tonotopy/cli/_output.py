"""What a verb gives back: numbers for machines, and a way to show them to people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True)
class Output:
    """The result of a verb.

    Args:
        data: Printed as JSON with `--json`.
        summary: One line, printed last.
        show: Prints tables and the like before the summary.
    """

    data: dict[str, Any]
    summary: str
    show: Callable[[Console], None] = lambda console: None
