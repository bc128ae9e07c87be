"""The examples and the doctests run as they stand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_your_own_loop(tmp_path: Path, write_tone: Callable[..., Path]) -> None:
    for label, frequency in (("low", 300.0), ("high", 3000.0)):
        for number in range(6):
            path = tmp_path / "sounds" / label / f"{number}.wav"
            write_tone(path, seconds=0.3, frequency=frequency + 10 * number)
    command = [sys.executable, str(ROOT / "examples" / "your_own_loop.py"), "sounds"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "kNN accuracy" in done.stdout.splitlines()[-1]
    assert (tmp_path / "my-model" / "model.safetensors").is_file()


@pytest.mark.parametrize("script", ["loading.py", "evaluation.py", "training_step.py"])
def test_benchmarks_explain_themselves(script: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "usage" in done.stdout
