"""Explain the anomaly scores of recordings: maps, their checks and a page to look and listen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from tonotopy._errors import AudioError, UsageError
from tonotopy._files import write_json
from tonotopy.detection import ANY_MACHINE, Detector, MachineModel
from tonotopy.explanation import (
    Explanation,
    Fill,
    Method,
    Neighbour,
    describe_projection,
    explain_clip,
    project,
    write_figure,
    write_projection,
)
from tonotopy.protocols._machine_choice import MACHINE
from tonotopy.protocols._machine_view import MachineView, Mode, Window
from tonotopy.protocols._window_reading import gather_for
from tonotopy.reporting import ExplainedClip, Plane, write_explanation_page

QUICK_MASKS, MOST_MASKS = 500, 4000
NEIGHBOURS = 3
MAP_CLIPS = 2000
PAGE_FILE = "explanation.html"


@dataclass(frozen=True)
class ExplanationOptions:
    """How scores are explained.

    Args:
        method: `"rise"`, random masks, or `"occlusion"`, one patch at a time.
        masks: Masks of RISE; None for 500, doubled until the map has settled or 4000 are used.
        mode: `"wave"` masks the sound that the model hears, `"stft"` what its encoder sees.
        fill: What stands in hidden places: `"zero"`, the clip's `"mean"` over time, or the noise
            `"floor"` of the references.
        seed: Seed of masks, blind maps and the t-SNE.

    Raises:
        UsageError: An option is unknown or does not go with the method.
    """

    method: Method = "rise"
    masks: int | None = None
    mode: Mode = "wave"
    fill: Fill = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in ("wave", "stft"):
            raise UsageError(f"--mode must be wave or stft, got {self.mode!r}")
        if self.masks is not None and self.masks < 4:
            raise UsageError(f"--masks must be at least 4, got {self.masks}")
        if self.masks is not None and self.method == "occlusion":
            raise UsageError("--masks is for --method rise: occlusion hides one patch at a time")


def explain_recordings(
    run: Path,
    clips: Sequence[Path],
    *,
    machine: str | None = None,
    options: ExplanationOptions | None = None,
    out: Path | None = None,
) -> tuple[Path, list[dict[str, Any]]]:
    """Explain the anomaly scores of recordings by a run's detector.

    Of a recording that is longer than a window of the detector, the window with the highest score
    is explained.

    Args:
        run: Run folder with a detector.
        clips: Audio files.
        machine: The machine they are of; None for the only one there is, or to guess it as
            `detect_clips` does.
        options: How to explain; None for the defaults.
        out: Folder for a PNG and a JSON file a clip and the page; `explanations` in the run folder
            by default.

    Returns:
        The page, and the numbers of each clip as in its JSON file.

    Raises:
        UsageError: The run has no detector, the machine is not known, or an option does not fit.
        AudioError: A recording cannot be used.
    """
    options = options or ExplanationOptions()
    folder = run / "explanations" if out is None else out
    missing = [path for path in clips if not path.is_file()]
    if missing:
        raise UsageError(f"no such file: {missing[0]}; name audio files, not folders")
    detector = Detector.load(run)
    names = _machines(detector, clips, machine)
    views = {
        name: MachineView(detector, detector.machine(name), options.mode, options.fill)
        for name in dict.fromkeys(names)
    }
    embeddings: dict[str, list[Tensor]] = {name: [] for name in views}
    shown = []
    for path, name, stem in zip(clips, names, _stems(clips), strict=True):
        view = views[name]
        window = view.most_anomalous(path)
        explanation = _explain(view, window, path.name, options)
        picture = folder / f"{stem}.png"
        write_figure(explanation, picture)
        score = torch.tensor([explanation.score], dtype=torch.float64)
        about = {
            "path": str(path),
            "start": window.start,
            "machine": name,
            "mode": options.mode,
            "p_value": float(view.machine.threshold().p_values(score)[0]),
            **explanation.summary(),
            "picture": str(picture),
        }
        write_json(folder / f"{stem}.json", about)
        shown.append(ExplainedClip(explanation, window.waveform, view.rate, about, picture))
        embeddings[name].append(window.embedding)
    with TemporaryDirectory() as temporary:
        planes = []
        for number, (name, own) in enumerate(embeddings.items()):
            picture = Path(temporary) / f"{number}.png"
            note = _draw_plane(views[name].machine, torch.stack(own), picture, options.seed)
            planes.append(Plane(name, picture, note))
        write_explanation_page(shown, folder / PAGE_FILE, planes=planes)
    return folder / PAGE_FILE, [dict(clip.about) for clip in shown]


def _machines(detector: Detector, clips: Sequence[Path], machine: str | None) -> list[str]:
    """Give the machine of each recording; that which stands for all where it is not known."""
    if machine is not None or len(detector.names) == 1:
        return [detector.machine(machine).name] * len(clips)
    table = gather_for(detector, clips, None)
    known = dict(zip(table.paths, table.frame[MACHINE], strict=True))
    return [known.get(path.resolve()) or ANY_MACHINE for path in clips]


def _explain(
    view: MachineView, window: Window, name: str, options: ExplanationOptions
) -> Explanation:
    # An infinite threshold, of a machine with few references, cannot be drawn and decides nothing.
    threshold = view.machine.threshold().value
    clip = view.maskable(window.waveform)
    return explain_clip(
        replace(clip, seconds=clip.seconds + window.start),
        name=name,
        method=options.method,
        masks=QUICK_MASKS if options.masks is None else options.masks,
        max_masks=MOST_MASKS if options.masks is None else None,
        fill=options.fill,
        floor=view.floor,
        seed=options.seed,
        batch_size=view.batch_size,
        threshold=threshold if math.isfinite(threshold) else None,
        neighbours=_neighbours(view, window.embedding),
    )


def _neighbours(view: MachineView, embedding: Tensor) -> list[Neighbour]:
    """Give the nearest references, with sound where their files are still there."""
    cosines, rows = view.machine.nearest(embedding[None], NEIGHBOURS)
    found = []
    for cosine, row in zip(cosines[0].tolist(), rows[0].tolist(), strict=True):
        path, start = view.machine.references.frame.select("path", "start").row(row)
        name = Path(path).name + (f" from {start:g} s" if start else "")
        try:
            waveform = view.load(row)
        except AudioError:
            waveform = None
        found.append(Neighbour(name, cosine, waveform, view.rate))
    return found


def _draw_plane(machine: MachineModel, embeddings: Tensor, path: Path, seed: int) -> str:
    """Draw t-SNE of references with the explained clips among them, and say how it was made."""
    references = machine.references
    count = len(references)
    rows = torch.linspace(0, count - 1, min(count, MAP_CLIPS)).round().long()
    projection = project(torch.cat([references.embeddings[rows], embeddings]), seed=seed)
    known = [references.domains[row] for row in rows.tolist()]
    domains = [f"normal, {domain}" if domain else "normal" for domain in known]
    write_projection(
        projection,
        path,
        colours=domains + ["explained clip"] * len(embeddings),
        outlined=[False] * len(rows) + [True] * len(embeddings),
        outline="",
        title=f"{machine.name}: references and explained clips",
    )
    return describe_projection(projection)


def _stems(clips: Sequence[Path]) -> list[str]:
    """Name the files of each clip after it; clips of one name in other folders get a number."""
    names: dict[str, int] = {}
    stems = []
    for path in clips:
        names[path.stem] = names.get(path.stem, 0) + 1
        number = names[path.stem]
        stems.append(path.stem if number == 1 else f"{path.stem}-{number}")
    return stems
