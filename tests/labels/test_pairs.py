"""What a pair of labels says, against all completions of the unknown."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from tonotopy.labels import LabelTree, lca_depth_interval

names = st.sampled_from("abc")
label_paths = st.lists(st.lists(names, min_size=1, max_size=4).map(tuple), min_size=1, max_size=8)


@settings(deadline=None)
@given(label_paths)
def test_the_upper_bound_is_the_best_completion(paths: list[tuple[str, ...]]) -> None:
    tree = LabelTree(paths)
    every = [tree.path(node) for node in range(tree.num_nodes)] + [()]
    codes = tree.encode(every)
    lo, hi = lca_depth_interval(codes, codes)
    leaves = [tree.path(leaf) for leaf in tree.leaves]
    for i, j in product(range(len(every)), repeat=2):
        first, second = (
            [leaf for leaf in leaves if leaf[: len(path)] == path] for path in (every[i], every[j])
        )
        possible = {tree.lca_depth(tree.node(a), tree.node(b)) for a, b in product(first, second)}
        assert hi[i, j] == max(possible)
        assert lo[i, j] <= min(possible)
        common = sum(1 for _ in _common(every[i], every[j]))
        assert lo[i, j] == common


def _common(a: tuple[str, ...], b: tuple[str, ...]) -> list[str]:
    shared = []
    for x, y in zip(a, b, strict=False):
        if x != y:
            break
        shared.append(x)
    return shared


def test_rows_and_columns_may_differ() -> None:
    tree = LabelTree([("a", "x"), ("a", "y"), ("b",)])
    lo, hi = lca_depth_interval(
        tree.encode([("a", "x"), ("a",)]), tree.encode([("a", "y"), ("b",), ("a", "x")])
    )
    assert lo.tolist() == [[1, 0, 2], [1, 0, 1]]
    assert hi.tolist() == [[1, 0, 2], [2, 0, 2]]
