"""The words and rows of the taxonomy part: how well each level and node of the tree is told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tonotopy._files import finite
from tonotopy.labels import display_name
from tonotopy.reporting._sections import DASH, NO_BREAK, Tile, percent, ratio

MAX_OPEN_ROWS = 60
Path = tuple[str, ...]


@dataclass
class Node:
    """One node of the label tree with its scores.

    Attributes:
        path: Names from coarse to fine.
        clips: Judged clips at or under it.
        recall: Share of its clips that were found; `None` where unknown.
        precision: Share of the clips put there that belong there; `None` where unknown.
        mistakes: What its clips were taken for, as texts.
        children: The nodes below it.
        open: Whether the page shows its children from the start.
    """

    path: Path
    clips: int
    recall: float | None
    precision: float | None
    mistakes: tuple[str, ...]
    children: list[Node] = field(default_factory=list)
    open: bool = False

    @property
    def name(self) -> str:
        """Its own name, on one line."""
        return display_name(self.path[-1:])


def read_tree(metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the scores of the label tree without NaN, or `None` where none were measured."""
    tree = finite(metrics.get("tree"))
    return tree or None


def build_nodes(rows: Sequence[Mapping[str, Any]]) -> list[Node]:
    """Nest the rows of nodes, parents before children, and open what fits on a screen.

    Returns:
        The nodes of level 1. Those levels are open that show at most `MAX_OPEN_ROWS` rows together.
    """
    nodes: dict[Path, Node] = {}
    roots: list[Node] = []
    for row in rows:
        path = tuple(row["path"])
        nodes[path] = Node(
            path=path,
            clips=int(row.get("clips") or 0),
            recall=row.get("recall"),
            precision=row.get("precision"),
            mistakes=tuple(_mistake(path, *found) for found in row.get("mistakes") or ()),
        )
        parent = nodes.get(path[:-1])
        (roots if parent is None else parent.children).append(nodes[path])
    deepest = _deepest_open([len(path) for path in nodes])
    for path, node in nodes.items():
        node.open = len(path) < deepest
    return roots


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """Give every node, each before its children."""
    for node in nodes:
        yield node
        yield from walk(node.children)


def _mistake(path: Path, name: str, count: float | None) -> str:
    # A sister needs no path: the row it stands in says where it is.
    near = display_name(path[:-1]) + "/"
    return tallied(name.removeprefix(near), count)


def tallied(name: str, count: float | None) -> str:
    """Write a name with its number of clips, `"Strings/Cello (7)"`."""
    return f"{name}{NO_BREAK}({count or 0:.0f})"


def _deepest_open(depths: Sequence[int]) -> int:
    levels = range(1, max(depths, default=0) + 1)
    fitting = [d for d in levels if sum(depth <= d for depth in depths) <= MAX_OPEN_ROWS]
    return max(fitting, default=1)


def shared_names(path: Sequence[str], shown: str) -> int:
    r"""Count the leading names of a path that a label as the page shows it begins with.

    >>> shared_names(("Strings", "Violin", "pizzicato"), "Strings/Violin/arco")
    2
    """
    depths = range(len(path), 0, -1)
    return next((d for d in depths if f"{shown}/".startswith(f"{display_name(path[:d])}/")), 0)


def level_rows(levels: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Write the scores of each level, coarse to fine, as cells of a table."""
    return [_level_row(level, len(levels)) for level in levels]


def _level_row(level: Mapping[str, Any], num_levels: int) -> tuple[str, ...]:
    knn = level.get("knn") or {}
    neighbours = "" if knn.get("k") is None else f" (k{NO_BREAK}={NO_BREAK}{knn['k']})"
    ends = {1: " (coarsest)", num_levels: " (finest)"}
    end = ends.get(level["level"], "") if num_levels > 1 else ""
    return (
        f"{level['level']}{end}",
        count(level.get("classes")),
        count(level.get("clips")),
        percent(level.get("accuracy")),
        percent(level.get("macro_f1")),
        percent(knn.get("accuracy")) + neighbours,
        ratio(level.get("map")),
        ratio(level.get("r_precision")),
        ratio(level.get("silhouette")),
    )


def count(value: float | None) -> str:
    """Write a whole number, or a dash where it is unknown."""
    return DASH if value is None else f"{value:.0f}"


def mistake_tiles(tree: Mapping[str, Any]) -> list[Tile]:
    """List how many predictions are wrong and how wrong; empty without predictions."""
    mistakes, shared = tree.get("mistakes"), tree.get("hierarchical") or {}
    if not mistakes:
        return []
    finest: Mapping[str, Any] = next(
        (level for level in reversed(tree["levels"]) if _judged(level)), {}
    )
    wrong = f"{count(mistakes.get('count'))} of {count(mistakes.get('judged'))}"
    return [
        Tile("accuracy, finest level", percent(finest.get("accuracy")), "100 % best"),
        Tile("mistakes", wrong, "clips with a wrong class"),
        Tile(
            "mistake severity",
            ratio(mistakes.get("severity")),
            "levels up from a mistake to a node shared with the truth; 1 is nearest",
        ),
        Tile(
            "mean LCA height",
            ratio(mistakes.get("mean_lca_height")),
            "the same over all clips, right ones count 0; 0 best",
        ),
        Tile(
            "hierarchical F1",
            ratio(shared.get("f1")),
            f"overlap of ancestors: precision {ratio(shared.get('precision'))}, recall"
            f" {ratio(shared.get('recall'))}; 1 best",
        ),
    ]


def _judged(level: Mapping[str, Any]) -> bool:
    return level.get("accuracy") is not None


def space_tiles(tree: Mapping[str, Any]) -> list[Tile]:
    """List how well distances between embeddings follow the label tree."""
    floor = ratio(tree.get("mnr_floor"))
    return [
        Tile("NDCG", ratio(tree.get("ndcg")), "closer relatives rank first; 1 best"),
        Tile(
            "mean normalised rank",
            ratio(tree.get("mnr")),
            f"place of relatives, 0.5 is chance; {floor} is the best possible here",
        ),
        Tile("triplet accuracy", percent(tree.get("triplet_accuracy")), _TRIPLETS),
        Tile(
            "CPCC",
            ratio(tree.get("cpcc")),
            "correlation of distances in the tree and in the space; 1 best",
        ),
        Tile(
            "misplaced pairs",
            percent(tree.get("misplaced_pairs")),
            "pairs nearer or farther than their level should be; 0 % best",
        ),
        Tile("silhouette", ratio(tree.get("silhouette")), "mean over levels, -1 to 1; 1 best"),
        Tile(
            "precision at 5",
            ratio(tree.get("precision_at_5")),
            "of the 5 nearest, share of the same finest class; 1 best",
        ),
        Tile(
            "adaptive precision at 5",
            ratio(tree.get("adaptive_precision_at_5")),
            "the same, with fewer than 5 for classes that have fewer; 1 best",
        ),
        Tile(
            "hierarchical precision at 5",
            ratio(tree.get("hierarchical_precision_at_5")),
            "the same, relatives count in part; 1 best",
        ),
    ]


_TRIPLETS = "of three clips, the closer relative lies nearer; 100 % best, 50 % is chance"


def basis(tree: Mapping[str, Any]) -> str:
    """Say from how many clips and pairs the numbers about distances come."""
    pairs = tree.get("pairs")
    sampled = pairs.get("sampled_clips") if isinstance(pairs, dict) else None
    drawn = "all pairs" if sampled is None else f"the pairs of {sampled} clips drawn at random"
    return f"Ranked for {count(tree.get('queries'))} queries; pairs and triplets from {drawn}."
