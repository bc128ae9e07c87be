"""How the models of the angular contrastive experiment are measured."""

from __future__ import annotations

import torch
from torch import Tensor

from tonotopy.clips import ClipTable
from tonotopy.embedder import AudioEmbedder
from tonotopy.geometry import unit_vectors
from tonotopy.metrics.clip_accuracy import first_largest
from tonotopy.protocols._acl_data import PATCH_SECONDS, SUPERVISED_PATCH_SECONDS
from tonotopy.protocols._probe_methods import Judged, as_json
from tonotopy.protocols._probe_patches import LabelledPatches, embed_patches

NEIGHBOURS = 200
"""Patches that vote, as in the paper."""

BLOCK_ROWS = 1024

Accuracies = dict[str, dict[str, float]]


def neighbour_accuracies(embedder: AudioEmbedder, clips: ClipTable, *, seed: int) -> Accuracies:
    """Let the nearest patches of other clips vote about every patch, and its patches about a clip.

    Args:
        embedder: The model.
        clips: Labelled clips.
        seed: Of the bootstrap intervals.
    """
    tree = clips.tree
    labels = tree.leaf_index(clips.labels).numpy()
    patches = embed_patches(embedder, clips, labels, seconds=PATCH_SECONDS)
    decided = vote_of_other_clips(patches, NEIGHBOURS, tree.num_leaves)
    judged = Judged(patches, tree.num_leaves, draws=1000, seed=seed)
    return as_json(judged.by_majority(decided)[0])


@torch.no_grad()
def vote_of_other_clips(patches: LabelledPatches, voters: int, num_classes: int) -> Tensor:
    """Classify each of P patches by the nearest of other clips, by cosine; ties to the lowest id.

    Args:
        patches: Of at least two clips.
        voters: How many vote, each for one; all of the other clips where those are fewer.
        num_classes: Number of classes C.

    Returns:
        (P,) classes.
    """
    units = unit_vectors(torch.from_numpy(patches.embeddings))
    owners = torch.from_numpy(patches.owners)
    labels = torch.from_numpy(patches.patch_labels)
    decided = []
    for rows in torch.split(torch.arange(len(units)), BLOCK_ROWS):
        cosines = units[rows] @ units.T
        own = owners[rows, None] == owners
        nearest = cosines.masked_fill(own, -torch.inf).topk(min(voters, len(units)), dim=1)
        ballots = torch.isfinite(nearest.values).double()
        votes = torch.zeros(len(rows), num_classes, dtype=torch.float64)
        votes.scatter_add_(1, labels[nearest.indices], ballots)
        decided.append(first_largest(votes))
    return torch.cat(decided)


def classifier_accuracies(embedder: AudioEmbedder, clips: ClipTable, *, seed: int) -> Accuracies:
    """Let a model's own classifier decide about patches, and their mean probability about a clip.

    Args:
        embedder: A model with a classifier.
        clips: Labelled clips.
        seed: Of the bootstrap intervals.
    """
    assert embedder.tree is not None, "a classifier has a tree"
    labels = embedder.tree.leaf_index(clips.labels).numpy()
    patches = embed_patches(embedder, clips, labels, seconds=SUPERVISED_PATCH_SECONDS)
    embeddings = torch.from_numpy(patches.embeddings).to(embedder.device)
    judged = Judged(patches, embedder.tree.num_leaves, draws=1000, seed=seed)
    return as_json(judged.by_probability(embedder.probabilities(embeddings).cpu().numpy())[0])
