"""The cache: decoded once, never half written, shared by processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tonotopy._errors import AudioError, DataError
from tonotopy.audio import AudioCache, cache, content_hash, decode


def entries(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, sample_rate: int) -> None:
        raise AssertionError("it was decoded again")

    monkeypatch.setattr(cache, "decode", refuse)


@pytest.fixture
def tone(tmp_path: Path, write_tone: Callable[..., Path]) -> Path:
    return write_tone(tmp_path / "tone.wav", seconds=0.3, sample_rate=22050, channels=2)


def test_a_file_is_decoded_once(
    tmp_path: Path, tone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = AudioCache(tmp_path / "cache")
    first = audio.load(tone)
    forbid_decoding(monkeypatch)
    again = audio.load(tone)
    np.testing.assert_array_equal(first, decode(tone))
    np.testing.assert_array_equal(first, again)
    assert again.dtype == np.float32
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable


def test_numpy_reads_an_entry(tmp_path: Path, tone: Path) -> None:
    wave = AudioCache(tmp_path / "cache").load(tone)
    (entry,) = entries(tmp_path / "cache")
    assert entry.suffix == ".npy"
    assert entry.parent.name == entry.name[:2]
    np.testing.assert_array_equal(np.load(entry, allow_pickle=False), wave)


def test_the_key_is_content_and_rate(
    tmp_path: Path, tone: Path, write_tone: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    slow = AudioCache(folder, 8000).load(tone)
    fast = AudioCache(folder, 16000).load(tone)
    assert len(fast) == pytest.approx(2 * len(slow), abs=2)
    content = content_hash(tone)
    moved = tone.rename(tmp_path / "moved.wav")
    with monkeypatch.context() as patch:
        forbid_decoding(patch)
        assert len(AudioCache(folder).load(moved)) == len(fast)
        assert len(AudioCache(folder).load(tmp_path / "gone.wav", content)) == len(fast)

    write_tone(moved, seconds=0.2)
    assert len(AudioCache(folder).load(moved)) == 3200
    assert len(entries(folder)) == 3


def test_a_file_changed_since_the_scan_is_not_stored_as_the_old_one(
    tmp_path: Path, tone: Path, write_tone: Callable[..., Path]
) -> None:
    content = content_hash(tone)
    write_tone(tone, seconds=0.2)
    with pytest.raises(AudioError, match="scan again") as caught:
        AudioCache(tmp_path / "cache").load(tone, content)
    assert caught.value.reason == "changed"
    assert entries(tmp_path / "cache") == []


def damage(entry: Path, how: str) -> None:
    """Make an entry unusable."""
    content = entry.read_bytes()
    if how == "truncated":
        entry.write_bytes(content[:-100])
    elif how == "cut inside a sample":
        entry.write_bytes(content[:-2])
    elif how == "header only":
        entry.write_bytes(content[:128])
    elif how == "too long":
        entry.write_bytes(content + bytes(8))
    elif how == "empty":
        entry.write_bytes(b"")
    elif how == "zeros":
        entry.write_bytes(bytes(len(content)))
    elif how == "other type":
        np.save(entry, np.zeros(100))
    elif how == "other shape":
        np.save(entry, np.zeros((10, 10), np.float32))
    elif how == "pickle":
        np.save(entry, np.array([{}], object), allow_pickle=True)
    elif how == "archive":
        np.savez(entry.with_suffix(".npz"), a=np.zeros(3))
        entry.with_suffix(".npz").replace(entry)


@pytest.mark.parametrize(
    "how",
    [
        "truncated",
        "cut inside a sample",
        "header only",
        "too long",
        "empty",
        "zeros",
        "other type",
        "other shape",
        "pickle",
        "archive",
    ],
)
def test_a_damaged_entry_is_made_again(tmp_path: Path, tone: Path, how: str) -> None:
    audio = AudioCache(tmp_path / "cache")
    audio.load(tone)
    (entry,) = entries(audio.folder)
    whole = entry.read_bytes()
    damage(entry, how)
    assert entry.read_bytes() != whole
    np.testing.assert_array_equal(audio.load(tone), decode(tone))
    assert entry.read_bytes() == whole


def test_a_bad_file_leaves_no_entry(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="corrupt"):
        AudioCache(tmp_path / "cache").load(tmp_path / "bad.wav")
    assert entries(tmp_path / "cache") == []


def test_an_unusable_folder_is_an_error_of_data(tmp_path: Path, tone: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cache"):
        AudioCache(tmp_path / "cache").load(tone)


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path, tone: Path) -> None:
    # In a process of its own, since the limit on a file's size cannot be raised again.
    code = (
        "import resource, signal, sys\n"
        "from tonotopy._errors import DataError\n"
        "from tonotopy.audio import AudioCache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: AudioCache(sys.argv[1]).load(sys.argv[2])\n"
        "except DataError as error: print(error)\n"
    )
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", code, str(folder), str(tone)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "cannot write" in done.stdout
    assert entries(folder) == []


def test_processes_share_a_folder(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    paths = [write_tone(tmp_path / f"{i}.wav", 0.1, frequency=100.0 + i) for i in range(20)]
    code = (
        "import sys\n"
        "from tonotopy.audio import AudioCache\n"
        "cache = AudioCache(sys.argv[1])\n"
        "input()\n"  # all start at once
        "print(repr([float(abs(cache.load(path)).sum()) for path in sys.argv[2:]]))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), *map(str, paths)]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    found = {worker.communicate(timeout=120)[0].strip() for worker in workers}
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert found == {repr([float(abs(decode(path)).sum()) for path in paths])}
    assert len(entries(tmp_path / "cache")) == len(paths)


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path, tone: Path) -> None:
    code = (
        "import os, sys, time\n"
        "import tonotopy._files as files\n"
        "from tonotopy.audio import AudioCache\n"
        "def wait(path):\n"
        "    print('written', flush=True)\n"
        "    time.sleep(60)\n"
        "files._flush_to_disk = wait\n"
        "AudioCache(sys.argv[1]).load(sys.argv[2])\n"
    )
    folder = tmp_path / "cache"
    command = [sys.executable, "-c", code, str(folder), str(tone)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        os.kill(writer.pid, signal.SIGKILL)
    (left,) = entries(folder)
    assert left.name.startswith(".")

    np.testing.assert_array_equal(AudioCache(folder).load(tone), decode(tone))
    assert len([p for p in entries(folder) if not p.name.startswith(".")]) == 1
