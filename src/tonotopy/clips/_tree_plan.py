"""How batches descend a label tree: whom a visit of a node passes its share on to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tonotopy.clips._clip_ranges import ROOT, ClipRanges

OWN = -1
"""Stands among the children of a node for its own clips, those known no further."""


@dataclass(frozen=True)
class NodePlan:
    """What every visit of a node does.

    Attributes:
        candidates: Children with clips, and `OWN` where the own clips take turns with them.
        seats: How many of them a visit takes.
        own_seat: Whether the own clips have a seat besides, in some of the visits.
        own_required: Visits that the own clips need, so that each of them occurs.
        required: Visits that the node needs, so that each clip at or below it occurs.
        certain: Levels that two clips of every visit share.
    """

    candidates: tuple[int, ...]
    seats: int
    own_seat: bool
    own_required: int
    required: int
    certain: frozenset[int]


def plan_descent(ranges: ClipRanges, branching: Sequence[int], size: int) -> dict[int, NodePlan]:
    """Plan the visits of all nodes with clips.

    The share of a visit is parted evenly among its seats. It is never less than one clip a seat,
    so a node is needed in as many visits as its children are, dealt out over the seats.

    Args:
        ranges: The clips.
        branching: Children to take at each depth; one at depths beyond.
        size: Clips that every batch takes this way, at least 1.
    """
    wanted = dict(enumerate(branching))
    least = {ROOT: size}
    nodes = ranges.nodes()
    seating: dict[int, tuple[tuple[int, ...], int, bool]] = {}
    for node in nodes:
        seating[node] = _seats(ranges, node, least[node], wanted.get(ranges.tree.depth(node), 1))
        _, seats, own_seat = seating[node]
        for child in ranges.children[node]:
            least[child] = least[node] // (seats + own_seat)
    plans: dict[int, NodePlan] = {}
    for node in reversed(nodes):
        plans[node] = _plan(ranges, node, least[node], seating[node], plans)
    return plans


def levels_present(ranges: ClipRanges) -> dict[int, list[int]]:
    """Give every level that two clips certainly share, with the nodes where two such part.

    Clips of one leaf share all L levels; their nodes are the leaves with two clips.
    """
    present: dict[int, list[int]] = {}
    for node in ranges.nodes():
        if len(ranges.children[node]) > 1:
            present.setdefault(ranges.tree.depth(node), []).append(node)
        if node != ROOT and ranges.tree.is_leaf(node) and ranges.size(node) > 1:
            present.setdefault(ranges.tree.num_levels, []).append(node)
    return present


def _seats(
    ranges: ClipRanges, node: int, least: int, wanted: int
) -> tuple[tuple[int, ...], int, bool]:
    children, has_own = tuple(ranges.children[node]), ranges.own_size(node) > 0
    if not children:
        return (), 0, True
    if has_own and least == 1:
        return (*children, OWN), 1, False
    return children, min(wanted, len(children), least - has_own), has_own


def _plan(
    ranges: ClipRanges,
    node: int,
    least: int,
    seating: tuple[tuple[int, ...], int, bool],
    plans: dict[int, NodePlan],
) -> NodePlan:
    candidates, seats, own_seat = seating
    children, own = ranges.children[node], ranges.own_size(node)
    own_required = math.ceil(own / min(own, least // (seats + own_seat))) if own else 0
    needs = [plans[child].required for child in children]
    if OWN in candidates:
        needs.append(own_required)
    required = max([own_required, *needs])
    if not candidates:
        pair = node != ROOT and ranges.tree.is_leaf(node) and min(own, least) > 1
        levels = {ranges.tree.num_levels} if pair else set()
    else:
        required = max(required, math.ceil(sum(needs) / seats))
        holders = Counter(level for child in children for level in plans[child].certain)
        levels = {level for level, held in holders.items() if len(candidates) - held < seats}
        levels |= {ranges.tree.depth(node)} if seats > 1 else set()
    return NodePlan(candidates, seats, own_seat, own_required, required, frozenset(levels))
