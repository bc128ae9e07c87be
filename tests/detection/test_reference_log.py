"""Registering references and undoing it, whatever interrupts it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
import torch

from tonotopy import AudioEmbedder
from tonotopy._errors import DataError, UsageError
from tonotopy.audio import LogMel
from tonotopy.detection import (
    GaussianMixtureScorer,
    KMeansScorer,
    NearestNeighbourScorer,
    ReferenceLog,
    References,
    RowLog,
    Scorer,
)
from tonotopy.encoders import ConvNet
from tonotopy.geometry import LinearHead

D = 4
Row = tuple[str, float | None, str]


def make_embedder(seed: int = 0) -> AudioEmbedder:
    torch.manual_seed(seed)
    return AudioEmbedder(LogMel(n_mels=32), ConvNet(num_bins=32, embedding_dim=D, width=2)).eval()


EMBEDDER = make_embedder()


def clips(rows: Sequence[Row], embedder: AudioEmbedder = EMBEDDER) -> References:
    """One clip for each content, start and machine; its embedding follows from them."""
    vectors = []
    for row in rows:
        seed = int.from_bytes(repr(row).encode()[:8]) % 2**31
        vectors.append(torch.randn(D, generator=torch.Generator().manual_seed(seed)))
    frame = pl.DataFrame(
        {
            "path": [f"/data/{content}.wav" for content, _, _ in rows],
            "start": pl.Series([start for _, start, _ in rows], dtype=pl.Float64),
            "content": [content for content, _, _ in rows],
            "machine": [machine for _, _, machine in rows],
            "domain": ["target" if "t" in content else "source" for content, _, _ in rows],
            "attributes": pl.Series([None] * len(rows), dtype=pl.String),
            "embedding": pl.Series(torch.stack(vectors).numpy(), dtype=pl.Array(pl.Float32, D)),
        }
    )
    return References.from_frame(frame, embedder)


FIRST: list[Row] = [*((f"c{n}", None, "fan/id_00") for n in range(8)), ("t0", None, "pump")]
NEW: list[Row] = [
    ("t1", None, "fan/id_00"),
    ("c3", None, "fan/id_00"),  # there already
    ("t1", None, "fan/id_00"),  # twice
    ("t2", None, "fan/id_00"),
    ("t1", None, "pump"),  # other machine
    ("c3", 0.0, "fan/id_00"),  # a window of a known file
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "references.parquet"
    clips(FIRST).write(target)
    return target


def test_registered_clips_come_after_the_others_and_repeated_ones_are_counted(path: Path) -> None:
    log = ReferenceLog(path)
    assert log.changes == []
    found = log.register(clips(NEW), note="new filter\nsince Monday")

    assert found.frame["content"].to_list()[9:] == ["t1", "t2", "t1", "c3"]
    assert found.frame["batch"].to_list() == [0] * 9 + [1] * 4
    assert found.frame["added"].to_list()[:9] == [None] * 9
    (change,) = log.changes
    assert datetime.fromisoformat(change.time).utcoffset() is not None
    assert found.frame["added"].to_list()[9:] == [change.time] * 4
    assert (change.action, change.batch, change.model) == ("register", 1, EMBEDDER.fingerprint)
    assert change.machines == {"fan/id_00": 3, "pump": 1}
    assert change.skipped == {"fan/id_00": 2}
    assert change.contents == ["t1", "t2", "t1", "c3"]
    assert change.note == "new filter\nsince Monday"

    assert found.frame.head(9).equals(clips(FIRST).frame)
    assert References.read(path).frame.equals(found.frame)
    assert ReferenceLog(path).references.frame.equals(found.frame)
    assert len(path.with_suffix(".jsonl").read_text().splitlines()) == 1


SCORERS: list[Callable[[], Scorer]] = [
    lambda: NearestNeighbourScorer(density="ratio"),
    lambda: KMeansScorer(clusters=2),
    lambda: GaussianMixtureScorer(components=2),
]


@pytest.mark.parametrize("make", SCORERS)
def test_undoing_gives_the_scores_of_before_bit_by_bit(
    path: Path, make: Callable[[], Scorer]
) -> None:
    def scores(references: References) -> torch.Tensor:
        own = references.of_machine("fan/id_00")
        scorer = make().fit(own.embeddings, own.domains)
        asked = torch.randn(20, D, generator=torch.Generator().manual_seed(1))
        return torch.cat([scorer.score(asked), scorer.leave_one_out()])

    log = ReferenceLog(path)
    before = log.references
    changed = log.register(clips(NEW))
    assert len(scores(changed)) != len(scores(before))
    undone = log.undo("it was the wrong fan")
    assert undone.frame.equals(before.frame)
    assert torch.equal(scores(References.read(path)), scores(before))
    assert [change.action for change in log.changes] == ["register", "undo"]
    assert log.changes[1].machines == log.changes[0].machines
    assert log.changes[1].contents == log.changes[0].contents
    assert log.changes[1].skipped == {}
    assert log.changes[1].note == "it was the wrong fan"


def test_undoing_goes_back_batch_by_batch_and_numbers_are_not_used_again(path: Path) -> None:
    log = ReferenceLog(path)
    one = log.register(clips([("n1", None, "pump")]))
    log.register(clips([("n2", None, "pump")]))
    assert log.undo().frame.equals(one.frame)
    third = log.register(clips([("n3", None, "pump")]))
    assert third.frame["batch"].to_list()[9:] == [1, 3]
    assert log.undo().frame.equals(one.frame)
    assert log.undo().frame.equals(clips(FIRST).frame)
    with pytest.raises(UsageError, match="nothing to undo"):
        log.undo()
    assert [(change.action, change.batch) for change in log.changes] == [
        ("register", 1),
        ("register", 2),
        ("undo", 2),
        ("register", 3),
        ("undo", 3),
        ("undo", 1),
    ]
    assert len({change.id for change in log.changes}) == 6


def test_a_clip_may_return_after_it_was_undone(path: Path) -> None:
    log = ReferenceLog(path)
    log.register(clips(NEW))
    log.undo()
    assert len(log.register(clips(NEW))) == 13


def test_what_changes_nothing_is_refused_and_leaves_no_trace(path: Path) -> None:
    log = ReferenceLog(path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="all of the 2 clips are references already"):
        log.register(clips(FIRST[:2]))
    with pytest.raises(UsageError, match="nothing to register"):
        log.register(References(clips(NEW).frame.head(0), EMBEDDER.fingerprint))
    with pytest.raises(UsageError, match="nothing to undo"):
        log.undo()
    assert path.read_bytes() == before
    assert log.changes == []
    assert not path.with_suffix(".jsonl").exists()


def test_clips_of_another_model_are_refused_by_both_names(path: Path) -> None:
    other = make_embedder(seed=1)
    with pytest.raises(DataError) as caught:
        ReferenceLog(path).register(clips(NEW, other))
    assert EMBEDDER.fingerprint[:8] in str(caught.value)
    assert other.fingerprint[:8] in str(caught.value)


@pytest.mark.parametrize("column", ["content", "machine"])
def test_clips_that_cannot_be_told_apart_are_refused(path: Path, column: str) -> None:
    new = clips(NEW)
    frame = new.frame.with_columns(pl.lit(None, dtype=pl.String).alias(column))
    with pytest.raises(UsageError, match="content hash and a machine"):
        ReferenceLog(path).register(References(frame, new.model))


class Interrupted(BaseException):
    """As an interrupted or killed program would see it."""


def test_an_interruption_before_the_references_are_replaced_changes_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise Interrupted

    log, before = ReferenceLog(path), path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupt)
        with pytest.raises(Interrupted):
            log.register(clips(NEW))
    assert path.read_bytes() == before
    again = ReferenceLog(path)
    assert again.changes == []
    assert len(again.register(clips(NEW))) == 13
    assert again.changes[0].batch == 1


@pytest.mark.parametrize("action", ["register", "undo"])
@pytest.mark.parametrize("written", ["nothing", "half of it", "all but its end"])
def test_a_line_that_an_interruption_kept_from_the_log_is_added(
    path: Path, monkeypatch: pytest.MonkeyPatch, action: str, written: str
) -> None:
    log, lines = ReferenceLog(path), path.with_suffix(".jsonl")
    if action == "undo":
        log.register(clips(NEW))

    def interrupt(_: RowLog, row: dict[str, object]) -> None:
        line = json.dumps(row)
        kept = {"nothing": "", "half of it": line[: len(line) // 2], "all but its end": line}
        with lines.open("a") as file:
            file.write(kept[written])
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(RowLog, "write", interrupt)
        with pytest.raises(Interrupted):
            log.register(clips(NEW), "why") if action == "register" else log.undo("why")

    # The references have changed, and another program may write them before the log is opened.
    References.read(path).write(path)
    again = ReferenceLog(path)
    assert again.changes[-1].action == action
    assert again.changes[-1].note == "why"
    assert len(again.changes) == (1 if action == "register" else 2)
    assert len(again.references) == (13 if action == "register" else 9)
    assert [change.id for change in ReferenceLog(path).changes] == [
        change.id for change in again.changes
    ]
    if action == "register":
        assert again.undo().frame.equals(clips(FIRST).frame)


def test_a_log_that_cannot_be_written_is_caught_up_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ReferenceLog(path)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(RowLog, "write", full)
        with pytest.raises(DataError, match="is added when the log can be written"):
            log.register(clips(NEW))
    log.register(clips([("n1", None, "pump")]))
    assert [change.batch for change in log.changes] == [1, 2]


def test_a_damaged_line_is_named(path: Path) -> None:
    log = ReferenceLog(path)
    log.register(clips(NEW))
    lines = path.with_suffix(".jsonl")
    lines.write_text(lines.read_text() + "{damaged}\n")
    with pytest.raises(DataError, match=r"references\.jsonl, line 2, is damaged"):
        _ = log.changes


def test_references_of_another_model_are_refused_by_both_names(path: Path) -> None:
    other = make_embedder(seed=1)
    References.read(path).check_model(EMBEDDER)
    with pytest.raises(DataError) as caught:
        References.read(path).check_model(other)
    message = str(caught.value)
    assert EMBEDDER.fingerprint[:8] in message
    assert other.fingerprint[:8] in message
    assert "--rebuild" in message


def test_files_that_are_no_references_are_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "other.parquet")
    for name in ("missing", "damaged", "other"):
        with pytest.raises(DataError, match=name):
            ReferenceLog(tmp_path / f"{name}.parquet")


def test_columns_are_those_of_the_schema(path: Path) -> None:
    frame = clips(FIRST).frame.with_columns(pl.lit("x").alias("condition"))
    found = References.from_frame(frame, EMBEDDER)
    assert found.frame.columns == [
        "path",
        "start",
        "content",
        "machine",
        "domain",
        "attributes",
        "added",
        "batch",
        "embedding",
    ]
    assert found.frame.schema["added"] == pl.String
    assert found.frame.schema["embedding"] == pl.Array(pl.Float32, D)
    with pytest.raises(UsageError, match="content"):
        References(frame.drop("content"), "model")


def test_fingerprints_tell_models_apart_that_embed_differently() -> None:
    assert make_embedder().fingerprint == EMBEDDER.fingerprint
    changed = {EMBEDDER.fingerprint, make_embedder(seed=1).fingerprint}
    shorter = make_embedder()
    shorter.window_seconds = 2.0
    changed.add(shorter.fingerprint)
    changed.add(make_embedder().bfloat16().fingerprint)  # a type that numpy lacks
    assert len(changed) == 4
    with_head = make_embedder()
    with_head.head = LinearHead(D, 3)
    assert with_head.fingerprint == EMBEDDER.fingerprint
