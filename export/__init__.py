"""From a checkpoint to artifacts that were loaded, run and compared in their engine."""

from __future__ import annotations

from export.pipeline import export_bundle
from export.registry import TARGETS, get_target
from export.report import ArtifactReport, ExportReport

__all__ = ["TARGETS", "ArtifactReport", "ExportReport", "export_bundle", "get_target"]
