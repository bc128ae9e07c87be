"""Embed very many clips: shard by shard, so that an interrupted job goes on where it stopped."""

from tonotopy.extraction.embeddings import EmbeddingTable
from tonotopy.extraction.extract import embed_clips, predictions

__all__ = ["EmbeddingTable", "embed_clips", "predictions"]
