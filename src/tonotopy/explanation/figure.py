"""The picture of an explanation: spectrogram, map, curves and the nearest normal clips."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tonotopy._files import atomic_path
from tonotopy.explanation.explain import Explanation, Neighbour
from tonotopy.explanation.faithfulness import Curve
from tonotopy.explanation.maskable import WINDOW, stft_magnitudes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

RANGE_DB = 80.0
FULL_SCALE = WINDOW / 4  # magnitude of a sine of amplitude 1 under a Hann window of 1024
DOTS_PER_INCH = 110
MOST_NEIGHBOURS = 3
LEVEL_COLOURS = "magma"
# Purple lowers, orange raises: told apart by every kind of colour vision.
MAP_COLOURS = "PuOr_r"
ORANGE, PURPLE, GREY = "#b35806", "#542788", "#8a8a8a"
TICKS_HERTZ = np.array(
    [0, 125, 250, 500, 1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 12000, 16000, 24000, 48000]
)


def write_figure(explanation: Explanation, path: Path | str) -> None:
    """Draw an explanation as a PNG file.

    Raises:
        DataError: The file cannot be written.
    """
    figure = draw_explanation(explanation)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def draw_explanation(explanation: Explanation) -> Figure:
    """Draw what `write_figure` writes: the clip left, its nearest normals right."""
    shown = [near for near in explanation.neighbours if near.waveform is not None]
    shown = shown[:MOST_NEIGHBOURS]
    figure = new_figure(14.0 if shown else 9.5, 9.5)
    columns = figure.add_gridspec(1, 2 if shown else 1, width_ratios=[2.0, 1.0][: 1 + bool(shown)])
    left = columns[0].subgridspec(3, 2, height_ratios=[1.0, 1.0, 0.8])
    figure.suptitle(_title(explanation), fontsize=12)

    levels = _levels(explanation.values, explanation.unit)
    scale = {"vmin": float(levels.min()), "vmax": float(levels.max())}
    if explanation.unit == "magnitude":
        scale["vmin"] = max(scale["vmin"], scale["vmax"] - RANGE_DB)
    _draw_clip(figure.add_subplot(left[0, :]), explanation, levels, scale)
    _draw_map(figure.add_subplot(left[1, :]), explanation, levels, scale)

    faithfulness = explanation.faithfulness
    axes = figure.add_subplot(left[2, 0])
    _draw_curve(axes, faithfulness.insertion, "Insertion: shown, most telling first", ORANGE)
    axes.set(xlabel="share of the clip shown (%)", ylabel="anomaly score")
    beside = figure.add_subplot(left[2, 1], sharey=axes)
    _draw_curve(beside, faithfulness.deletion, "Deletion: hidden, most telling first", PURPLE)
    beside.set_xlabel("share of the clip hidden (%)")
    if explanation.threshold is not None:
        for each in (axes, beside):
            each.axhline(explanation.threshold, color="black", linestyle=":", label="threshold")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.5 * (high - low))  # room for the legends
    axes.legend(prop={"size": 8}, loc="upper right")
    beside.legend(prop={"size": 8}, loc="upper right")

    if shown:
        right = columns[1].subgridspec(MOST_NEIGHBOURS, 1)
        shared = scale if explanation.unit == "magnitude" else {}
        for row, neighbour in enumerate(shown):
            _draw_neighbour(figure.add_subplot(right[row]), neighbour, row, shared)
    return figure


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure, in inches, that draws without a screen and without global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _title(explanation: Explanation) -> str:
    head = f"{_plain(explanation.name)}: anomaly score {explanation.score:.4g}"
    if explanation.threshold is not None:
        verdict = "anomaly" if explanation.score > explanation.threshold else "normal"
        head += f", threshold {explanation.threshold:.4g}: {verdict}"
    lines = [head]
    region = explanation.region
    if region is not None:
        where = f"{region.start:.1f} to {region.end:.1f} s"
        if region.low is not None and region.high is not None:
            where += f", {region.low / 1000:.2f} to {region.high / 1000:.2f} kHz"
        lines.append(f"raised most by {where} ({100 * region.share:.0f} % of the map)")
    if explanation.cautions:
        lines += textwrap.wrap("Caution: " + "; ".join(explanation.cautions), 120)
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Keep a dollar sign of a file name from starting a formula."""
    return text.replace("$", r"\$")


def _levels(values: Tensor, unit: str) -> NDArray[np.float64]:
    levels: NDArray[np.float64] = values.double().cpu().numpy()
    if unit == "magnitude":
        levels = 20 * np.log10(np.maximum(levels / FULL_SCALE, 1e-7))
    return levels


def _draw_clip(
    axes: Axes, explanation: Explanation, levels: NDArray[np.float64], scale: dict[str, float]
) -> None:
    image = _draw_levels(axes, explanation, levels, cmap=LEVEL_COLOURS, **scale)
    axes.set_title("What the model hears", fontsize=10, loc="left")
    unit = "dB re full scale" if explanation.unit == "magnitude" else "feature value"
    axes.figure.colorbar(image, ax=axes, label=unit, pad=0.01)


