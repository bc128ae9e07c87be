"""The clips of a run embedded, and the classifier that needs no training."""

from __future__ import annotations

from pathlib import Path

from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder, fit_centroids
from tonotopy.extraction import EmbeddingTable, embed_clips, predictions
from tonotopy.labels import LabelPath, LabelTree

EMBEDDINGS_FILE = "embeddings.parquet"


def embed_run(run: Path) -> EmbeddingTable:
    """Embed all clips of a run and give its model the centroids of its classes.

    Args:
        run: The run folder; `embeddings.parquet` is written, and `model.safetensors` again.

    Returns:
        The embeddings, classified by the model's classifier, or by its centroids where it has none.

    Raises:
        DataError: Audio or disk failed.
    """
    embedder = AudioEmbedder.from_pretrained(run)
    table = embed_clips(embedder, ClipTable.read(run / "clips.parquet"), run / EMBEDDINGS_FILE)
    train, val = table.of_split("train"), table.of_split("val")
    if embedder.tree is None or not any(train.labels):
        return table
    held_out = (val.embeddings, known_paths(embedder.tree, val)) if len(val) else None
    embedder.centroids = fit_centroids(
        train.embeddings, known_paths(embedder.tree, train), embedder.tree, held_out
    )
    embedder.centroid_tree = embedder.tree
    embedder.save_pretrained(run)
    if embedder.head is None:
        table = EmbeddingTable(table.frame.with_columns(predictions(embedder, table.embeddings)))
        table.write(run / EMBEDDINGS_FILE)
    return table


def known_paths(tree: LabelTree, table: EmbeddingTable) -> list[LabelPath]:
    """Give the label of each row as far as the tree knows it."""
    return [tree.known_part(path) for path in table.labels]
