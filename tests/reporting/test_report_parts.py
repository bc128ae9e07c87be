"""The parts of the report: pictures, sound, choice of clips, map and curves."""

from __future__ import annotations

import io
import struct
import zlib
from base64 import b64decode
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tonotopy.reporting._audio import LEFT_OUT, encode_vorbis, gather_excerpts
from tonotopy.reporting._charts import curve_figures, distance_figure, plain, shown_classes
from tonotopy.reporting._map import flat_map, stratified_subset
from tonotopy.reporting._picks import choose_queries, nearest, shared_levels, worst_mistakes
from tonotopy.reporting._run import Clip
from tonotopy.reporting._sections import closest_classes, percent, ratio, top_confusions
from tonotopy.reporting._spectrogram import HEIGHT, WIDTH, png, spectrogram_png


def _tone(frequency: float, seconds: float = 1.0) -> NDArray[np.float32]:
    time = np.arange(round(16_000 * seconds)) / 16_000
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def _read_png(content: bytes) -> tuple[NDArray[np.uint8], dict[bytes, bytes]]:
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        (checksum,) = struct.unpack(">I", content[at + 8 + length : at + 12 + length])
        assert checksum == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    columns, rows, depth, colour_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour_type) == (8, 3)
    raw = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(rows, columns + 1)
    assert not raw[:, 0].any()
    return raw[:, 1:], chunks


def _clip(label: tuple[str, ...], predicted: str | None, confidence: float = 0.5) -> Clip:
    return Clip(Path("a.wav"), 0.0, "a.wav", label, "test", predicted, confidence)


def test_png_keeps_every_shade() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(8, 32)
    read, chunks = _read_png(png(pixels))
    np.testing.assert_array_equal(read, pixels)

    palette = np.frombuffer(chunks[b"PLTE"], np.uint8).reshape(256, 3).astype(float)
    lightness = palette @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(lightness) >= -0.5).all()
    assert lightness[-1] - lightness[0] > 200


def test_spectrogram_puts_high_tones_above_low_ones() -> None:
    def brightest_row(frequency: float) -> int:
        uri = spectrogram_png(_tone(frequency), 16_000)
        pixels, _ = _read_png(b64decode(uri.removeprefix("data:image/png;base64,")))
        assert pixels.shape == (HEIGHT, WIDTH)
        return int(pixels.mean(axis=1).argmax())

    rows = [brightest_row(frequency) for frequency in (200, 800, 3000, 7000)]
    assert rows == sorted(rows, reverse=True)
    assert len(set(rows)) == 4


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 5000])
def test_spectrogram_of_short_or_silent_sound_is_a_picture(samples: int) -> None:
    uri = spectrogram_png(np.zeros(samples, np.float32), 16_000)
    pixels, _ = _read_png(b64decode(uri.removeprefix("data:image/png;base64,")))
    assert pixels.shape == (HEIGHT, WIDTH)


def test_vorbis_round_trip_keeps_the_tone() -> None:
    wave, rate = soundfile.read(io.BytesIO(encode_vorbis(_tone(440) * 4)))
    assert rate == 16_000
    assert len(wave) == 16_000
    assert np.abs(np.fft.rfft(wave)).argmax() == pytest.approx(440, abs=1)


def test_excerpts_are_short_and_gaps_have_reasons(
    tmp_path: Path, write_tone: Callable[..., Path]
) -> None:
    paths = [write_tone(tmp_path / f"{index}.wav", seconds=6, channels=2) for index in range(3)]
    (tmp_path / "noise.wav").write_bytes(b"RIFF nothing")
    paths += [tmp_path / "noise.wav", tmp_path / "gone.wav"]
    clips = [(path, 0.0) for path in paths]

    all_of_them = gather_excerpts(clips, listed=[3, 1], others=[0, 1, 2, 4], max_bytes=10**7)
    assert list(all_of_them.audio) == [1, 0, 2]
    assert list(all_of_them.spectrograms) == [1]
    assert set(all_of_them.problems) == {3, 4}
    assert all_of_them.problems[4] == "file not found"
    assert soundfile.info(io.BytesIO(b64decode(all_of_them.audio[0]))).duration == 5

    tight = len(all_of_them.audio[1]) + 10
    limited = gather_excerpts(clips, listed=[1], others=[0, 2], max_bytes=tight)
    assert list(limited.audio) == [1]
    assert limited.problems == {0: LEFT_OUT, 2: LEFT_OUT}


def test_stratified_subset_keeps_shares_and_small_groups() -> None:
    groups = ["a"] * 600 + ["b"] * 300 + ["c"] * 3 + ["d"]
    chosen = stratified_subset(groups, 100, seed=1)

    counts = Counter(groups[index] for index in chosen)
    assert len(set(chosen.tolist())) == 100
    assert counts["d"] == 1
    assert counts["c"] >= 1
    assert counts["a"] == pytest.approx(2 * counts["b"], abs=3)
    np.testing.assert_array_equal(chosen, stratified_subset(groups, 100, seed=1))
    assert sorted(stratified_subset(groups, 5000, seed=1)) == list(range(len(groups)))


