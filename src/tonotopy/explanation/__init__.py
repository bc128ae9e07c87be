"""Explanations of anomaly scores: maps over time and frequency, their checks, and projections."""

from __future__ import annotations

from tonotopy.explanation.explain import Explanation, Method, Neighbour, explain_clip
from tonotopy.explanation.faithfulness import Curve, Faithfulness, measure_faithfulness
from tonotopy.explanation.figure import write_figure
from tonotopy.explanation.fills import Fill, fill_values, noise_floor
from tonotopy.explanation.map_sums import MapSums
from tonotopy.explanation.maskable import (
    Maskable,
    ViewedEncoder,
    mask_features,
    mask_magnitudes,
    mask_waveform,
    stft_magnitudes,
)
from tonotopy.explanation.occlusion import occlude
from tonotopy.explanation.projection import Projection, knn_overlap, project, sweep_perplexity
from tonotopy.explanation.projection_figure import describe_projection, write_projection
from tonotopy.explanation.random_masks import draw_masks
from tonotopy.explanation.region import Region, cell_means, strongest_region
from tonotopy.explanation.rise import SaliencyMap, map_correlation, rise
from tonotopy.explanation.scoring import Score
from tonotopy.explanation.writing import write_explanation

__all__ = [
    "Curve",
    "Explanation",
    "Faithfulness",
    "Fill",
    "MapSums",
    "Maskable",
    "Method",
    "Neighbour",
    "Projection",
    "Region",
    "SaliencyMap",
    "Score",
    "ViewedEncoder",
    "cell_means",
    "describe_projection",
    "draw_masks",
    "explain_clip",
    "fill_values",
    "knn_overlap",
    "map_correlation",
    "mask_features",
    "mask_magnitudes",
    "mask_waveform",
    "measure_faithfulness",
    "noise_floor",
    "occlude",
    "project",
    "rise",
    "stft_magnitudes",
    "strongest_region",
    "sweep_perplexity",
    "write_explanation",
    "write_figure",
    "write_projection",
]
