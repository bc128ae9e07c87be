"""One self-contained HTML page that tells what a run learnt, with pictures and sound."""

from __future__ import annotations

from tonotopy.reporting.report import write_report

__all__ = ["write_report"]
