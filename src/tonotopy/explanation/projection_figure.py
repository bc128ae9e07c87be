"""The picture of a projection."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tonotopy._errors import UsageError
from tonotopy._files import atomic_path
from tonotopy.explanation.figure import DOTS_PER_INCH, new_figure
from tonotopy.explanation.projection import Projection

# Okabe and Ito's colours, chosen to be told apart by colour-blind eyes.
PALETTE = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
MARKERS = "os^Dv<>P"


def write_projection(
    projection: Projection,
    path: Path | str,
    *,
    colours: Sequence[str],
    markers: Sequence[str] | None = None,
    outlined: Sequence[bool] | None = None,
    outline: str = "anomaly",
    title: str = "",
) -> None:
    """Draw points on a plane as a PNG file.

    Args:
        projection: N points.
        path: The file.
        colours: What the colour of each point means, N texts such as classes.
        markers: What the shape of each point means, such as domains.
        outlined: Points with a black outline, see `outline`.
        outline: What an outline means.
        title: First line of the title; how the picture was made stands below it.

    Raises:
        UsageError: A list has another length.
        DataError: The file cannot be written.
    """
    count = len(projection.positions)
    shapes = list(markers) if markers is not None else [""] * count
    edges = list(outlined) if outlined is not None else [False] * count
    if not len(colours) == len(shapes) == len(edges) == count:
        raise UsageError(
            f"{count} points need as many colours, markers and outlines; "
            f"got {len(colours)}, {len(shapes)}, {len(edges)}"
        )
    figure = new_figure(8.5, 7.0)
    axes = figure.add_subplot()
    places = projection.positions.numpy()
    groups = sorted(set(zip(colours, shapes, edges, strict=True)))
    hues, forms = sorted(set(colours)), sorted(set(shapes))
    for colour, shape, edge in groups:
        keys = zip(colours, shapes, edges, strict=True)
        own = np.array([key == (colour, shape, edge) for key in keys])
        label = ", ".join(filter(None, [colour, shape, outline if edge else ""]))
        axes.scatter(
            places[own, 0],
            places[own, 1],
            s=60 if edge else 34,
            c=PALETTE[hues.index(colour) % len(PALETTE)],
            marker=MARKERS[forms.index(shape) % len(MARKERS)],
            edgecolors="black" if edge else "white",
            linewidths=1.4 if edge else 0.4,
            zorder=3 if edge else 2,
            label=f"{label} ({own.sum()})".replace("$", r"\$"),
        )
    axes.set_title("\n".join(filter(None, [title, describe_projection(projection)])), fontsize=10)
    # Distances on the plane have no unit, but both axes must have the same.
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    if len(groups) <= 24:
        axes.legend(fontsize=8, loc="best", framealpha=0.9)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def describe_projection(projection: Projection) -> str:
    """Say in one line how a projection was made and how far to trust it."""
    text: str = projection.method
    if not math.isnan(projection.perplexity):
        text += f", perplexity {projection.perplexity:.3g}"
    if not math.isnan(projection.overlap):
        chance = projection.neighbours / (len(projection.positions) - 1)
        text += (
            f"; {100 * projection.overlap:.0f} % of the {projection.neighbours} nearest neighbours "
            f"kept ({100 * chance:.0f} % by chance)"
        )
    return text + (f"\n{projection.note}" if projection.note else "")
