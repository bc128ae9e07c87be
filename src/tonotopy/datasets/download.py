"""Fetching archives: resumed, checked, and unpacked only inside their folder."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path

from tonotopy._errors import DataError
from tonotopy._progress import track

CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A file to fetch and unpack.

    Args:
        url: Where it is.
        folder: The folder that holds the data set after unpacking, below the target; "" where the
            archive has no folder of its own.
        md5: Published checksum; empty where its owners publish none.
        sha256: Published checksum; empty where its owners publish none.
        into: Sub-folder of the target to unpack into.
    """

    url: str
    folder: str = ""
    md5: str = ""
    sha256: str = ""
    into: str = ""


def fetch(archive: Archive, root: Path) -> None:
    """Download an archive to `root` and unpack it there; what is there already is not repeated.

    Raises:
        DataError: The network or the disk failed, the checksum differs, or the archive is unsafe.
    """
    name = archive.url.rsplit("/", 1)[-1]
    done = root / f".{name}.unpacked"
    if done.exists():
        return
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = root / name
        if not file.exists():
            _download(archive.url, file)
        check(file, archive)
        unpack(file, root / archive.into)
        done.touch()
        file.unlink()
    except OSError as error:
        raise DataError(f"fetching {archive.url} to {root} failed: {error}") from error


def check(file: Path, archive: Archive) -> None:
    """Compare a file with its published checksums and remove it if it differs.

    Raises:
        DataError: It differs.
    """
    for algorithm, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        if expected:
            with file.open("rb") as opened:
                found = hashlib.file_digest(opened, algorithm).hexdigest()
            if found != expected:
                file.unlink()
                raise DataError(
                    f"{file} has the {algorithm} {found}, published is {expected}: the download "
                    "was damaged and has been removed; fetch it again"
                )


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip or tar archive, refusing members that would leave `folder`.

    Raises:
        DataError: The archive is damaged, of another kind, or unsafe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as opened:
                for member in track(opened.infolist(), label=f"Unpacking {file.name}"):
                    _refuse_outside(folder, member.filename, file)
                    opened.extract(member, folder)
        elif tarfile.is_tarfile(file):
            with tarfile.open(file) as tar:
                tar.extractall(folder, filter="data")
        else:
            raise DataError(f"{file} is neither a zip nor a tar archive")
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise DataError(f"cannot unpack {file}: {error}") from error


def _refuse_outside(folder: Path, member: str, file: Path) -> None:
    if not (folder / member).resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{file} is unsafe: it would write {member!r} outside its folder")


def _download(url: str, target: Path) -> None:
    """Fetch to `<target>.part`, going on where an earlier try stopped."""
    partial = target.with_name(f"{target.name}.part")
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request) as response:
            # A server that ignores the range sends everything again.
            resumed = response.status == HTTPStatus.PARTIAL_CONTENT
            size = int(response.headers.get("Content-Length", 0))
            with partial.open("ab" if resumed else "wb") as file:
                chunks = iter(lambda: response.read(CHUNK), b"")
                for chunk in track(chunks, label=target.name, total=size // CHUNK or None):
                    file.write(chunk)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise DataError(f"{url} answered {error.code} {error.reason}") from error
        # Nothing is left to send: the earlier try had it all.
    except urllib.error.URLError as error:
        raise DataError(f"cannot reach {url}: {error.reason}") from error
    except HTTPException as error:
        raise DataError(f"{url} broke off: run the same command again to go on") from error
    shutil.move(partial, target)
