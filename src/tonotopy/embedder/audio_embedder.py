"""The model that users keep: from waveforms to embeddings and class probabilities."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tonotopy._errors import UsageError
from tonotopy._progress import track
from tonotopy.audio import FrontEnd, decode
from tonotopy.embedder._artefact import Artefact, load_artefact, save_artefact
from tonotopy.embedder.state_digest import hash_state
from tonotopy.embedder.tree_classifier import TreeClassifier, add_classes
from tonotopy.encoders import Encoder
from tonotopy.geometry import CentroidHead, Head
from tonotopy.labels import LabelPath, LabelTree

Clip = str | Path | NDArray[np.floating] | Tensor
"""An audio file, or a mono waveform (T,) at the embedder's sample rate."""


class AudioEmbedder(nn.Module):
    """Turn audio of any duration into one vector a clip.

    Args:
        front_end: Waveforms (B, T) to features (B, bins, frames).
        encoder: Features to embeddings (B, D).
        head: Embeddings to scores of the leaves or nodes of `tree`; None for a model without a
            classifier.
        tree: The labels that the head's columns stand for: its leaves in the order of
            `tree.leaves`, or its nodes.
        centroids: Scores of the nodes of `centroid_tree` by nearness, or None; see
            `fit_centroids`.
        centroid_tree: `tree`, or a larger one that has classes added after training.
        window_seconds: A clip longer than this is cut into equal windows no longer than this; its
            embedding is the mean of theirs, so memory does not grow with the clip. Default 30.

    Examples:
        >>> from tonotopy import AudioEmbedder
        >>> from tonotopy.audio import LogMel
        >>> from tonotopy.encoders import ConvNet
        >>> embedder = AudioEmbedder(LogMel(n_mels=64), ConvNet(num_bins=64, embedding_dim=128))
        >>> embedder.embed([torch.zeros(16000), torch.zeros(800)]).shape
        torch.Size([2, 128])
    """

    def __init__(
        self,
        front_end: FrontEnd,
        encoder: Encoder,
        *,
        head: Head | None = None,
        tree: LabelTree | None = None,
        centroids: CentroidHead | None = None,
        centroid_tree: LabelTree | None = None,
        window_seconds: float = 30.0,
    ) -> None:
        super().__init__()
        self.front_end = front_end
        self.encoder = encoder
        self.head = head
        self.tree = tree
        self.centroids = centroids
        self.centroid_tree = centroid_tree
        self.window_seconds = window_seconds

    @property
    def sample_rate(self) -> int:
        """Sample rate in hertz that `forward` expects."""
        return self.front_end.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Length D of an embedding."""
        return self.encoder.embedding_dim

    @property
    def device(self) -> torch.device:
        """The device of the parameters; of the front end for an encoder that has none."""
        tensor = next(chain(self.parameters(), self.buffers()), None)
        return torch.device("cpu") if tensor is None else tensor.device

    def forward(self, waveforms: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embed a batch.

        Args:
            waveforms: (B, T), mono, at `sample_rate`, padded at the end to one length.
            lengths: (B,) samples of each clip before padding; None when all fill T.

        Returns:
            Embeddings (B, D), not normalised.
        """
        features, frames = self.front_end(waveforms, lengths)
        embeddings: Tensor = self.encoder(features, frames)
        return embeddings

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits: embeddings of models that share them may be compared.

        They depend on front end and encoder, their weights and options, and not on classifiers.
        """
        digest = hashlib.blake2b(digest_size=16)
        for part in (self.front_end, self.encoder):
            digest.update(json.dumps(part.component.to_dict(), sort_keys=True).encode())
            hash_state(digest, part)
        digest.update(f"{self.window_seconds}".encode())
        return digest.hexdigest()

    @property
    def classifier(self) -> TreeClassifier | None:
        """The trained classifier, or the centroids of a model that has none; None without both."""
        if self.head is not None and self.tree is not None:
            return TreeClassifier(self.head, self.tree)
        return self.centroid_classifier

    @property
    def centroid_classifier(self) -> TreeClassifier | None:
        """The classifier by nearest centroid, or None."""
        if self.centroids is None or self.centroid_tree is None:
            return None
        return TreeClassifier(self.centroids, self.centroid_tree)

    def add_classes(self, clips: Sequence[Clip], paths: Sequence[LabelPath]) -> None:
        """Let the model know new classes by a few clips of each, without training.

        Only the classifier by centroids learns them; `tree` and the trained classifier stay. Save
        the model to keep them.

        Args:
            clips: Audio files or waveforms.
            paths: Their label paths, which may branch off anywhere in the tree.

        Raises:
            UsageError: The model has no centroids.
        """
        known = self.centroid_classifier
        if known is None:
            raise UsageError("this model has no centroids of classes to add others to")
        grown = add_classes(known, self.embed(clips), paths)
        assert isinstance(grown.head, CentroidHead), "a classifier by centroids has grown"
        self.centroids, self.centroid_tree = grown.head.to(self.device), grown.tree

    def probabilities(self, embeddings: Tensor) -> Tensor:
        """Give the probability of each leaf of `tree`, (B, C), for embeddings (B, D).

        Raises:
            UsageError: The model has no classifier.
        """
        if self.classifier is None:
            raise UsageError("this model has no classifier: it was trained without class labels")
        return self.classifier.leaf_probabilities(embeddings)

    @torch.no_grad()
    def embed(
        self, clips: Sequence[Clip], *, batch_size: int = 32, progress: bool = False
    ) -> Tensor:
        """Embed files or waveforms of any durations.

        Args:
            clips: Audio files, or mono waveforms (T,) at `sample_rate`.
            batch_size: Most windows in one batch.
            progress: Show a progress bar on a terminal.

        Returns:
            Embeddings (N, D), float32, on the CPU, in the order of `clips`. They do not depend on
            `batch_size` or on the other clips.

        Raises:
            AudioError: A file cannot be used; its `path` and `reason` say which and why.
            UsageError: A waveform is not one-dimensional, empty or not finite.
        """
        was_training = self.training
        self.eval()
        sums = torch.zeros(len(clips), self.embedding_dim, dtype=torch.float64)
        samples = torch.zeros(len(clips), 1, dtype=torch.float64)
        indices: Iterable[int] = range(len(clips))
        if progress:
            indices = track(indices, label="Embedding", total=len(clips))
        try:
            for batch in _batches(self._windows(clips, indices), batch_size):
                owners = torch.tensor([owner for owner, _ in batch])
                lengths = torch.tensor([len(window) for _, window in batch])
                waveforms = nn.utils.rnn.pad_sequence([w for _, w in batch], batch_first=True)
                embeddings = self(waveforms.to(self.device), lengths.to(self.device))
                weights = lengths.double()[:, None]
                sums.index_add_(0, owners, embeddings.double().cpu() * weights)
                samples.index_add_(0, owners, weights)
        finally:
            self.train(was_training)
        return (sums / samples).float()

    def _windows(
        self, clips: Sequence[Clip], indices: Iterable[int]
    ) -> Iterator[tuple[int, Tensor]]:
        longest = round(self.window_seconds * self.sample_rate)
        for index in indices:
            waveform = _waveform(clips[index], self.sample_rate)
            for window in waveform.tensor_split(math.ceil(len(waveform) / longest)):
                yield index, window

    def save_pretrained(self, folder: Path | str) -> None:
        """Write `model.safetensors` (weights and architecture) and `labels.json` to a folder.

        Raises:
            DataError: The folder cannot be written.
        """
        artefact = Artefact(
            self.front_end,
            self.encoder,
            self.head,
            self.tree,
            self.centroids,
            self.centroid_tree,
            self.window_seconds,
            self.state_dict(),
        )
        save_artefact(artefact, Path(folder))

    @classmethod
    def from_pretrained(cls, source: Path | str) -> AudioEmbedder:
        """Load a model from a folder, or from a repository of the Hugging Face hub by its id.

        Nothing is unpickled and no code from the source is run.

        Args:
            source: A folder that `fit` or `save_pretrained` wrote, or a hub id `"owner/name"`.

        Raises:
            UsageError: There is no model at `source`.
            DataError: The file is damaged, or made by a newer version.
        """
        found = load_artefact(source)
        embedder = cls(
            found.front_end,
            found.encoder,
            head=found.head,
            tree=found.tree,
            centroids=found.centroids,
            centroid_tree=found.centroid_tree,
            window_seconds=found.window_seconds,
        )
        embedder.load_state_dict(found.tensors)
        return embedder.eval()


def _waveform(clip: Clip, sample_rate: int) -> Tensor:
    if isinstance(clip, str | Path):
        return torch.from_numpy(decode(clip, sample_rate))
    waveform = torch.as_tensor(clip, dtype=torch.float32)
    if waveform.ndim != 1 or len(waveform) == 0:
        raise UsageError(
            f"expected a mono waveform (T,) with at least one sample, got shape "
            f"{tuple(waveform.shape)}: mix channels with waveform.mean(0) first"
        )
    if not waveform.isfinite().all():
        raise UsageError("a waveform holds NaN or infinity: clean it before embedding")
    return waveform


def _batches(
    windows: Iterator[tuple[int, Tensor]], size: int
) -> Iterator[list[tuple[int, Tensor]]]:
    while batch := list(islice(windows, size)):
        yield batch
