"""The table of all losses."""

from __future__ import annotations

from contrastive_rows import CONTRASTIVE_ROWS
from flat_rows import FLAT_ROWS
from loss_row import Row
from margin_rows import MARGIN_ROWS
from tree_class_rows import TREE_CLASS_ROWS
from tree_pair_rows import TREE_PAIR_ROWS

ROWS: list[Row] = [*FLAT_ROWS, *MARGIN_ROWS, *TREE_PAIR_ROWS, *TREE_CLASS_ROWS, *CONTRASTIVE_ROWS]
