"""`tonotopy embed`: audio to embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tonotopy.cli._output import Output
from tonotopy.cli._parse import call


def run(arguments: Sequence[str]) -> Output:
    """Run the verb."""
    return call("embed", embed, arguments)


def embed(
    model: str,
    data: Path,
    *,
    out: Path = Path("embeddings.parquet"),
    batch_size: int = 32,
) -> Output:
    """Turn the clips of DATA into embeddings with a trained model; interrupted jobs go on.

    Args:
        model: A run folder, or a model's id on the Hugging Face hub.
        data: A folder, CSV or Parquet table, saved Hugging Face data set, or clips.parquet.
        out: The Parquet file to write.
        batch_size: Clips in a batch.
    """
    from tonotopy.clips import load_clips
    from tonotopy.embedder import AudioEmbedder
    from tonotopy.extraction import embed_clips

    embedder = AudioEmbedder.from_pretrained(model)
    clips = load_clips(data)
    table = embed_clips(embedder, clips, out, batch_size=batch_size)
    failed = len(clips) - len(table)
    summary = f"{len(table)} embeddings of {embedder.embedding_dim} dimensions in {out}"
    if failed:
        summary += f"; {failed} unreadable files in {out.with_suffix('.quarantine.csv')}"
    return Output(
        {"out": str(out), "clips": len(table), "dim": embedder.embedding_dim, "failed": failed},
        summary,
    )
