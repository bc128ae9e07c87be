"""The table of all losses."""

from __future__ import annotations

from flat_rows import FLAT_ROWS
from loss_row import Row

ROWS: list[Row] = [*FLAT_ROWS]
