"""Fetching a data set's archives: resumed, checked, and unpacked whole or not at all."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from tonotopy._errors import DataError
from tonotopy._progress import track
from tonotopy.datasets._unpacking import unpack

CHUNK = 1 << 20
"""Bytes read at once: 1 MiB, so that the bar counts MiB."""

TIMEOUT = 60.0
"""Seconds without a byte before a connection counts as broken."""


@dataclass(frozen=True)
class Archive:
    """A zip or tar file to fetch and unpack, or a plain file to fetch.

    Args:
        url: Where it is.
        folder: Name of the folder that holds the data set after unpacking; the same for all
            archives of a data set.
        md5: Checksum as its owners publish it; "" where they publish none. A damaged archive is
            then found out only by the checksums inside it (CRC-32 of zip and gzip).
        sha256: The same for SHA-256.
        bare: The archive does not hold `folder`: it is unpacked into it.
        into: A folder in `folder` that a bare archive is unpacked into instead.
        keep_as: This is no archive, but a file to lie in `folder` under this name.
    """

    url: str
    folder: str
    md5: str = ""
    sha256: str = ""
    bare: bool = False
    into: str = ""
    keep_as: str = ""


def fetch(archives: Sequence[Archive], root: Path) -> Path:
    """Download the archives of a data set and unpack them into its one folder below `root`.

    What an interrupted call left is used: the download goes on where it stopped. The folder
    appears when it is complete; if it exists, nothing is done.

    Args:
        archives: At least one, all with the same `folder`; a later one goes over an earlier one.
        root: Where the folder comes to lie.

    Returns:
        The folder, `root / folder`.

    Raises:
        DataError: The network or the disk failed, a checksum differs, or an archive is damaged
            or unsafe.
    """
    folder = root / archives[0].folder
    parts = [(archive, root / f".{folder.name}.{_file_name(archive)}") for archive in archives]
    url = archives[0].url
    try:
        if not folder.is_dir():
            root.mkdir(parents=True, exist_ok=True)
            for archive, begun in parts:
                url = archive.url
                download(url, begun)
                _verify_or_remove(begun, archive)
            _unpack_whole(parts, folder)
        for _, begun in parts:
            begun.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"fetching {url} to {root} failed: {error}; run the same command again to go on"
        ) from error
    return folder


def download(url: str, target: Path) -> None:
    """Fetch `url` to `target`; what is there already is taken as its beginning.

    Raises:
        DataError: The server refuses, cannot be reached or breaks off; what has come is kept.
        OSError: The connection or the disk failed.
    """
    have = target.stat().st_size if target.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            total = _receive(response, have, target)
    except urllib.error.HTTPError as error:
        if error.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise DataError(f"{url} answered {error.code} {error.reason}") from error
        # Nothing lies after our last byte: all is here, unless another file lies at the address.
        if _total(error.headers.get("Content-Range")) != have:
            target.unlink()
            download(url, target)
        return
    except urllib.error.URLError as error:
        raise DataError(f"cannot reach {url}: {error.reason}") from error
    except HTTPException as error:
        raise DataError(f"{url} broke off: run the same command again to go on") from error
    have = target.stat().st_size
    if total is not None and have != total:  # http.client ends a broken response without a word
        raise DataError(
            f"{url} broke off after {have} of {total} bytes: run the same command again to go on"
        )


def verify(file: Path, archive: Archive) -> None:
    """Compare a file with its published checksums.

    Raises:
        DataError: It differs.
    """
    for algorithm, expected in (("md5", archive.md5), ("sha256", archive.sha256)):
        if not expected:
            continue
        with file.open("rb") as opened:
            digest = partial(hashlib.new, algorithm, usedforsecurity=False)
            found = hashlib.file_digest(opened, digest).hexdigest()
        if found != expected:
            raise DataError(
                f"{archive.url} came with the {algorithm} {found}, published is {expected}: the "
                "download was damaged or the file has changed"
            )


def _receive(response: HTTPResponse, have: int, target: Path) -> int | None:
    """Write a response to `target` and give the length that the whole file should have."""
    # A server that ignores the range sends everything again.
    resumed = response.status == HTTPStatus.PARTIAL_CONTENT
    length = response.headers.get("Content-Length")
    start = have if resumed else 0
    total = start + int(length) if length is not None else None
    with target.open("ab" if resumed else "wb") as file:
        label = f"Downloading {target.name.strip('.')} (MiB)"
        left = -(-int(length) // CHUNK) if length is not None else None
        for chunk in track(_chunks(response), label=label, total=left):
            file.write(chunk)
    return total


def _chunks(response: HTTPResponse) -> Iterator[bytes]:
    while chunk := response.read(CHUNK):
        yield chunk


def _total(content_range: str | None) -> int | None:
    found = re.fullmatch(r"bytes .*/(\d+)", content_range or "")
    return int(found[1]) if found else None


def _file_name(archive: Archive) -> str:
    return PurePosixPath(urlsplit(archive.url).path).name


def _verify_or_remove(begun: Path, archive: Archive) -> None:
    try:
        verify(begun, archive)
    except DataError as error:
        begun.unlink()
        raise DataError(f"{error}; it has been removed, fetch it again") from error


def _unpack_whole(parts: Sequence[tuple[Archive, Path]], folder: Path) -> None:
    """Unpack beside `folder`, then rename: a folder that is there is complete."""
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        staging = Path(name)
        for archive, begun in parts:
            _unpack_part(begun, archive, staging)
        (staging / folder.name).rename(folder)


def _unpack_part(begun: Path, archive: Archive, staging: Path) -> None:
    folder = staging / archive.folder
    if archive.keep_as:
        folder.mkdir(exist_ok=True)
        shutil.copyfile(begun, folder / archive.keep_as)
        return
    try:
        unpack(begun, folder / archive.into if archive.bare else staging)
    except DataError as error:
        begun.unlink()
        raise DataError(f"{archive.url}: {error}; it has been removed, fetch it again") from error
    if not folder.is_dir():
        found = ", ".join(sorted(path.name for path in staging.iterdir())) or "nothing"
        raise DataError(
            f"{archive.url} was expected to hold the folder {archive.folder}, it holds {found}"
        )
