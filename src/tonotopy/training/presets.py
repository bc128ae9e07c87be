"""Named configurations: YAML files in which some options of `fit` are set."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from tonotopy._components import Component
from tonotopy._errors import UsageError


def preset_files() -> dict[str, Path]:
    """Name the presets and their files."""
    folder = Path(str(files("tonotopy.training") / "presets"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def preset_file(name: str) -> Path:
    """Give the file of a preset.

    Raises:
        UsageError: There is none of that name.
    """
    known = preset_files()
    if name not in known:
        raise UsageError(f"no preset {name!r}; there are: {', '.join(known)}")
    return known[name]


def read_losses(name: str) -> dict[str, Any]:
    """Give the fields of `FitConfig` in which a preset that only sets losses and batches differs.

    Raises:
        UsageError: There is no such preset.
    """
    import yaml

    options: dict[str, Any] = yaml.safe_load(preset_file(name).read_text(encoding="utf-8"))
    options["losses"] = {part: Component.parse(loss) for part, loss in options["losses"].items()}
    if "batches" in options:
        options["batches"] = Component.parse(options["batches"])
    return options
