"""What every scorer promises, one row a back end."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from tonotopy._components import build, component_names
from tonotopy._errors import DataError, UsageError
from tonotopy.detection import (
    GaussianMixtureScorer,
    KMeansScorer,
    LocalOutlierFactorScorer,
    MahalanobisScorer,
    NearestNeighbourScorer,
    Scorer,
    SubcentreScorer,
    _cosine_distances,
)

D = 6
CENTRES = torch.randn(5, D, generator=torch.Generator().manual_seed(9))

MAKERS: dict[str, Callable[[], Scorer]] = {
    "knn": NearestNeighbourScorer,
    "3nn": lambda: NearestNeighbourScorer(neighbours=3),
    "knn-ratio": lambda: NearestNeighbourScorer(density="ratio"),
    "knn-ratio-4": lambda: NearestNeighbourScorer(density="ratio", density_neighbours=4),
    "2nn-difference-2": lambda: NearestNeighbourScorer(2, "difference", 2),
    "knn-ratio-rank": lambda: NearestNeighbourScorer(density="ratio", density_weights="rank"),
    "knn-difference-rank": lambda: NearestNeighbourScorer(1, "difference", 1, "rank"),
    "knn-smote": lambda: NearestNeighbourScorer(smote=0.5),
    "knn-smote-ratio": lambda: NearestNeighbourScorer(density="ratio", smote=1.0),
    "kmeans": lambda: KMeansScorer(clusters=4),
    "kmeans-unit": lambda: KMeansScorer(clusters=4, renormalise=True),
    "kmeans-ratio": lambda: KMeansScorer(clusters=4, density="ratio", density_neighbours=2),
    "kmeans-rank": lambda: KMeansScorer(4, density="difference", density_weights="rank"),
    "gmm": lambda: GaussianMixtureScorer(components=3),
    "gmm-midpoints": lambda: GaussianMixtureScorer(components=3, midpoints=True),
    "mahalanobis": MahalanobisScorer,
    "mahalanobis-0.3": lambda: MahalanobisScorer(shrinkage=0.3),
    "lof": lambda: LocalOutlierFactorScorer(neighbours=4),
    "subcentres": lambda: SubcentreScorer(CENTRES),
}
EXACT = {name for name in MAKERS if "nn" in name and "smote" not in name} | {"subcentres"}

every_scorer = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def normal_clips(source: int = 20, target: int = 4, seed: int = 0) -> tuple[Tensor, list[str]]:
    """Two clouds of float32 vectors of any length, shuffled."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.eye(D)[:2]
    index = torch.tensor([0] * source + [1] * target)
    index = index[torch.randperm(len(index), generator=generator)]
    x = centres[index] + 0.2 * torch.randn(len(index), D, generator=generator)
    lengths = 0.5 + 2 * torch.rand(len(x), 1, generator=generator)
    return x * lengths, [("source", "target")[number] for number in index.tolist()]


def queries(count: int = 7) -> Tensor:
    return torch.randn(count, D, generator=torch.Generator().manual_seed(5))


