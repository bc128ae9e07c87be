"""What is known about a public data set, and what all of them can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.datasets._layout import check_layout
from tonotopy.datasets.download import Archive, fetch


@dataclass(frozen=True)
class PublicDataset:
    """A public data set in its official layout.

    Args:
        name: Short name, as on the command line.
        title: Full name.
        description: Clips, labels and split, in a sentence or two.
        licence: Of the recordings.
        citation: What to cite.
        homepage: Where it is described.
        size: Of the download, in words.
        layout: Files and folders (with a slash at the end) that the official folder holds.
        loader: Folder to clips.
        archives: What `get` fetches, all into one folder; empty where it cannot or may not.
        request: How to get it instead, in words.
        subsets: Name of an official subset to the clips that belong to it.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    homepage: str
    size: str
    layout: tuple[str, ...]
    loader: Callable[[Path], ClipTable]
    archives: tuple[Archive, ...] = ()
    request: str = ""
    subsets: Mapping[str, pl.Expr] = field(default_factory=dict)

    def load(self, folder: Path | str, subsets: Sequence[str] = ()) -> ClipTable:
        """Read the data set from its official layout.

        Files that a table names and that are missing or damaged are in the table's quarantine.

        Args:
            folder: The folder that holds what `layout` lists.
            subsets: Names of subsets, of which a clip must be in one. Default: all clips.

        Raises:
            UsageError: The folder has another layout; the message says what was expected where.
                Or there is no such subset.
            DataError: An official table is damaged, or no clip can be used.
        """
        folder = Path(folder)
        for name in subsets:
            if name not in self.subsets:
                there = f"there are: {', '.join(self.subsets)}" if self.subsets else "it has none"
                raise UsageError(f"{self.name} has no subset {name!r}; {there}")
        check_layout(folder, self.layout, self.name)
        clips = self.loader(folder)
        if not subsets:
            return clips
        return clips.filter(pl.any_horizontal([self.subsets[name] for name in subsets]))

    def get(self, folder: Path | str) -> Path:
        """Fetch and unpack the data set; an interrupted download goes on.

        Args:
            folder: Where; the data set gets a folder of its own in it.

        Returns:
            The data set's own folder, to be given to `load`.

        Raises:
            UsageError: The data set must be fetched by hand; the message says how.
            DataError: The network or the disk failed, or a checksum differs.
        """
        if not self.archives:
            raise UsageError(f"{self.name} must be fetched by hand. {self.request}")
        return fetch(self.archives, Path(folder))
