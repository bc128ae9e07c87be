"""The facts of docs/anomaly-theory.md on one-class losses: what lets them collapse, what helps."""

from __future__ import annotations

import pytest
import torch
from benchmarks.theory import one_class
from benchmarks.theory.one_class import (
    CLASSES,
    DIM,
    HIDDEN,
    HOMOGENEOUS_FLOOR,
    Network,
    Outcome,
    paired_clips,
)
from torch import Tensor, nn

from tonotopy.geometry import unit_vectors
from tonotopy.losses import DeepSVDDLoss
from tonotopy.metrics import effective_rank, mean_pairwise_cosine


@pytest.fixture(scope="module")
def svdd() -> dict[str, Outcome]:
    return one_class.svdd_runs()


@pytest.fixture(scope="module")
def directions() -> dict[str, Outcome]:
    return one_class.direction_runs()


def test_every_clip_has_a_louder_twin() -> None:
    x, y = paired_clips()
    assert torch.equal(x[64:], 2 * x[:64])
    assert torch.equal(y[64:], y[:64])
    assert set(y.tolist()) == set(range(CLASSES))
    assert (x >= 0).all()


def test_trained_centre_shrinks_the_network_to_nothing(svdd: dict[str, Outcome]) -> None:
    """Directions may stay: rank and cosine, which look at unit vectors, need not show it."""
    assert svdd["centre trained"].loss < 1e-3
    assert svdd["centre trained"].length < 0.05
    assert svdd["centre trained"].rank > 2.0
    assert svdd["guarded"].length > 0.9
    assert list(DeepSVDDLoss(DIM).parameters()) == []


@pytest.mark.parametrize("cause", ["biases", "sigmoid", "tanh"])
def test_what_acts_as_a_bias_reaches_the_centre(cause: str, svdd: dict[str, Outcome]) -> None:
    collapsed, guarded = svdd[cause], svdd["guarded"]
    assert collapsed.loss < 0.05 * HOMOGENEOUS_FLOOR
    assert collapsed.spread < 5e-3
    assert collapsed.unseen < 0.2 * guarded.unseen
    assert collapsed.cosine > 0.999
    assert collapsed.rank < 1.2
    assert guarded.loss >= HOMOGENEOUS_FLOOR


def test_without_biases_twice_as_loud_is_twice_as_far() -> None:
    """So no weights at all come nearer to the centre than |c|² / 10 in the mean of two twins."""
    x, y = paired_clips()
    generator = torch.Generator().manual_seed(3)
    for seed in range(20):
        torch.manual_seed(seed)
        network = Network()
        z = network(x)
        torch.testing.assert_close(z[64:], 2 * z[:64])
        loss = DeepSVDDLoss(DIM)
        loss.set_centre(torch.randn(1, DIM, generator=generator))
        square = loss.centre.square().sum().item()
        assert loss(z, y).item() >= HOMOGENEOUS_FLOOR * square
    nearest = torch.cat([0.6 * loss.centre.expand(64, -1), 1.2 * loss.centre.expand(64, -1)])
    assert loss(nearest, y).item() == pytest.approx(HOMOGENEOUS_FLOOR * square, rel=1e-5)


def test_guards_stop_the_constant_but_not_the_ray(svdd: dict[str, Outcome]) -> None:
    """Every clip at its own distance along the direction of the centre."""
    assert svdd["guarded"].loss == pytest.approx(HOMOGENEOUS_FLOOR, rel=0.1)
    assert svdd["guarded"].cosine > 0.999
    assert svdd["guarded"].rank < 1.2


def test_shift_of_batch_norm_is_a_bias(svdd: dict[str, Outcome]) -> None:
    shifted, plain = svdd["BatchNorm with shift"], svdd["BatchNorm without"]
    assert shifted.loss < 1e-3
    assert shifted.unseen < 0.1 * plain.unseen
    # Before a ReLU, even without the shift, all trained clips come near the centre.
    assert plain.loss < 0.05 * HOMOGENEOUS_FLOOR
    assert plain.unseen > 0.02


def test_shift_alone_makes_a_constant_for_any_input() -> None:
    network = Network(norm=True)
    norm = network.layers[1]
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.no_grad():
        norm.weight.zero_()
        norm.bias.fill_(1.0)
    z = network(torch.randn(9, one_class.INPUTS))
    torch.testing.assert_close(z, z[:1].expand(9, -1))
    assert z.abs().max() > 0.01
    assert [name for name, _ in Network(norm=False).named_parameters()] == [
        "layers.0.weight",
        "layers.3.weight",
    ]


def test_nothing_needs_the_input_without_an_auxiliary_task(directions: dict[str, Outcome]) -> None:
    for name in ("to a random centre", "to the mean"):
        assert directions[name].cosine > 0.999
        assert directions[name].rank < 1.4
        assert directions[name].loss < 1e-3
    for name, rank, cosine in (
        ("uniformity beside it", 7.9, 0.05),
        ("a classifier beside it", 2.5, 0.95),
        ("a margin loss instead", 3.0, 0.05),
    ):
        assert directions[name].rank > rank
        assert directions[name].cosine < cosine


def rank_one(network: Network) -> Tensor:
    """Make the last layer u 1', and give u."""
    last = network.layers[-1]
    assert isinstance(last, nn.Linear)
    u = torch.linspace(-1.0, 2.0, DIM)
    with torch.no_grad():
        last.weight.copy_(torch.outer(u, torch.ones(HIDDEN)))
    return unit_vectors(u[None])[0]


def test_removing_biases_is_not_enough_for_directions() -> None:
    """After a ReLU nothing is negative, so u 1' sends every clip the way of u."""
    network = Network()
    u = rank_one(network)
    z = network(paired_clips()[0])
    torch.testing.assert_close(unit_vectors(z), u.expand(len(z), -1))
    assert mean_pairwise_cosine(z) == pytest.approx(1.0)
    assert effective_rank(z) == pytest.approx(1.0, abs=1e-3)


def test_batch_norm_before_the_last_layer_forbids_one_direction(
    directions: dict[str, Outcome],
) -> None:
    """Whatever the weights, the embeddings of a batch add up to nothing."""
    x, _ = paired_clips()
    for seed in range(5):
        torch.manual_seed(seed)
        network = Network(last_norm=False)
        if seed == 0:
            rank_one(network)
        z = network(x)
        assert z.sum(dim=0).abs().max() < 1e-3
        axis = unit_vectors(torch.randn(1, DIM))[0]
        assert (z @ axis).min() < 0 < (z @ axis).max()
    blocked = directions["BatchNorm without, before the last layer"]
    assert blocked.loss > 0.02
    assert blocked.cosine < 0.98
    with_shift = directions["BatchNorm with shift before the last layer"]
    assert with_shift.loss < 0.005
    assert with_shift.cosine > 0.995


def test_two_opposite_points_escape_the_cosine_but_not_the_rank() -> None:
    network = Network(last_norm=False)
    rank_one(network)
    z = network(paired_clips()[0])
    assert mean_pairwise_cosine(z) < 0.5
    assert effective_rank(z) < 1.01