def _draw_map(
    axes: Axes, explanation: Explanation, levels: NDArray[np.float64], scale: dict[str, float]
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    saliency = explanation.saliency.centred.numpy()
    limit = float(np.abs(saliency).max()) or 1.0
    _draw_levels(axes, explanation, levels, cmap="gray", **scale)
    colours = Normalize(-limit, limit)
    # Transparent where the map says nothing, so that the sound stays visible below.
    _draw_levels(
        axes,
        explanation,
        saliency,
        cmap=MAP_COLOURS,
        norm=colours,
        alpha=np.clip(np.abs(saliency) / limit, 0, 1) * 0.85,
    )
    region = explanation.region
    if region is not None:
        low, high = (
            (0, len(saliency))
            if region.low is None or region.high is None or explanation.hertz is None
            else (
                int((explanation.hertz < region.low).sum()),
                int((explanation.hertz <= region.high).sum()),
            )
        )
        axes.add_patch(
            Rectangle(
                (region.start, low),
                region.end - region.start,
                high - low,
                fill=False,
                edgecolor="white",
                linestyle="--",
            )
        )
    by = "random masks" if explanation.method == "rise" else "sliding patch"
    title = f"What raises (orange) and lowers (purple) the score; {by}, hidden: {explanation.fill}"
    if explanation.saliency.split_half == explanation.saliency.split_half:
        title += f", split-half r = {explanation.saliency.split_half:.2f}"
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("time (s)")
    bar = ScalarMappable(colours, MAP_COLOURS)
    axes.figure.colorbar(bar, ax=axes, label="change of the score", pad=0.01)


def _draw_levels(
    axes: Axes, explanation: Explanation, levels: NDArray[np.float64], **options: Any
) -> AxesImage:
    seconds = explanation.seconds
    step = float(seconds[1] - seconds[0]) if len(seconds) > 1 else 1.0
    start = float(seconds[0]) - step / 2
    return _draw_picture(axes, levels, start, step, explanation.hertz, **options)


def _draw_picture(
    axes: Axes,
    levels: NDArray[np.float64],
    start: float,
    step: float,
    hertz: Tensor | None,
    **options: Any,
) -> AxesImage:
    bins, frames = levels.shape
    image = axes.imshow(
        levels,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(start, start + step * frames, 0, bins),
        **options,
    )
    axes.set_xlim(max(start, 0), start + step * frames)
    if hertz is None:
        axes.set_ylabel("bin")
        return image
    # Rows stay equally high, whether bins are mel bands or not; the ticks say what they are.
    centres = hertz.double().numpy()
    ticks = TICKS_HERTZ[(centres[0] <= TICKS_HERTZ) & (centres[-1] >= TICKS_HERTZ)]
    places = np.interp(ticks, centres, np.arange(bins) + 0.5)
    apart = [0, *(np.flatnonzero(np.diff(places) > bins / 14) + 1)] if len(ticks) else []
    axes.set_yticks(places[apart], [f"{tick / 1000:g}" for tick in ticks[apart]])
    axes.set_ylabel("frequency (kHz)")
    return image


def _draw_curve(axes: Axes, curve: Curve, title: str, colour: str) -> None:
    percent = 100 * curve.shares.numpy()
    random = curve.random.numpy()
    low, high = random.min(axis=0), random.max(axis=0)
    axes.fill_between(percent, low, high, color=GREY, alpha=0.3, linewidth=0)
    mean = float(curve.random_areas.mean())
    label = f"blind maps, area {mean:.4g} ± {curve.spread:.2g}"
    axes.plot(percent, random.mean(axis=0), color=GREY, linestyle="--", label=label)
    axes.plot(
        percent,
        curve.scores.numpy(),
        color=colour,
        linewidth=2,
        label=f"map, area {curve.area:.4g}",
    )
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlim(0, 100)
    axes.grid(alpha=0.25)


def _draw_neighbour(axes: Axes, neighbour: Neighbour, row: int, scale: dict[str, float]) -> None:
    assert neighbour.waveform is not None
    magnitudes = stft_magnitudes(neighbour.waveform.cpu().float())
    levels = _levels(magnitudes, "magnitude")
    if not scale:
        scale = {"vmin": float(levels.max()) - RANGE_DB, "vmax": float(levels.max())}
    rate = neighbour.sample_rate
    step = WINDOW / 2 / rate
    hertz = torch.arange(levels.shape[0]) * rate / WINDOW
    _draw_picture(axes, levels, -step / 2, step, hertz, cmap=LEVEL_COLOURS, **scale)
    name = _plain(textwrap.shorten(neighbour.name, 44, placeholder="…"))
    axes.set_title(
        f"Nearest normal {row + 1} (cosine {neighbour.cosine:.3f})\n{name}", fontsize=9, loc="left"
    )
    axes.set_xlabel("time (s)")
