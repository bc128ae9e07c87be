"""What labels of every form say to a flat loss."""

from __future__ import annotations

import pytest
import torch

from tonotopy._errors import UsageError
from tonotopy.labels import LabelTree
from tonotopy.losses import AngularDistanceDistributionLoss
from tonotopy.losses._targets import class_ids, class_weights, mean_over_labelled

PATHS = [
    ("Strings", "Violin", "bowed"),
    ("Strings", "Violin", "plucked"),
    ("Strings", "Harp"),
    ("Drums",),
    ("Strings", "Violin"),
    ("Strings",),
    (),
    ("Strings", "Harp"),
]


def test_codes_are_one_class_where_the_whole_path_is_known_and_equal() -> None:
    tree = LabelTree.from_paths(PATHS)
    ids = class_ids(tree.encode(PATHS))
    assert (ids < 0).tolist() == [False, False, False, False, True, True, True, False]
    known = [path for path, i in zip(PATHS, ids.tolist(), strict=True) if i >= 0]
    by_id = dict(zip(ids[ids >= 0].tolist(), known, strict=True))
    assert len(by_id) == 4
    assert ids[2] == ids[7]


def test_codes_and_leaf_indices_give_the_same_loss() -> None:
    tree = LabelTree.from_paths(PATHS)
    complete = [path for path in PATHS if path and not tree.is_partial(path)]
    z = torch.randn(len(complete), 5, generator=torch.Generator().manual_seed(0))
    loss = AngularDistanceDistributionLoss()
    by_code = loss(z, tree.encode(complete))
    torch.testing.assert_close(by_code, loss(z, tree.leaf_index(complete)))
    assert by_code > 0


def test_a_partial_label_counts_where_it_is_certain() -> None:
    tree = LabelTree.from_paths(PATHS)
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    loss = AngularDistanceDistributionLoss()
    codes = tree.encode([("Strings", "Violin"), ("Strings", "Violin", "bowed"), ("Drums",)])
    loss(z, codes)
    terms = loss.terms()
    assert terms["intra_pairs"] == 0  # perhaps of one class
    assert terms["inter_pairs"] == 4  # the drum is neither violin, in both orders


def test_ids_of_soft_rows_and_of_no_level() -> None:
    soft = torch.tensor([[0.2, 0.8], [0.0, 0.0], [1.0, 0.0]])
    assert class_ids(soft).tolist() == [1, -1, 0]
    assert class_ids(torch.tensor([3, -1, -2])).tolist() == [3, -1, -1]
    assert class_ids(torch.full((2, 3), -2)).tolist() == [-1, -1]


def test_weights_of_ids_are_one_hot_and_zero_where_ignored() -> None:
    weights = class_weights(torch.tensor([1, -1, 0]), 3, torch.float64)
    assert weights.tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert weights.dtype == torch.float64
    with pytest.raises(UsageError, match="leaf_index"):
        class_weights(torch.zeros(3, 2, dtype=torch.long), 3, torch.float32)


def test_mean_leaves_out_what_has_no_label() -> None:
    weights = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.5, 0.5]])
    assert mean_over_labelled(torch.tensor([1.0, 100.0, 3.0]), weights).item() == 2.0
    assert mean_over_labelled(torch.tensor([5.0]), torch.zeros(1, 2)).item() == 0.0
