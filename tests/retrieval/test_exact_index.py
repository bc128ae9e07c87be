"""Exact search: the same as a sort of all cosines, whatever the blocks."""

from __future__ import annotations

import polars as pl
import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.extraction import EmbeddingTable
from tonotopy.retrieval import ExactIndex, exact_index


def table(embeddings: Tensor) -> EmbeddingTable:
    rows = range(len(embeddings))
    return EmbeddingTable(
        pl.DataFrame(
            {
                "path": [f"/clips/{row}.wav" for row in rows],
                "content": [str(row) for row in rows],
                "label": [["a", f"b{row % 3}"] for row in rows],
                "split": ["test" for _ in rows],
                "predicted": [None for _ in rows],
                "confidence": [None for _ in rows],
                "embedding": pl.Series(
                    embeddings.numpy(), dtype=pl.Array(pl.Float32, embeddings.shape[1])
                ),
            }
        )
    )


@pytest.mark.parametrize("block", [1, 7, 1000])
@pytest.mark.parametrize("k", [1, 5, 50, 500])
def test_nearest_is_a_sort_of_all_cosines(
    monkeypatch: pytest.MonkeyPatch, block: int, k: int
) -> None:
    monkeypatch.setattr(exact_index, "BLOCK", block)
    generator = torch.Generator().manual_seed(0)
    stored = torch.randn(50, 8, generator=generator)
    queries = torch.randn(4, 8, generator=generator)
    scores, rows = ExactIndex(table(stored)).nearest(queries, k)
    every = torch.nn.functional.cosine_similarity(queries[:, None], stored[None], dim=-1)
    expected = every.sort(dim=1, descending=True)
    k = min(k, 50)
    assert torch.equal(rows, expected.indices[:, :k])
    torch.testing.assert_close(scores, expected.values[:, :k])


def test_ties_go_to_the_earlier_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_index, "BLOCK", 2)
    stored = torch.tensor([[1.0, 0.0]] * 5)
    _, rows = ExactIndex(table(stored)).nearest(torch.tensor([[2.0, 0.0]]), 4)
    assert rows.tolist() == [[0, 1, 2, 3]]


def test_a_stored_clip_finds_itself_whatever_its_length() -> None:
    stored = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    (hit,) = ExactIndex(table(stored)).search(7.5 * stored[13], k=1)
    assert hit.path == "/clips/13.wav"
    assert hit.label == ("a", "b1")
    assert hit.score == pytest.approx(1.0, abs=1e-6)


def test_another_models_embeddings_are_refused() -> None:
    index = ExactIndex(table(torch.randn(3, 4)))
    with pytest.raises(UsageError, match="same model"):
        index.search(torch.randn(5))
    with pytest.raises(UsageError, match="positive"):
        index.search(torch.randn(4), k=0)
