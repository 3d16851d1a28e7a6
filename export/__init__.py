"""From a checkpoint to artifacts that were loaded, run and compared in their engine."""

from __future__ import annotations

from export.base import ExportedArtifact, Exporter
from export.pipeline import ExportReport, export_bundle
from export.registry import TARGETS, get_target

__all__ = ["TARGETS", "ExportReport", "ExportedArtifact", "Exporter", "export_bundle", "get_target"]
