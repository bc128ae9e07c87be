"""Inputs and reference values of the ADD loss and of those it is compared with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "add.json").read_text(encoding="utf-8")
)
Z = torch.tensor(GOLDEN["inputs"]["embeddings"], dtype=torch.float64)
Y = torch.tensor(GOLDEN["inputs"]["labels"])
SOFT = torch.tensor(GOLDEN["inputs"]["soft_labels"], dtype=torch.float64)
