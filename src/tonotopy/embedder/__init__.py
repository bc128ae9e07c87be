"""`AudioEmbedder`: front end, encoder and classifier in one object that embeds, saves and loads."""

from tonotopy.embedder.audio_embedder import AudioEmbedder, Clip
from tonotopy.embedder.tree_classifier import PathPrediction, TreeClassifier, fit_centroids

__all__ = ["AudioEmbedder", "Clip", "PathPrediction", "TreeClassifier", "fit_centroids"]
