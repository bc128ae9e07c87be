"""One progress bar for all long work; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def track(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` and show a bar on standard error while a person watches.

    Args:
        items: What to go through.
        label: What is being done, e.g. `"Decoding"`.
        total: Number of items; needed where `items` has no length.

    Yields:
        The items, unchanged.
    """
    if not sys.stderr.isatty():
        yield from items
        return

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=label)
