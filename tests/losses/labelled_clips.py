"""Random labelled clips over random trees: ragged, with chains, small leaves, missing labels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from hypothesis import strategies as st
from torch import Tensor
from tree_pair_rows import shared_levels

from tonotopy.labels import LabelTree

Labelled = tuple[LabelTree, list[tuple[str, ...]]]


@st.composite
def labelled_clips(draw: st.DrawFn) -> Labelled:
    """Draw a tree of one to four levels and the paths of up to 60 clips; one at least is known."""
    name = st.sampled_from("abc")
    paths = draw(st.lists(st.lists(name, min_size=1, max_size=4), min_size=1, max_size=12))
    tree = LabelTree(map(tuple, paths))
    nodes = [tree.path(node) for node in range(tree.num_nodes)]
    known = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=40))
    rest = draw(st.lists(st.sampled_from([(), *nodes]), max_size=20))
    return tree, known + rest


def certain_levels(codes: Tensor, batch: Sequence[int]) -> set[int]:
    """Levels that some two clips of a batch certainly share, no more and no less."""
    rows = codes.tolist()
    bounds = {shared_levels(rows[a], rows[b]) for a, b in combinations(batch, 2)}
    return {lo for lo, hi in bounds if lo == hi}


def spread() -> tuple[LabelTree, Tensor]:
    """A tree of three levels with leaves of very different sizes, and 100 clips."""
    names = [(f, i, t) for f in "ab" for i in "xy" for t in "pq"] + [("c", "z", "r")]
    tree = LabelTree([*names, ("d",)])
    random = torch.Generator().manual_seed(0)
    weights = torch.arange(1.0, len(names) + 1)
    picks = torch.multinomial(weights, 80, replacement=True, generator=random).tolist()
    paths: list[tuple[str, ...]] = [names[pick] for pick in picks]
    paths += [("d",)] * 5 + [("a",)] * 4 + [("b", "x")] * 4 + [()] * 6 + [names[0]]
    return tree, tree.encode(paths)
