"""`AudioEmbedder`: front end, encoder and classifier in one object that embeds, saves and loads."""

from tonotopy.embedder.audio_embedder import AudioEmbedder, Clip

__all__ = ["AudioEmbedder", "Clip"]
