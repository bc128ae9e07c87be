"""Find the clips that sound most alike: exact cosine search over stored embeddings."""

from tonotopy.retrieval.exact_index import ExactIndex, Hit, open_index

__all__ = ["ExactIndex", "Hit", "open_index"]
