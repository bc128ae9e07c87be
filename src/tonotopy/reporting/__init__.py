"""One self-contained HTML page that tells what a run learnt, with pictures and sound."""

from __future__ import annotations

from tonotopy.reporting.explanation_page import ExplainedClip, Plane, write_explanation_page
from tonotopy.reporting.probe_page import write_probe_page
from tonotopy.reporting.report import write_report

__all__ = ["ExplainedClip", "Plane", "write_explanation_page", "write_probe_page", "write_report"]
