"""The synthetic corpus: the same for a seed, labelled, loud enough, neither trivial nor noise."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tonotopy._errors import UsageError
from tonotopy.clips import ClipTable, scan
from tonotopy.datasets import make_corpus
from tonotopy.datasets._instruments import corpus_leaves
from tonotopy.datasets.synthetic import perform

CLIPS_PER_LEAF = 8
LEAVES = corpus_leaves()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"), clips_per_leaf=CLIPS_PER_LEAF)


@pytest.fixture(scope="module")
def table(corpus: Path) -> ClipTable:
    return scan(corpus)


@pytest.fixture(scope="module")
def samples(table: ClipTable) -> NDArray[np.int16]:
    return np.stack([soundfile.read(path, dtype="int16")[0] for path in table.paths])


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.wav"))
    }


def test_several_hundred_clips_of_families_instruments_and_ways(table: ClipTable) -> None:
    tree = table.tree
    assert len(LEAVES) == 44  # 528 clips by default
    assert tree.num_levels == 3
    assert len({label[:1] for label in LEAVES}) == 5
    assert len({label[:2] for label in LEAVES}) == 15
    assert Counter(table.labels) == dict.fromkeys(LEAVES, CLIPS_PER_LEAF)
    assert table.quarantine.is_empty()


def test_clips_are_one_second_of_mono_at_16_khz(table: ClipTable) -> None:
    for column, value in (("seconds", 1.0), ("sample_rate", 16000), ("channels", 1)):
        assert set(table.frame[column]) == {value}
    assert soundfile.info(table.paths[0]).subtype == "PCM_16"


def test_no_two_clips_are_equal(table: ClipTable) -> None:
    assert table.frame["content"].n_unique() == len(table)


def test_clips_are_audible_and_do_not_clip(samples: NDArray[np.int16]) -> None:
    peaks = np.abs(samples.astype(np.int32)).max(axis=1)
    assert peaks.max() <= 32767 * 10 ** (-1 / 20) + 1
    assert peaks.min() >= 32767 * 10 ** (-18 / 20) - 1
    assert np.abs(samples.mean(axis=1)).max() < 0.05 * 32767
    assert samples.astype(np.float64).std(axis=1).min() > 50.0


def test_levels_and_onsets_vary(table: ClipTable, samples: NDArray[np.int16]) -> None:
    peaks = np.abs(samples.astype(np.int32)).max(axis=1)
    assert np.ptp(20 * np.log10(peaks)) > 12.0
    struck = [label[0].startswith("struck") for label in table.labels]
    onsets = (np.abs(samples[struck].astype(np.int32)) > peaks[struck, None] / 4).argmax(axis=1)
    assert onsets.std() > 0.01 * 16000


def test_the_same_seed_gives_the_same_files(corpus: Path, tmp_path: Path) -> None:
    again = make_corpus(tmp_path / "again", clips_per_leaf=2)
    other = make_corpus(tmp_path / "other", clips_per_leaf=2, seed=1)
    few = digests(again)
    assert len(few) == 2 * len(LEAVES)
    assert few.items() <= digests(corpus).items()  # more clips leave the others as they are
    assert not set(few.values()) & set(digests(other).values())


def test_an_interrupted_corpus_is_completed(corpus: Path, tmp_path: Path) -> None:
    folder = make_corpus(tmp_path / "corpus", clips_per_leaf=2)
    whole = digests(folder)
    files = sorted(folder.rglob("*.wav"))
    for file in files[::3]:
        file.unlink()
    files[1].write_bytes(b"kept")

    make_corpus(folder, clips_per_leaf=2)

    kept = files[1].relative_to(folder).as_posix()
    assert digests(folder) == {**whole, kept: hashlib.sha256(b"kept").hexdigest()}


@pytest.mark.parametrize("change", [{"seed": 1}, {"clips_per_leaf": 2}])
def test_two_corpora_are_not_mixed(change: dict[str, int], tmp_path: Path) -> None:
    make_corpus(tmp_path, clips_per_leaf=1)
    before = digests(tmp_path)
    with pytest.raises(UsageError, match="choose a new folder"):
        make_corpus(tmp_path, **{"clips_per_leaf": 1, **change})
    assert digests(tmp_path) == before


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds something else"):
        make_corpus(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_no_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        make_corpus(tmp_path / "corpus", clips_per_leaf=0)


def test_the_readme_says_that_the_sounds_are_synthetic(corpus: Path) -> None:
    text = (corpus / "README.txt").read_text()
    assert text.startswith("These sounds are synthetic.")
    assert all(family in text for family, _, _ in LEAVES)
    for source in ("Karplus", "Fletcher", "Raman", "Randall", "Smith"):
        assert source in text
    assert f"{CLIPS_PER_LEAF} clips of each way of playing, seed 0." in text


def test_a_performance_depends_on_its_generator_only() -> None:
    leaf = LEAVES["struck bars", "marimba", "hard mallet"]
    first, again, other = (perform(leaf, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("depth", "lowest", "highest"), [(1, 0.55, 0.97), (3, 0.30, 0.90)])
def test_classes_differ_but_not_trivially(
    depth: int, lowest: float, highest: float, table: ClipTable, samples: NDArray[np.int16]
) -> None:
    """Nearest by mean log spectrum: far above chance (0.2 and 0.02), far below perfect."""
    features = np.stack([mean_log_spectrum(wave) for wave in samples])
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    labels = [label[:depth] for label in table.labels]
    nearest = distances.argmin(axis=1)
    accuracy = np.mean([labels[near] == label for near, label in zip(nearest, labels, strict=True)])
    assert lowest < accuracy < highest


def mean_log_spectrum(wave: NDArray[np.int16]) -> NDArray[np.float64]:
    """Give 32 bands, mean over frames, of a wave with unit variance."""
    scaled = wave / wave.std()
    frames = np.lib.stride_tricks.sliding_window_view(scaled, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.geomspace(2, 257, 33).astype(int)
    bands = [
        power[:, low : max(high, low + 1)].mean(axis=1) for low, high in itertools.pairwise(edges)
    ]
    mean: NDArray[np.float64] = np.log(np.stack(bands, axis=1) + 1e-4).mean(axis=0)
    return mean
