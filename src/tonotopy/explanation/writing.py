"""Explanations on disk: a picture for people, numbers for programs."""

from __future__ import annotations

from pathlib import Path

from tonotopy._files import write_json
from tonotopy.explanation.explain import Explanation
from tonotopy.explanation.figure import write_figure


def write_explanation(explanation: Explanation, folder: Path | str, stem: str) -> tuple[Path, Path]:
    """Write `stem.png` and `stem.json` to a folder, each whole or not at all.

    Returns:
        The paths of picture and numbers.

    Raises:
        DataError: The folder cannot be written.
    """
    picture, numbers = (Path(folder) / f"{stem}.{suffix}" for suffix in ("png", "json"))
    write_figure(explanation, picture)
    write_json(numbers, explanation.summary())
    return picture, numbers
