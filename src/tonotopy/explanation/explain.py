"""Explain the anomaly score of one clip: a map, how far to trust it, and the nearest normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tonotopy._errors import UsageError
from tonotopy.explanation.faithfulness import Curve, Faithfulness, measure_faithfulness
from tonotopy.explanation.fills import Fill, fill_values
from tonotopy.explanation.maskable import Maskable
from tonotopy.explanation.occlusion import occlude
from tonotopy.explanation.random_masks import GRID, Grid
from tonotopy.explanation.region import Region, cell_means, strongest_region
from tonotopy.explanation.rise import AGREEMENT, SaliencyMap, rise
from tonotopy.explanation.scoring import score_one

Method = Literal["rise", "occlusion"]

BETTER_THAN = 0.9
"""Share of blind maps that a faithful map must beat in insertion and in deletion."""

ITSELF = 1 - 1e-6
"""Cosine from which two embeddings count as those of the same sound."""


@dataclass(frozen=True)
class Neighbour:
    """A normal clip that is near to the explained one.

    Attributes:
        name: What to call it.
        cosine: Cosine similarity of the embeddings.
        waveform: (L,), to be seen and heard; None where the recording is not at hand.
        sample_rate: Of the waveform, in hertz.
    """

    name: str
    cosine: float
    waveform: Tensor | None = None
    sample_rate: int = 16000


@dataclass(frozen=True)
class Explanation:
    """Why a clip has the score it has.

    Attributes:
        name: Name of the clip.
        method: `"rise"` or `"occlusion"`.
        fill: What stood in hidden places.
        seed: Seed of all that was random.
        values: Magnitudes or features of the clip, (F, T), on the CPU.
        seconds: Time of each frame, (T,).
        hertz: Frequency of each bin, (F,), or None.
        unit: See `Maskable`.
        score: Score of the whole clip.
        hidden_score: Score with everything hidden; the map can only explain the difference.
        threshold: Scores above it are anomalies; None where there is no threshold.
        saliency: The map.
        faithfulness: Insertion and deletion curves of the map.
        region: The strongest connected region; None for a map without a positive place.
        grid: Cells along time and frequency.
        neighbours: Nearest normal clips, nearest first.
    """

    name: str
    method: Method
    fill: Fill
    seed: int
    values: Tensor
    seconds: Tensor
    hertz: Tensor | None
    unit: str
    score: float
    hidden_score: float
    threshold: float | None
    saliency: SaliencyMap
    faithfulness: Faithfulness
    region: Region | None
    grid: Grid
    neighbours: tuple[Neighbour, ...]

    @property
    def cautions(self) -> list[str]:
        """Reasons to distrust the map, in words; empty when there is none."""
        if not self.faithfulness.ordered:
            return [f"no mask changes the score: the fill '{self.fill}' hides nothing that counts"]
        found = []
        if self.neighbours and self.neighbours[0].cosine > ITSELF:
            found.append("the clip is among the normal ones it is compared with, and so near to 0")
        if self.saliency.split_half < AGREEMENT:
            found.append(
                f"the map is not settled (split-half correlation {self.saliency.split_half:.3f}, "
                f"below {AGREEMENT}): use more masks"
            )
        if self.hidden_score >= self.score:
            found.append(
                f"with everything hidden the score is no lower ({self.hidden_score:.3g}): the "
                f"fill '{self.fill}' is as anomalous as the clip; try another"
            )
        insertion, deletion = self.faithfulness.insertion, self.faithfulness.deletion
        beaten = min(
            float((insertion.random_areas < insertion.area).double().mean()),
            float((deletion.random_areas > deletion.area).double().mean()),
        )
        if beaten < BETTER_THAN:
            found.append(f"the map is truer to the score than only {beaten:.0%} of blind maps")
        return found

    def summary(self) -> dict[str, Any]:
        """Give everything but the pictures as plain values for JSON; NaN stands where undefined."""
        return {
            "name": self.name,
            "score": self.score,
            "threshold": self.threshold,
            "anomaly": None if self.threshold is None else self.score > self.threshold,
            "hidden_score": self.hidden_score,
            "method": self.method,
            "fill": self.fill,
            "seed": self.seed,
            "evaluations": self.saliency.evaluations,
            "split_half_correlation": self.saliency.split_half,
            "region": None if self.region is None else self.region.to_dict(),
            "grid": {"time": self.grid[0], "frequency": self.grid[1]},
            # Rows from the lowest frequency up, columns in time.
            "map": cell_means(self.saliency.centred, self.grid).tolist(),
            "insertion": _curve_summary(self.faithfulness.insertion),
            "deletion": _curve_summary(self.faithfulness.deletion),
            "neighbours": [
                {"name": neighbour.name, "cosine": neighbour.cosine}
                for neighbour in self.neighbours
            ],
            "cautions": self.cautions,
        }


def explain_clip(
    clip: Maskable,
    *,
    name: str = "clip",
    method: Method = "rise",
    masks: int = 4000,
    max_masks: int | None = None,
    grid: Grid = GRID,
    keep: float = 0.5,
    fill: Fill = "mean",
    floor: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 128,
    threshold: float | None = None,
    neighbours: Sequence[Neighbour] = (),
) -> Explanation:
    """Map the score of a clip, and check the map.

    Args:
        clip: The clip and its score; see `mask_waveform`, `mask_features`, `mask_magnitudes`.
        name: Name of the clip.
        method: `"rise"` (random masks) or `"occlusion"` (one patch at a time).
        masks: Masks of RISE.
        max_masks: Most masks when they are to be doubled until the map has settled; None for
            exactly `masks`.
        grid: Cells along time and frequency.
        keep: RISE's probability that a cell is kept.
        fill: What stands in hidden places.
        floor: Noise floor of normal clips, (F,), for the fill `"floor"`.
        seed: Seed of masks and blind maps; the same seed gives the same numbers bit for bit.
        batch_size: Masked clips scored at once.
        threshold: Scores above it are anomalies.
        neighbours: Nearest normal clips, to stand beside.

    Returns:
        The explanation.

    Raises:
        UsageError: An option is out of its range, or the score function misbehaves.
    """
    hidden = fill_values(clip.values, fill, floor=floor)
    generator = torch.Generator().manual_seed(seed)
    if method == "rise":
        saliency = rise(
            clip.values,
            clip.score,
            hidden=hidden,
            generator=generator,
            masks=masks,
            max_masks=max_masks,
            grid=grid,
            keep=keep,
            batch_size=batch_size,
        )
    elif method == "occlusion":
        saliency = occlude(clip.values, clip.score, hidden=hidden, grid=grid, batch_size=batch_size)
    else:
        raise UsageError(f"method must be 'rise' or 'occlusion', got {method!r}")
    faithfulness = measure_faithfulness(
        clip.values,
        clip.score,
        saliency.centred,
        hidden=hidden,
        generator=generator,
        grid=grid,
        batch_size=batch_size,
    )
    return Explanation(
        name=name,
        method=method,
        fill=fill,
        seed=seed,
        values=clip.values.cpu(),
        seconds=clip.seconds,
        hertz=clip.hertz,
        unit=clip.unit,
        score=score_one(clip.score, clip.values),
        hidden_score=score_one(clip.score, hidden.expand_as(clip.values)),
        threshold=threshold,
        saliency=saliency,
        faithfulness=faithfulness,
        region=strongest_region(saliency.centred, clip.seconds, clip.hertz),
        grid=grid,
        neighbours=tuple(neighbours),
    )


def _curve_summary(curve: Curve) -> dict[str, Any]:
    return {
        "area": curve.area,
        "random_area": float(curve.random_areas.mean()),
        "random_spread": curve.spread,
        "shares": curve.shares.tolist(),
        "scores": curve.scores.tolist(),
        "random_scores": curve.random.mean(dim=0).tolist(),
    }
