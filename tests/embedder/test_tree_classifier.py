"""Classifiers over a label tree: fitted by centroids, kept with the model, and grown."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.audio import LogMel
from tonotopy.embedder import AudioEmbedder, TreeClassifier, fit_centroids
from tonotopy.encoders import ConvNet
from tonotopy.geometry import CentroidHead, Head, LevelHead, LinearHead, NodeHead, unit_vectors
from tonotopy.labels import LabelTree

TREE = LabelTree([("a", "x"), ("a", "y"), ("b",)])
PATHS = [("a", "x"), ("a", "x"), ("a", "y"), ("b",), ("a",), ()]


def clips(seed: int = 0) -> Tensor:
    return torch.randn(len(PATHS), 5, generator=torch.Generator().manual_seed(seed))


def test_a_centroid_is_the_direction_of_the_mean_of_all_below() -> None:
    z = clips()
    head = fit_centroids(z, PATHS, TREE)
    units = unit_vectors(z)
    members = {("a",): [0, 1, 2, 4], ("a", "x"): [0, 1], ("a", "y"): [2], ("b",): [3]}
    for path, rows in members.items():
        expected = unit_vectors(units[rows].sum(0))
        torch.testing.assert_close(head.centroids[TREE.node(path)], expected)
    cosines = units @ head.centroids.T
    torch.testing.assert_close(head(z), head.scale * cosines)


def test_the_scale_is_the_likeliest_for_held_out_clips() -> None:
    z = torch.nn.functional.one_hot(torch.tensor([0, 0, 1, 2]), 5).float()
    paths = PATHS[:4]
    sure = fit_centroids(z, paths, TREE, (z, paths))
    confused = fit_centroids(z, paths, TREE, (z.roll(1, 0), paths))
    assert confused.scale < sure.scale


def test_a_class_without_clips_is_never_predicted() -> None:
    z = clips()[:3]
    head = fit_centroids(z, PATHS[:3], TREE)
    found = TreeClassifier(head, TREE).node_probabilities(z)
    assert (found[:, TREE.node(("b",))] == 0).all()
    with pytest.raises(UsageError, match="none of the training clips"):
        fit_centroids(z, [()] * 3, TREE)


@pytest.mark.parametrize("make", [LinearHead, LevelHead, NodeHead, CentroidHead])
def test_leaf_and_path_agree_for_every_kind_of_head(make: type[Head]) -> None:
    torch.manual_seed(0)
    head = make(5, TREE.num_leaves if make is LinearHead else TREE.num_nodes)
    if isinstance(head, CentroidHead):
        head = fit_centroids(clips(), PATHS, TREE)
    classifier = TreeClassifier(head, TREE)
    z = clips(1)
    for found in classifier.predict(z, threshold=0.3):
        assert found.path in TREE
        assert list(found.probabilities) == sorted(found.probabilities, reverse=True)
        assert found.path[: len(found.stop)] == found.stop
        assert sum(p >= 0.3 for p in found.probabilities) == len(found.stop)
    leaves = classifier.leaf_probabilities(z)
    torch.testing.assert_close(
        leaves, classifier.node_probabilities(z)[:, list(TREE.leaves)], rtol=1e-5, atol=1e-7
    )


def embedder(head: LevelHead | None) -> AudioEmbedder:
    torch.manual_seed(1)
    model = AudioEmbedder(LogMel(n_mels=16), ConvNet(num_bins=16, width=4, embedding_dim=5))
    model.head, model.tree = head, TREE
    model.centroids, model.centroid_tree = fit_centroids(clips(), PATHS, TREE), TREE
    return model.eval()


def test_new_classes_are_added_without_training_and_old_ids_stay(tmp_path: Path) -> None:
    model = embedder(LevelHead(5, TREE.num_nodes))
    waves = [torch.randn(4000, generator=torch.Generator().manual_seed(n)) for n in range(3)]
    before = {path: model.centroids.centroids[TREE.node(path)] for path in set(PATHS) - {()}}  # type: ignore[union-attr]
    model.add_classes(waves, [("a", "between"), ("a", "between"), ("0", "first", "deep")])
    model.save_pretrained(tmp_path)

    loaded = AudioEmbedder.from_pretrained(tmp_path)
    assert loaded.tree == TREE == LabelTree.load(tmp_path / "labels.json")
    grown, centroids = loaded.centroid_tree, loaded.centroids
    assert grown is not None
    assert centroids is not None
    assert ("a", "between") in grown
    assert ("0", "first", "deep") in grown
    for path, centroid in before.items():
        torch.testing.assert_close(centroids.centroids[grown.node(path)], centroid)
    found = loaded.centroid_classifier.predict(loaded.embed(waves))  # type: ignore[union-attr]
    assert found[2].path == ("0", "first", "deep")
    assert loaded.classifier is not None
    assert loaded.classifier.tree == TREE


def test_a_model_without_classifier_predicts_by_centroids() -> None:
    model = embedder(None)
    assert model.classifier is not None
    assert isinstance(model.classifier.head, CentroidHead)
    assert model.probabilities(clips()).shape == (len(PATHS), TREE.num_leaves)
    model.centroids = None
    with pytest.raises(UsageError, match="no classifier"):
        model.probabilities(clips())
    with pytest.raises(UsageError, match="no centroids"):
        model.add_classes([torch.zeros(100)], [("new",)])
