"""`AudioEmbedder`: front end, encoder and classifier in one object that embeds, saves and loads."""

from tonotopy.embedder.audio_embedder import AudioEmbedder, Clip
from tonotopy.embedder.foreign import load_hugging_face, load_yamnet
from tonotopy.embedder.released import InputNormalisation, load_released
from tonotopy.embedder.tree_classifier import PathPrediction, TreeClassifier, fit_centroids

__all__ = [
    "AudioEmbedder",
    "Clip",
    "InputNormalisation",
    "PathPrediction",
    "TreeClassifier",
    "fit_centroids",
    "load_hugging_face",
    "load_released",
    "load_yamnet",
]
