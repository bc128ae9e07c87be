"""A page of explained clips: see the maps, hear the clips beside their nearest normals."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from torch import Tensor

from tonotopy._files import write_text
from tonotopy.explanation import Curve, Explanation
from tonotopy.reporting._audio import encode_vorbis
from tonotopy.reporting._html import resource, template

# The page has no script at all, so it may not run any.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:; "
    "base-uri 'none'; form-action 'none'"
)


@dataclass(frozen=True)
class ExplainedClip:
    """An explanation and what the page shows beside it.

    Args:
        explanation: The explanation.
        waveform: (L,), what was explained.
        sample_rate: In hertz.
        about: `machine`, `start` and `p_value`.
        picture: PNG file of the explanation.
    """

    explanation: Explanation
    waveform: Tensor
    sample_rate: int
    about: Mapping[str, Any]
    picture: Path


@dataclass(frozen=True)
class Plane:
    """A picture of a machine's references with the explained clips among them.

    Args:
        machine: Name of the machine.
        picture: PNG file.
        note: How the picture was made.
    """

    machine: str
    picture: Path
    note: str


def write_explanation_page(
    clips: Sequence[ExplainedClip], target: Path, *, planes: Sequence[Plane]
) -> None:
    """Write one HTML file that needs no network, no script and no other file.

    Args:
        clips: Explained clips, in the order of the page.
        target: The file to write.
        planes: One for every machine.

    Raises:
        DataError: The file cannot be written.
    """
    page = template("_explanation_page.html").render(
        title=planes[0].machine if len(planes) == 1 else f"{len(planes)} machines",
        clips=[_card(clip) for clip in clips],
        planes=[
            {
                "machine": plane.machine,
                "picture": _data_uri("image/png", plane.picture.read_bytes()),
                "note": plane.note.replace("\n", "; "),
            }
            for plane in planes
        ],
        policy=POLICY,
        style=Markup(resource("_style.css")),
        written=f"{datetime.now(UTC):%d %B %Y, %H:%M} UTC",
    )
    write_text(target, page)


def _card(clip: ExplainedClip) -> dict[str, Any]:
    explanation = clip.explanation
    return {
        "name": explanation.name,
        "about": clip.about,
        "verdict": _verdict(explanation),
        "where": _where(explanation),
        "tiles": _tiles(clip),
        "cautions": explanation.cautions,
        "picture": _data_uri("image/png", clip.picture.read_bytes()),
        "sound": _sound(clip.waveform, clip.sample_rate),
        "neighbours": [
            {
                "name": near.name,
                "cosine": f"{near.cosine:.3f}",
                "sound": None if near.waveform is None else _sound(near.waveform, near.sample_rate),
            }
            for near in explanation.neighbours
        ],
    }


def _verdict(explanation: Explanation) -> tuple[str, str]:
    """Give the decision in words and the class that colours it."""
    if explanation.threshold is None:
        return "no threshold, no decision", "near"
    if explanation.score > explanation.threshold:
        return "anomaly", "bad"
    return "normal", "good"


def _where(explanation: Explanation) -> str:
    region = explanation.region
    if region is None:
        return "Keeping no part of the clip raises the score."
    text = f"What raises the score most lies at {region.start:.1f} to {region.end:.1f} s"
    if region.low is not None and region.high is not None:
        text += f", {region.low / 1000:.2f} to {region.high / 1000:.2f} kHz"
    return f"{text}: {100 * region.share:.0f} % of all that the map shows as raising it."


def _tiles(clip: ExplainedClip) -> list[dict[str, str]]:
    explanation = clip.explanation
    saliency, curves = explanation.saliency, explanation.faithfulness
    threshold = "none" if explanation.threshold is None else f"{explanation.threshold:.4g}"
    tiles = [
        ("Anomaly score", f"{explanation.score:.4g}", f"threshold {threshold}"),
        ("p-value", f"{clip.about['p_value']:.3g}", "share of normals that score as high"),
        (
            "All hidden",
            f"{explanation.hidden_score:.4g}",
            "score without anything of the clip; the map explains the difference",
        ),
    ]
    if not math.isnan(saliency.split_half):
        hint = f"split-half correlation after {saliency.evaluations - 1} masks; 0.9 is settled"
        tiles.append(("Agreement", f"{saliency.split_half:.2f}", hint))
    tiles.append(("Insertion", _against(curves.insertion), "area against blind maps; good: above"))
    tiles.append(("Deletion", _against(curves.deletion), "area against blind maps; good: below"))
    return [{"name": name, "value": value, "hint": hint} for name, value, hint in tiles]


def _against(curve: Curve) -> str:
    return f"{curve.gain:+.2g} ± {curve.spread:.1g}"


def _sound(waveform: Tensor, sample_rate: int) -> str:
    wave = waveform.cpu().numpy().astype(np.float32)
    return _data_uri("audio/ogg", encode_vorbis(wave, sample_rate))


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64," + base64.b64encode(content).decode("ascii")
