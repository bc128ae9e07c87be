"""What is known about a public data set, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable
from tonotopy.datasets.download import Archive, fetch


@dataclass(frozen=True)
class PublicDataset:
    """A public data set in its official layout.

    Args:
        name: Short name, as on the command line.
        title: Full name.
        description: Size, labels and split, in a sentence or two.
        licence: Of the recordings.
        citation: What to cite.
        homepage: Where it is described.
        layout: Files and folders (with a slash at the end) that the official folder holds.
        loader: Folder to clips.
        archives: What `get` fetches; empty where it may not be fetched by a program.
        request: How to get it instead, in words.
    """

    name: str
    title: str
    description: str
    licence: str
    citation: str
    homepage: str
    layout: tuple[str, ...]
    loader: Callable[[Path], ClipTable]
    archives: tuple[Archive, ...] = ()
    request: str = ""

    def load(self, folder: Path | str) -> ClipTable:
        """Read the data set from its official layout.

        Raises:
            UsageError: The folder has another layout; the message says what is missing.
            DataError: A table is damaged, or no clip can be used.
        """
        folder = Path(folder)
        missing = [name for name in self.layout if not (folder / name).exists()]
        if missing:
            raise UsageError(
                f"{folder} does not look like {self.name}: it lacks {', '.join(missing)}; "
                f"expected {', '.join(self.layout)} in it"
            )
        return self.loader(folder)

    def get(self, folder: Path | str) -> Path:
        """Fetch and unpack the data set; an interrupted download goes on.

        Returns:
            The folder in official layout, to be given to `load`.

        Raises:
            UsageError: The data set must be requested from its owners; the message says how.
            DataError: The network or the disk failed, or a checksum differs.
        """
        if not self.archives:
            raise UsageError(f"{self.name} cannot be fetched by a program. {self.request}")
        root = Path(folder)
        for archive in self.archives:
            fetch(archive, root)
        return root / self.archives[0].folder
