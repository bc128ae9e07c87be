"""Importing and asking for help stay light."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "lightning",
    "sklearn",
    "polars",
    "plotly",
    "datasets",
    "librosa",
    "scipy",
    "pandas",
    "matplotlib",
}


def _modules_after(code: str) -> set[str]:
    listing = "print('\\n'.join(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    script = f"import sys\n{code}\n{listing}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_import_is_light() -> None:
    assert not _modules_after("import tonotopy") & (HEAVY | {"torch"})


def test_help_needs_no_torch() -> None:
    code = "from tonotopy.cli import main\nassert main(['--help']) == 0"
    assert not _modules_after(code) & (HEAVY | {"torch", "jsonargparse"})


def test_help_of_fit_needs_no_lightning() -> None:
    code = (
        "from tonotopy.cli import main\n"
        "try: main(['fit', '--help'])\n"
        "except SystemExit as stop: assert stop.code == 0"
    )
    assert not _modules_after(code) & (HEAVY | {"torch"})


@pytest.mark.parametrize(
    "package", ["losses", "labels", "geometry", "encoders", "audio", "explanation"]
)
def test_the_libraries_need_no_workflow(package: str) -> None:
    assert not _modules_after(f"import tonotopy.{package}") & HEAVY


def test_every_public_name_exists() -> None:
    import tonotopy

    for name in tonotopy.__all__:
        assert getattr(tonotopy, name) is not None
