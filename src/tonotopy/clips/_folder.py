"""List a folder whose nested sub-folders are labels."""

from __future__ import annotations

import os
from pathlib import Path, PurePath

from tonotopy.clips._listing import AUDIO_SUFFIXES, Entry, Listing, Rejected, label_path, printable


def list_folder(root: Path) -> Listing:
    """List the audio files under `root`; the folders on the way to a file are its label.

    Hidden files and folders are skipped. Links are followed, but each folder is read once however
    many links lead to it, under its own place where it has one below `root`, and never one that
    `root` lies in. So a loop of links ends, and no clip gets two labels by a link.
    """
    listing = Listing(root)
    seen = {str(parent) for parent in root.resolve().parents}
    linked = _read_below("", listing, seen)
    while linked:
        linked = [
            deeper for folder in sorted(linked) for deeper in _read_below(folder, listing, seen)
        ]
    return listing


def _read_below(start: str, listing: Listing, seen: set[str]) -> list[str]:
    """Read a folder and all below it, without following links; return the linked folders."""
    linked: list[str] = []
    pending = [start]
    while pending:
        folder = pending.pop()
        identity = os.path.realpath(listing.root / folder)
        if identity in seen:
            continue
        seen.add(identity)
        for item in _items(folder, listing):
            name = f"{folder}/{item.name}" if folder else item.name
            if _is_folder(item):
                (linked if item.is_symlink() else pending).append(name)
            else:
                _add_file(name, listing)
    return linked


def _items(folder: str, listing: Listing) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(listing.root / folder) as items:
            visible = [item for item in items if not item.name.startswith(".")]
    except OSError as error:
        detail = f"cannot list the folder: {error.strerror or error}"
        listing.rejected.append(Rejected(printable(folder) or ".", "unreadable", detail))
        return []
    return sorted(visible, key=lambda item: item.name)


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link to itself, a disk error: opening it as a file tells the reason
        return False


def _add_file(name: str, listing: Listing) -> None:
    path = PurePath(name)
    suffix = path.suffix.lower()
    if suffix not in AUDIO_SUFFIXES:
        listing.ignored[printable(suffix) or "(none)"] += 1
    elif printable(name) != name:
        detail = "its name is not valid UTF-8: rename it"
        listing.rejected.append(Rejected(printable(name), "unreadable", detail))
    else:
        listing.entries.append(Entry(name, label_path(path.parts[:-1])))
