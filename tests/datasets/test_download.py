"""Archives are fetched from a server of our own: resumed, checked, unpacked whole."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tonotopy._errors import DataError
from tonotopy.datasets import Archive, PublicDataset
from tonotopy.datasets._unpacking import unpack
from tonotopy.datasets.download import download, fetch

BODY = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `files`; remembers the ranges asked for; may ignore them or break off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.ranges: list[str | None] = []
        self.honours_ranges = True
        self.breaks_after: int | None = None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        body = self.server.files.get(self.path.lstrip("/"))
        if body is None:
            self.send_error(404, "Not Found")
            return
        start = 0
        if asked and self.server.honours_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        sent = body[start:]
        if self.server.breaks_after is not None:
            sent = sent[: self.server.breaks_after]
            self.server.breaks_after = None
        self.wfile.write(sent)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            archive.addfile(member)
    return buffer.getvalue()


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.files["file"] = BODY
    server.breaks_after = 1000
    with pytest.raises(DataError, match=f"broke off after 1000 of {len(BODY)} bytes: run the same"):
        download(server.url("file"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY[:1000]

    download(server.url("file"), tmp_path / "file")

    assert server.ranges == [None, "bytes=1000-"]
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.files["file"] = BODY
    server.honours_ranges = False
    (tmp_path / "file").write_bytes(b"x" * 1000)
    download(server.url("file"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


@pytest.mark.parametrize("have", [BODY, BODY + b"more", b"x" * 99999])
def test_nothing_left_to_send(have: bytes, server: Server, tmp_path: Path) -> None:
    server.files["file"] = BODY
    (tmp_path / "file").write_bytes(have)
    download(server.url("file"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == BODY


def test_a_missing_page_is_reported(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="answered 404 Not Found"):
        download(server.url("nothing"), tmp_path / "file")
    assert not (tmp_path / "file").exists()


def test_an_unreachable_server_is_reported(server: Server, tmp_path: Path) -> None:
    url = server.url("file")
    server.shutdown()
    server.server_close()
    with pytest.raises(DataError, match="cannot reach http"):
        download(url, tmp_path / "file")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "bare tar.gz"])
def test_a_data_set_is_fetched_once(kind: str, server: Server, tmp_path: Path) -> None:
    prefix = "" if kind.startswith("bare") else "Data-1.0/"
    files = {f"{prefix}table.csv": b"a,b\n1,2\n", f"{prefix}audio/1.wav": BODY}
    if kind == "zip":
        body = zip_of(files)
    else:
        body = tar_of(files)
        body = lzma.compress(body) if kind == "tar.xz" else body
        body = gzip.compress(body) if kind.endswith("tar.gz") else body
    server.files["data"] = body
    archive = Archive(
        server.url("data"),
        "Data-1.0",
        md5=hashlib.md5(body, usedforsecurity=False).hexdigest(),
        sha256=hashlib.sha256(body).hexdigest(),
        bare=kind.startswith("bare"),
    )
    dataset = PublicDataset("d", "", "", "", "", "", "", (), lambda _: None, (archive,))  # type: ignore[arg-type, return-value]

    assert dataset.get(tmp_path) == tmp_path / "Data-1.0"
    assert dataset.get(tmp_path) == tmp_path / "Data-1.0"

    assert len(server.ranges) == 1
    assert everything_in(tmp_path) == {
        "Data-1.0/table.csv": b"a,b\n1,2\n",
        "Data-1.0/audio/1.wav": BODY,
    }


def parts_of_a_data_set(server: Server) -> list[Archive]:
    """A zip with the folder, a bare tar, and a plain table: one folder in three files."""
    server.files["audio.1.zip"] = zip_of({"data/audio/1.wav": BODY, "data/README": b"1"})
    server.files["audio.2.tar"] = tar_of({"audio/2.wav": BODY[::-1]})
    server.files["table.csv"] = b"a,b\n1,2\n"
    return [
        Archive(server.url("audio.1.zip"), "data"),
        Archive(server.url("audio.2.tar"), "data", bare=True),
        Archive(
            server.url("table.csv"),
            "data",
            sha256=hashlib.sha256(server.files["table.csv"]).hexdigest(),
            keep_as="meta.csv",
        ),
    ]


PARTS = {
    "data/README": b"1",
    "data/audio/1.wav": BODY,
    "data/audio/2.wav": BODY[::-1],
    "data/meta.csv": b"a,b\n1,2\n",
}


def test_several_archives_make_one_folder(server: Server, tmp_path: Path) -> None:
    archives = parts_of_a_data_set(server)
    assert fetch(archives, tmp_path) == tmp_path / "data"
    assert everything_in(tmp_path) == PARTS
    fetch(archives, tmp_path)
    assert len(server.ranges) == len(archives)


def test_the_folder_appears_with_the_last_archive(server: Server, tmp_path: Path) -> None:
    archives = parts_of_a_data_set(server)
    table = server.files.pop("table.csv")
    with pytest.raises(DataError, match=r"table\.csv answered 404"):
        fetch(archives, tmp_path)
    assert not (tmp_path / "data").exists()

    server.files["table.csv"] = table
    server.ranges.clear()
    fetch(archives, tmp_path)

    assert everything_in(tmp_path) == PARTS
    # What had come was not sent again: only what lies after its last byte was asked for.
    sizes = [len(server.files[name]) for name in ("audio.1.zip", "audio.2.tar")]
    assert server.ranges == [f"bytes={sizes[0]}-", f"bytes={sizes[1]}-", None]


def test_only_the_damaged_archive_is_fetched_again(server: Server, tmp_path: Path) -> None:
    archives = parts_of_a_data_set(server)
    right = server.files["audio.2.tar"]
    server.files["audio.2.tar"] = b"<html>quota exceeded</html>"
    with pytest.raises(DataError, match=r"audio\.2\.tar: this is neither.*it has been removed"):
        fetch(archives, tmp_path)

    server.files["audio.2.tar"] = right
    server.ranges.clear()
    fetch(archives, tmp_path)

    assert everything_in(tmp_path) == PARTS
    assert server.ranges[1] is None
    assert None not in (server.ranges[0], server.ranges[2])


def test_a_plain_file_has_to_match_its_checksum(server: Server, tmp_path: Path) -> None:
    archives = parts_of_a_data_set(server)
    server.files["table.csv"] = b"a,b\n1,3\n"
    with pytest.raises(DataError, match=r"table\.csv came with the sha256 .* fetch it again"):
        fetch(archives, tmp_path)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_a_wrong_checksum_leaves_nothing(algorithm: str, server: Server, tmp_path: Path) -> None:
    server.files["data.zip"] = zip_of({"data/1.wav": BODY})
    right = hashlib.new(algorithm, server.files["data.zip"]).hexdigest()
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    archive = Archive(server.url("data.zip"), "data", **{algorithm: wrong})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=f"{algorithm} {right}, published is {wrong}.*fetch it"):
        fetch([archive], tmp_path)
    assert everything_in(tmp_path) == {}


def damaged_zip() -> bytes:
    """Flip a bit in the middle of a stored member: only its CRC-32 tells."""
    body = bytearray(zip_of({"data/1.wav": BODY}))
    body[len(BODY) // 2] ^= 1
    return bytes(body)


DAMAGED = {
    "zip with a flipped bit": damaged_zip(),
    "cut tar.gz": gzip.compress(tar_of({"data/1.wav": BODY}))[:-20],
    "tar.gz with a wrong checksum": gzip.compress(tar_of({"data/1.wav": BODY}))[:-8] + bytes(8),
    "gzip of no tar": gzip.compress(b"hello"),
    "a page that says sorry": b"<html>quota exceeded</html>",
}


@pytest.mark.parametrize("body", DAMAGED.values(), ids=DAMAGED.keys())
def test_damage_without_a_checksum_is_found(body: bytes, server: Server, tmp_path: Path) -> None:
    server.files["data"] = body
    archive = Archive(server.url("data"), "data")
    with pytest.raises(DataError, match=r"archive.*it has been removed, fetch it again"):
        fetch([archive], tmp_path)
    assert everything_in(tmp_path) == {}

    server.files["data"] = zip_of({"data/1.wav": BODY})
    assert everything_in(fetch([archive], tmp_path)) == {"1.wav": BODY}


def test_an_archive_of_another_content_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["data.zip"] = zip_of({"other/1.wav": BODY})
    with pytest.raises(DataError, match="expected to hold the folder data, it holds other"):
        fetch([Archive(server.url("data.zip"), "data")], tmp_path)
    assert not (tmp_path / "data").exists()


UNSAFE = {
    "zip with ..": zip_of({"data/ok.wav": b"", "../escaped": b"x"}),
    "zip with a root": zip_of({"/tmp/escaped": b"x"}),
    "tar with ..": tar_of({"../escaped": b"x"}),
    "tar with a root and ..": tar_of({"/../../escaped": b"x"}),
    "tar with a link out": tar_of({"data/ok.wav": b""}, {"data/link": "../../escaped"}),
    "tar with an absolute link": tar_of({"data/ok.wav": b""}, {"data/link": "/etc/passwd"}),
}


@pytest.mark.parametrize("body", UNSAFE.values(), ids=UNSAFE.keys())
def test_nothing_is_written_outside(body: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(body)
    with pytest.raises(DataError, match="unsafe"):
        unpack(archive, tmp_path / "inner" / "folder")
    assert not list(tmp_path.rglob("escaped"))
    assert not list(tmp_path.rglob("link"))


def test_a_full_disk_keeps_what_has_come(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["data.zip"] = zip_of({"data/1.wav": BODY})

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tonotopy.datasets.download.unpack", refuse)
    archive = Archive(server.url("data.zip"), "data")
    with pytest.raises(DataError, match=r"No space left on device.*run the same command again"):
        fetch([archive], tmp_path)
    monkeypatch.undo()

    assert everything_in(fetch([archive], tmp_path)) == {"1.wav": BODY}
    first, second = server.ranges
    assert first is None
    assert re.fullmatch(rf"bytes={len(server.files['data.zip'])}-", second or "")