@every_scorer
def test_scores_are_repeatable_to_the_last_bit(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    first, second = (make().fit(references, domains) for _ in range(2))
    torch.rand(3)  # the global generator must not matter
    assert torch.equal(first.score(queries()), second.score(queries()))
    assert torch.equal(first.leave_one_out(), second.leave_one_out())
    assert torch.equal(first.score(queries()), first.score(queries()))


@every_scorer
@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_references_does_not_matter(make: Callable[[], Scorer], seed: int) -> None:
    references, domains = normal_clips()
    references[3] = references[11]
    references[5] = -0.0
    order = torch.randperm(len(references), generator=torch.Generator().manual_seed(seed))
    shuffled = make().fit(references[order], [domains[row] for row in order.tolist()])
    scorer = make().fit(references, domains)
    assert torch.equal(scorer.score(queries()), shuffled.score(queries()))
    assert torch.equal(scorer.leave_one_out()[order], shuffled.leave_one_out())


@every_scorer
def test_only_directions_matter(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    scorer = make().fit(references, domains)
    scaled = make().fit(references * 2.0 ** torch.arange(-3, len(references) - 3)[:, None], domains)
    assert torch.equal(scorer.score(queries()), scaled.score(8 * queries()))
    assert torch.equal(scorer.leave_one_out(), scaled.leave_one_out())


@every_scorer
def test_minus_zero_is_zero(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    references[:, 0] = torch.arange(len(references)) % 3
    signed = torch.where(
        (references == 0) & (torch.arange(len(references)) % 2 == 0)[:, None], -0.0, references
    )
    scorer, other = make().fit(references, domains), make().fit(signed, domains)
    assert torch.equal(scorer.score(queries()), other.score(queries()))
    assert torch.equal(scorer.leave_one_out(), other.leave_one_out())


ADVERSARIAL: dict[str, tuple[list[list[float]], Sequence[str | None]]] = {
    "one": ([[1, 2, 0, 0, 0, 1]], ["source"]),
    "one target": ([[1, 2, 0, 0, 0, 1]], ["target"]),
    "one zero": ([[0] * D], [None]),
    "two": ([[1, 2, 0, 0, 0, 1], [0, 0, 3, 1, 0, 0]], ["source", "target"]),
    "two alike": ([[1, 2, 0, 0, 0, 1]] * 2, ["source", "source"]),
    "two domains alike": ([[1, 2, 0, 0, 0, 1]] * 2, ["source", "target"]),
    "antipodal": ([[1, 0, 0, 0, 0, 0], [-1, 0, 0, 0, 0, 0]], ["source", "source"]),
    "two and a zero": ([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * D], [None, None, "target"]),
    "duplicates": ([[1, 2, 0, 0, 0, 1]] * 30, ["source"] * 20 + ["target"] * 10),
    "zeros": ([[0] * D] * 12, ["source"] * 6 + ["target"] * 6),
    "tiny": ([[1e-30, 0, 0, 0, 0, 0]] * 2 + [[1e-7, 0, 0, 0, 0, 1e-7]], [None] * 3),
    "huge": ([[3e38, 0, 0, 0, 0, 3e38], [0, -3e38, 0, 0, 0, 0]], [None, None]),
    "three domains": (torch.eye(D).tolist() * 2, ["source", "target", "noise"] * 4),
    "source only": (normal_clips(15, 0)[0].tolist(), ["source"] * 15),
    "target only": (normal_clips(0, 15)[0].tolist(), ["target"] * 15),
    "no domains": (normal_clips(15, 0)[0].tolist(), [None] * 15),
}


@every_scorer
@pytest.mark.parametrize("case", ADVERSARIAL)
def test_scores_of_degenerate_references_are_finite(make: Callable[[], Scorer], case: str) -> None:
    rows, domains = ADVERSARIAL[case]
    references = torch.tensor(rows, dtype=torch.float32)
    scorer = make().fit(references, domains)
    asked = torch.cat([references, queries(), torch.zeros(1, D)])
    scores = scorer.score(asked)
    assert scores.dtype == torch.float64
    assert scores.shape == (len(asked),)
    assert scores.isfinite().all()
    assert scorer.score(asked[:0]).shape == (0,)
    if len(references) > 1:
        held_out = scorer.leave_one_out()
        assert held_out.dtype == torch.float64
        assert held_out.shape == (len(references),)
        assert held_out.isfinite().all()
    else:
        with pytest.raises(UsageError, match="at least 2"):
            scorer.leave_one_out()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("source", "target"), [(2, 0), (1, 1), (2, 1), (3, 1), (6, 4), (17, 6)])
def test_left_out_scores_are_those_of_refitted_scorers(name: str, source: int, target: int) -> None:
    references, domains = normal_clips(source, target, seed=source)
    count = len(references)
    units = torch.nn.functional.normalize(references.double(), dim=1)
    ranked = sorted(range(count), key=lambda row: (domains[row], units[row].numpy().tobytes()))
    folds = count if name in EXACT else min(10, count)

    expected = torch.empty(count, dtype=torch.float64)
    for fold in range(folds):
        held = ranked[fold::folds]
        kept = [row for row in range(count) if row not in held]
        scorer = MAKERS[name]().fit(references[kept], [domains[row] for row in kept])
        expected[held] = scorer.score(references[held])

    found = MAKERS[name]().fit(references, domains).leave_one_out()
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every_scorer
def test_leaving_out_changes_nothing(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    scorer = make().fit(references, domains)
    before = scorer.score(queries())
    scorer.leave_one_out()
    assert torch.equal(scorer.score(queries()), before)


@every_scorer
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_other_types_are_taken_at_their_value(
    make: Callable[[], Scorer], dtype: torch.dtype
) -> None:
    references, domains = normal_clips()
    references, asked = (16 * references).to(dtype), (16 * queries()).to(dtype)
    low = make().fit(references, domains)
    full = make().fit(references.double(), domains)
    assert torch.equal(low.score(asked), full.score(asked.double()))


@every_scorer
def test_fitting_again_forgets_and_inputs_stay(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    copy, asked, asked_copy = references.clone(), queries(), queries()
    scorer = make()
    assert scorer.fit(*normal_clips(9, 3, seed=4)) is scorer
    scorer.fit(references, domains)
    assert torch.equal(scorer.score(asked), make().fit(references, domains).score(asked))
    assert torch.equal(references, copy)
    assert torch.equal(asked, asked_copy)


@every_scorer
def test_no_gradient_is_kept(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    scorer = make().fit(references.requires_grad_(), domains)
    assert not scorer.score(queries().requires_grad_()).requires_grad
    assert not scorer.leave_one_out().requires_grad


@every_scorer
def test_scorer_is_rebuilt_from_its_component(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    scorer = make().fit(references, domains)
    written = json.loads(json.dumps(scorer.component.to_dict()))
    component = type(scorer.component).parse(written)
    rebuilt = build(component, Scorer, "tonotopy.detection", centres=CENTRES)
    assert type(rebuilt) is type(scorer)
    assert rebuilt.component == scorer.component
    assert torch.equal(rebuilt.fit(references, domains).score(queries()), scorer.score(queries()))


def test_every_public_scorer_is_in_this_table() -> None:
    tested = {type(make()).__name__ for make in MAKERS.values()}
    assert tested == set(component_names(Scorer, "tonotopy.detection"))


@every_scorer
def test_a_domain_of_none_is_the_source(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    unknown = [None if domain == "source" else domain for domain in domains]
    scores = make().fit(references, unknown).score(queries())
    assert torch.equal(scores, make().fit(references, domains).score(queries()))


@pytest.mark.parametrize("name", sorted(set(MAKERS) - {"subcentres"}))
def test_what_is_far_from_both_domains_scores_higher(name: str) -> None:
    references, domains = normal_clips(40, 8)
    scorer = MAKERS[name]().fit(references, domains)
    normal, _ = normal_clips(20, 20, seed=1)
    noise = 0.2 * torch.randn(40, D, generator=torch.Generator().manual_seed(2))
    strange = torch.eye(D)[3] + noise
    wins = scorer.score(strange)[:, None] > scorer.score(normal)[None, :]
    assert wins.double().mean() > 0.95


@every_scorer
def test_wrong_calls_are_refused(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    with pytest.raises(UsageError, match="call fit first"):
        make().score(queries())
    with pytest.raises(UsageError, match="call fit first"):
        make().leave_one_out()
    with pytest.raises(UsageError, match="at least one normal clip"):
        make().fit(references[:0], [])
    with pytest.raises(UsageError, match="got 3 domains for 24 references"):
        make().fit(references, domains[:3])
    with pytest.raises(UsageError, match=r"shape \(6,\)"):
        make().fit(references[0], domains)
    scorer = make().fit(references, domains)
    with pytest.raises(UsageError, match="have 5 dimensions, the references 6"):
        scorer.score(queries()[:, :5])
    with pytest.raises(UsageError, match=r"shape \(6,\)"):
        scorer.score(queries()[0])
    references[2, 1] = torch.nan
    with pytest.raises(DataError, match="1 of 24 references are not finite"):
        make().fit(references, domains)
    with pytest.raises(DataError, match="24 embeddings are not finite"):
        scorer.score(references)


@every_scorer
def test_small_blocks_give_the_same_scores(
    make: Callable[[], Scorer], monkeypatch: pytest.MonkeyPatch
) -> None:
    references, domains = normal_clips()
    scorer = make().fit(references, domains)
    whole, held_out = scorer.score(queries(50)), scorer.leave_one_out()
    monkeypatch.setattr(_cosine_distances, "BLOCK", 3 * len(references))
    small = make().fit(references, domains)
    torch.testing.assert_close(small.score(queries(50)), whole, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(small.leave_one_out(), held_out, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in MAKERS if "nn" in name or "k" in name])
def test_no_matrix_of_distances_exceeds_a_block(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    references, domains = normal_clips(200, 20)
    monkeypatch.setattr(_cosine_distances, "BLOCK", 1000)
    largest = 0
    multiply = torch.Tensor.__matmul__

    def watched(self: Tensor, other: Tensor) -> Tensor:
        nonlocal largest
        product = multiply(self, other)
        largest = max(largest, product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", watched)
    scorer = MAKERS[name]().fit(references, domains)
    scorer.score(queries(300))
    scorer.leave_one_out()
    assert 0 < largest <= 1000


GROWING: dict[str, Callable[[], Scorer]] = {
    "knn": NearestNeighbourScorer,
    "3nn": lambda: NearestNeighbourScorer(neighbours=3),
    "kmeans": lambda: KMeansScorer(clusters=4),
    "kmeans-unit": lambda: KMeansScorer(clusters=4, renormalise=True),
}


@pytest.mark.parametrize("make", GROWING.values(), ids=GROWING.keys())
def test_one_more_target_reference_only_lowers_scores(make: Callable[[], Scorer]) -> None:
    references, domains = normal_clips()
    asked = queries(40)
    before = make().fit(references, domains).score(asked)
    for seed in range(10):
        new = torch.randn(1, D, generator=torch.Generator().manual_seed(seed))
        grown = make().fit(torch.cat([references, new]), [*domains, "target"])
        after = grown.score(asked)
        assert (after <= before + 1e-15).all()
        assert grown.score(new).item() <= make().fit(references, domains).score(new).item()


def test_arguments_out_of_range_are_refused() -> None:
    cases: list[tuple[Callable[[], Scorer], str]] = [
        (lambda: NearestNeighbourScorer(neighbours=0), "neighbours"),
        (lambda: NearestNeighbourScorer(density="log"), "density must be one of"),  # type: ignore[arg-type]
        (lambda: NearestNeighbourScorer(density_weights="rang"), "density_weights"),  # type: ignore[arg-type]
        (lambda: NearestNeighbourScorer(density_neighbours=0), "density_neighbours"),
        (lambda: NearestNeighbourScorer(smote=1.5), "smote"),
        (lambda: KMeansScorer(clusters=0), "clusters"),
        (lambda: GaussianMixtureScorer(components=0), "components"),
        (lambda: GaussianMixtureScorer(reg_covar=0.0), "reg_covar"),
        (lambda: MahalanobisScorer(shrinkage=-0.1), "shrinkage"),
        (lambda: LocalOutlierFactorScorer(neighbours=0), "neighbours"),
        (lambda: SubcentreScorer(torch.zeros(3)), "centres"),
        (lambda: SubcentreScorer(torch.zeros(0, 3)), "centres"),
    ]
    for make, words in cases:
        with pytest.raises(UsageError, match=words):
            make()
    with pytest.raises(DataError, match="not finite"):
        SubcentreScorer(torch.full((2, 3), torch.nan))
    with pytest.raises(UsageError, match="have 6 dimensions, the centres 4"):
        SubcentreScorer(torch.eye(4)).fit(*normal_clips())


@every_scorer
def test_windows_of_one_recording_are_left_out_together(make: Callable[[], Scorer]) -> None:
    # Two windows of each recording, nearly alike: alone left out, each would find its twin.
    first, _ = normal_clips(12, 0, seed=3)
    twins = torch.cat([first, first + 1e-6])
    groups = [str(row % 12) for row in range(24)]
    scorer = make().fit(twins, ["source"] * 24)
    together = scorer.leave_one_out(groups)
    by_hand = torch.empty(24, dtype=torch.float64)
    # Recordings are held out by tenths, in the sorted order of their first windows.
    order = list(dict.fromkeys(int(row) % 12 for row in scorer._order))
    for fold in range(10):
        held = [recording for at, recording in enumerate(order) if at % 10 == fold]
        out = torch.tensor([row % 12 in held for row in range(24)])
        rest = make().fit(twins[~out], ["source"] * int((~out).sum()))
        by_hand[out] = rest.score(twins[out])
    torch.testing.assert_close(together, by_hand)
    with pytest.raises(UsageError, match="recording"):
        scorer.leave_one_out(["same"] * 24)
    with pytest.raises(UsageError, match="groups"):
        scorer.leave_one_out(["a", "b"])
