"""Unpacking archives that are not trusted."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

from tonotopy._errors import DataError
from tonotopy._progress import track

CHUNK = 1 << 20
"""Bytes read at once."""


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip or tar archive (plain, gzip, bzip2 or xz); nothing is written outside `folder`.

    Raises:
        DataError: The archive is of another kind, damaged, or names a path outside `folder`.
        OSError: The disk refuses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(file):
            _unpack_zip(file, folder)
        elif tarfile.is_tarfile(file):
            _unpack_tar(file, folder)
        else:
            raise DataError("this is neither a zip nor a tar archive")
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"the archive is damaged: {error}") from error


def _unpack_zip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in track(archive.infolist(), label="Unpacking"):
            # `extract` would write such a member under another name; no honest archive has one.
            _place(folder, member.filename)
            archive.extract(member, folder)


def _unpack_tar(file: Path, folder: Path) -> None:
    # Without `tarfile`'s own filters, which the first releases of Python 3.11 do not have.
    with tarfile.open(file) as archive:
        # Member by member in the order of the file: a gzip stream cannot be read backwards.
        for member in track(archive, label="Unpacking"):
            place = _place(folder, member.name)
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                place.parent.mkdir(parents=True, exist_ok=True)
                with content, place.open("wb") as target:
                    shutil.copyfileobj(content, target, CHUNK)
            elif member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            else:
                raise DataError(f"the archive is unsafe: {member.name!r} is no file or folder")
        # A gzip stream is compared with its checksum only when it has been read to its end.
        while archive.fileobj is not None and archive.fileobj.read(CHUNK):
            pass


def _place(folder: Path, name: str) -> Path:
    """Give the place of a member, unless it is outside of the folder."""
    root = folder.resolve()
    place = (root / name).resolve()
    if not place.is_relative_to(root):
        raise DataError(f"the archive is unsafe: {name!r} lies outside of it")
    return place
