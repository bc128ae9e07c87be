"""From a model and data on disk to the files of a probe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tonotopy._errors import DataError, UsageError
from tonotopy._files import write_json
from tonotopy.clips import ClipTable, load_clips
from tonotopy.embedder import AudioEmbedder, load_released
from tonotopy.embedder._artefact import MODEL_FILE
from tonotopy.protocols.probe import ProbeOptions, probe_embedder
from tonotopy.reporting import write_probe_page

PROBE_FILE = "probe.json"
PAGE_FILE = "probe.html"


def probe_run(
    model: str,
    data: Path,
    options: ProbeOptions | None = None,
    *,
    out: Path | None = None,
    command: str,
) -> dict[str, Any]:
    """Probe a model on labelled clips, and write `probe.json` and `probe.html`.

    Args:
        model: A run, another model folder, the folder or file of a released encoder, or the id of a
            model on the Hugging Face hub.
        data: Labelled clips, in any form that `tonotopy scan` reads.
        options: What is measured.
        out: The folder to write. Default: `probes/` and the name of the data, in the model's
            folder.
        command: What the user typed, kept in the result.

    Returns:
        What `probe_embedder` gives, with `command`, `source`, `data`, `folder` and `page`.

    Raises:
        UsageError: There is no model, the split cannot be made, or a model of the hub is given
            without `out`.
        DataError: The audio, the table or the disk failed.
    """
    embedder = load_probed(model)
    folder = _folder(model, data) if out is None else out
    clips = load_clips(data)
    cautions = _set_aside(clips, data)
    result = probe_embedder(embedder, clips, options, folder=folder)
    result["cautions"] = [*cautions, *result["cautions"]]
    result |= {"command": command, "source": model, "data": str(data), "folder": str(folder)}
    page = folder / PAGE_FILE
    result["page"] = str(page)
    write_json(folder / PROBE_FILE, result)
    write_probe_page(result, page)
    return result


def load_probed(model: str) -> AudioEmbedder:
    """Load a run, another model folder, a released encoder, or a model of the hub.

    Raises:
        UsageError: There is no model.
        DataError: Its file is damaged.
    """
    path = Path(model).expanduser()
    released = path.suffix == ".safetensors" or (
        path.is_dir() and not (path / MODEL_FILE).is_file() and any(path.glob("*.safetensors"))
    )
    return load_released(path) if released else AudioEmbedder.from_pretrained(model)


def _folder(model: str, data: Path) -> Path:
    path = Path(model).expanduser()
    base = path if path.is_dir() else path.parent
    if not path.exists() or not os.access(base, os.W_OK):
        raise UsageError(f"nothing can be written beside {model}: name a folder with --out")
    return base / "probes" / data.resolve().stem


def _set_aside(clips: ClipTable, data: Path) -> list[str]:
    """Say how many files cannot be used; refuse labels of files that do not exist."""
    absent = [path for path in clips.quarantine["path"] if not (clips.root / path).exists()]
    if absent and data.is_file():
        raise DataError(
            f"{data} does not match its audio: {len(absent)} of the files that it names are not in "
            f"{clips.root} (the first: {absent[0]}); correct the paths, or take out the rows"
        )
    if not len(clips.quarantine):
        return []
    return [f"Unusable files: {len(clips.quarantine)}; `tonotopy scan` lists them."]
