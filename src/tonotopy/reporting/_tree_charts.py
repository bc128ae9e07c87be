"""Figures about the label tree, as plain plotly.js JSON like the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tonotopy.reporting._charts import Figure, confusion_figure, plain
from tonotopy.reporting._run import Clip
from tonotopy.reporting._sections import percent
from tonotopy.reporting._tree_sections import Node, Path, shared_names, walk


def level_confusions(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Draw one confusion matrix a level.

    Args:
        rows: Level, class names and counts, true classes in rows.

    Returns:
        `{"level", "figure"}`, coarse to fine.
    """
    return [
        {
            "level": row["level"],
            "figure": confusion_figure(
                [[count or 0 for count in counts] for counts in row["counts"]],
                row["names"],
                range(len(row["names"])),
            ),
        }
        for row in rows
    ]


def silhouette_figure(levels: Sequence[Mapping[str, Any]]) -> Figure | None:
    """Draw the silhouette of each level as a bar; `None` where no level has one."""
    values = [level.get("silhouette") for level in levels]
    if all(value is None for value in values):
        return None
    names = [f"level {level['level']}" for level in levels]
    trace = _bars(names, values, text=["" if v is None else f"{v:.2f}" for v in values])
    trace["hovertemplate"] = "%{x}: silhouette %{y:.3f}<extra></extra>"
    low = min([0.0, *(value for value in values if value is not None)])
    # Up to the best value, so that small differences look small; room for the text of low bars.
    return _bar_figure(trace, y="silhouette", bounds=(low - 0.12 if low < 0 else 0.0, 1.0))


def sunburst_figure(roots: Sequence[Node]) -> Figure | None:
    """Draw the label tree as rings, the coarsest inside; `None` where there is no node.

    The arc of a node is its number of clips, or equal for all leaves where no clip was judged; the
    colour is its recall.
    """
    counted = any(node.clips for node in walk(roots))
    # A class without clips would be a line of no width, with a name that covers others.
    nodes = [node for node in walk(roots) if _whole_arc(node) or not counted]
    if not nodes:
        return None
    number = {node.path: place for place, node in enumerate(nodes)}
    trace: dict[str, Any] = {
        "type": "sunburst",
        # Numbers, since names repeat in the tree and a name may be any text.
        "ids": [str(place) for place in number.values()],
        "parents": [str(number.get(node.path[:-1], "")) for node in nodes],
        "labels": [plain(node.name) for node in nodes],
        "values": [_own_arc(node, counted) for node in nodes],
        "customdata": [_hover(node) for node in nodes],
        "branchvalues": "remainder",
        "sort": False,
        "insidetextorientation": "radial",
        "hovertemplate": "%{customdata}<extra></extra>",
        "marker": {"line": {"width": 1}},
    }
    if any(node.recall is not None for node in nodes):
        trace["marker"] |= {
            "colors": [node.recall for node in nodes],
            "cmin": 0,
            "cmax": 1,
            "colours": "blues",
            "colorbar": {"tickformat": ".0%", "title": {"text": "recall", "side": "top"}},
        }
    return {"data": [trace], "layout": {"margin": {"l": 4, "r": 20, "t": 4, "b": 4}}}


def _own_arc(node: Node, counted: bool) -> int:
    # A ring is closed: what the children do not fill are clips whose finer label is unknown.
    if not counted:
        return 0 if node.children else 1
    return max(node.clips - sum(_whole_arc(child) for child in node.children), 0)


def _whole_arc(node: Node) -> int:
    return max(node.clips, sum(_whole_arc(child) for child in node.children))


def _hover(node: Node) -> str:
    lines = [f"<b>{plain('/'.join(node.path))}</b>", f"{node.clips} clips"]
    if node.recall is not None or node.precision is not None:
        lines.append(f"recall {percent(node.recall)}, precision {percent(node.precision)}")
    return "<br>".join(lines)


def mistake_heights(clips: Iterable[Clip], roots: Sequence[Node]) -> Counter[int]:
    """Count wrong predictions by the height of the lowest node shared with the truth.

    The height of a node is the number of steps down to its deepest leaf; the root has the depth of
    the tree. Labels that are not in the tree are left out.

    Args:
        clips: Judged clips.
        roots: The nodes of level 1.
    """
    heights = {node.path: _height(node) for node in walk(roots)}
    heights[()] = 1 + max((_height(root) for root in roots), default=-1)
    wrong = (clip for clip in clips if clip.right is False and clip.label in heights)
    return Counter(heights[_meeting(clip)] for clip in wrong)


def _meeting(clip: Clip) -> Path:
    return clip.label[: shared_names(clip.label, clip.predicted or "")]


def _height(node: Node) -> int:
    return 1 + max((_height(child) for child in node.children), default=-1)


def mistake_figure(heights: Mapping[int, int], highest: int) -> Figure | None:
    """Draw how far mistakes go, one bar a height from 1 to `highest`; `None` without mistakes."""
    total = sum(heights.values())
    if not total:
        return None
    places = range(min([1, *heights]), max([highest, *heights]) + 1)
    counts = [heights.get(place, 0) for place in places]
    ends = {1: "<br>nearest", highest: "<br>farthest"} if highest > 1 else {}
    trace = _bars(
        [f"{place}{ends.get(place, '')}" for place in places],
        counts,
        text=[f"{count} ({count / total:.0%})" for count in counts],
    )
    trace["hovertemplate"] = "height %{x}: %{y} mistakes<extra></extra>"
    figure = _bar_figure(trace, y="mistakes", bounds=(0.0, 1.15 * max(counts)))
    figure["layout"]["xaxis"]["title"] = {"text": "height of the lowest shared node"}
    return figure


def severity_figure(ways: Sequence[tuple[str, float, float]]) -> Figure | None:
    """Draw mistake severity against accuracy, a point each; the lower right corner is best.

    Severity alone rewards a model for many easy mistakes; beside the accuracy it cannot.

    Args:
        ways: Name, accuracy and severity of each way to classify.

    Returns:
        The figure; `None` where there is none.
    """
    if not ways:
        return None
    trace = {
        "type": "scatter",
        "mode": "markers+text",
        "x": [x for _, x, _ in ways],
        "y": [y for _, _, y in ways],
        "text": [plain(name) for name, _, _ in ways],
        "textposition": ["middle right" if x < 0.5 else "middle left" for _, x, _ in ways],
        "marker": {"size": 9},
        "hovertemplate": "%{text}<br>accuracy %{x:.1%}<br>severity %{y:.3f}<extra></extra>",
    }
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "accuracy"}, "tickformat": ".0%", "range": [-0.05, 1.05]},
        "yaxis": {
            "title": {"text": "mistake severity"},
            "range": [0.0, 1.15 * max(y for _, _, y in ways)],
        },
    }
    return {"data": [trace], "layout": layout}


def _bars(
    names: Sequence[str], values: Sequence[float | None], *, text: Sequence[str]
) -> dict[str, Any]:
    return {
        "type": "bar",
        "x": list(names),
        "y": list(values),
        "text": list(text),
        "textposition": "outside",
        "cliponaxis": False,
        "width": 0.6,
    }


def _bar_figure(trace: dict[str, Any], *, y: str, bounds: tuple[float, float]) -> Figure:
    layout = {
        "showlegend": False,
        "xaxis": {"type": "category"},
        "yaxis": {"title": {"text": y}, "range": list(bounds)},
    }
    return {"data": [trace], "layout": layout}