def test_flat_map_is_seeded_and_keeps_clusters_apart() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(np.eye(8)[:3], 20, axis=0) + 0.05 * rng.normal(size=(60, 8))
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    positions = flat_map(units, seed=0)
    again = flat_map(units, seed=0)

    assert positions is not None
    assert again is not None
    np.testing.assert_array_equal(positions, again)
    gaps = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_array_equal(gaps.argmin(axis=1) // 20, np.arange(60) // 20)


@pytest.mark.parametrize("units", [np.eye(3), np.ones((9, 1)), np.tile(np.eye(4)[0], (9, 1))])
def test_no_map_where_it_would_say_nothing(units: NDArray[np.float64]) -> None:
    assert flat_map(units.astype(np.float32), seed=0) is None


def test_a_map_of_four_clips_exists() -> None:
    positions = flat_map(np.eye(4, dtype=np.float32), seed=0)
    assert positions is not None
    assert np.isfinite(positions).all()


def test_queries_spread_over_classes_and_mix_right_with_wrong() -> None:
    clips = [
        _clip((f"c{index % 4}",), f"c{index % 4}" if index % 3 else "other") for index in range(60)
    ]
    chosen = choose_queries(clips, np.arange(60), count=8, seed=0)

    assert len(set(chosen)) == 8
    assert set(Counter(clips[index].label_name for index in chosen).values()) == {2}
    assert sum(clips[index].right is False for index in chosen) == 4
    assert choose_queries(clips, np.arange(60), count=8, seed=0) == chosen
    assert choose_queries(clips, np.arange(0), count=8, seed=0) == []


def test_nearest_agrees_with_a_plain_loop() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(20, 5)).astype(np.float32)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    found = nearest(units, 4, count=5)

    expected = sorted((i for i in range(20) if i != 4), key=lambda i: -float(units[i] @ units[4]))
    assert [neighbour.clip for neighbour in found] == expected[:5]
    assert found[0].cosine == pytest.approx(float(units[expected[0]] @ units[4]))
    assert len(nearest(units[:2], 0, count=5)) == 1
    assert nearest(units[:1], 0, count=5) == []


def test_worst_mistakes_are_the_surest_wrong_ones() -> None:
    clips = [
        _clip(("a",), "b", 0.6),
        _clip(("a",), "a", 0.99),
        _clip(("a",), "b", 0.9),
        _clip((), "b", 1.0),
        _clip(("a",), None, 0.0),
    ]
    assert worst_mistakes(clips, np.arange(5), count=5) == ([2, 0], 2)
    assert worst_mistakes(clips, np.arange(5), count=1) == ([2], 2)


@pytest.mark.parametrize(
    ("label", "predicted", "right"),
    [
        (("Wind", "Oboe"), "Wind/Oboe", True),
        (("Wind",), "Wind/Oboe", True),
        (("Wind",), "Windows/Open", False),
        (("Wind", "Oboe"), "Wind/Flute", False),
        ((), "Wind/Flute", None),
        (("Wind",), None, None),
    ],
)
def test_a_partial_label_is_right_at_or_above_the_prediction(
    label: tuple[str, ...], predicted: str | None, right: bool | None
) -> None:
    assert _clip(label, predicted).right is right


@pytest.mark.parametrize(
    ("a", "b", "shared"),
    [((), ("x",), 0), (("x",), ("x",), 1), (("x", "y"), ("x", "z"), 1), (("x", "y"), ("x",), 1)],
)
def test_shared_levels(a: tuple[str, ...], b: tuple[str, ...], shared: int) -> None:
    assert shared_levels(a, b) == shared


def test_curves_are_grouped_and_unmeasured_columns_left_out() -> None:
    history: dict[str, list[float | None]] = {
        "epoch": [0, 1],
        "step": [5, 10],
        "train/loss": [2.0, 1.0],
        "train/add/inter_pairs": [3000.0, 3000.0],
        "val/loss": [2.0, None],
        "val/accuracy": [None, 0.5],
        "val/knn_accuracy": [None, None],
        "monitor/effective_rank": [3.0, 4.0],
        "seconds": [1.0, 1.0],
    }
    figures = curve_figures(history, best_epoch=1)

    assert [figure["title"] for figure in figures] == [
        "Loss and its terms",
        "Validation scores",
        "Effective rank",
    ]
    assert [trace["name"] for trace in figures[0]["data"]] == ["train/loss", "val/loss"]
    assert [trace["name"] for trace in figures[1]["data"]] == ["val/accuracy"]
    assert figures[0]["layout"]["shapes"][0]["x0"] == 1
    assert curve_figures({}, None) == []


def test_one_odd_cell_does_not_set_the_colours() -> None:
    values: list[list[float | None]] = [[0.1] * 20 for _ in range(20)]
    values[0][1] = 1e6
    values[1][0] = None
    classes = [str(index) for index in range(20)]
    trace = distance_figure(values, classes, range(20), name="CV", top=None)["data"][0]
    assert trace["zmax"] == pytest.approx(0.1)
    assert trace["z"][1][0] is None


def test_tables_list_the_largest_confusions_and_the_smallest_distances() -> None:
    confusion: list[list[float | None]] = [[9, 2, 0], [5, 9, 0], [0, 1, 9]]
    rows = [(pair.first, pair.second, pair.value) for pair in top_confusions(confusion, "abc")]
    assert rows == [("b", "a", "5"), ("a", "b", "2"), ("c", "b", "1")]

    mean: list[list[float | None]] = [[0.1, 0.9, None], [0.9, 0.1, 0.4], [None, 0.4, 0.1]]
    rows = [(pair.first, pair.second, pair.value) for pair in closest_classes(mean, "abc")]
    assert rows == [("b", "c", "0.400"), ("a", "b", "0.900")]


def test_the_classes_with_most_clips_are_drawn_in_their_order() -> None:
    sizes = [index % 5 for index in range(400)]
    shown = shown_classes([str(index) for index in range(400)], sizes)
    assert len(shown) == 300
    assert shown == sorted(shown)
    assert min(sizes[index] for index in shown) == 1


def test_unknown_numbers_read_as_a_dash() -> None:
    assert percent(None) == ratio(None) == ratio(float("nan")) == "\u2013"
    assert percent(1.0) == "100.0\u00a0%"


def test_plotly_gets_no_markup() -> None:
    assert plain("a\n <b> & c") == "a &lt;b&gt; &amp; c"
