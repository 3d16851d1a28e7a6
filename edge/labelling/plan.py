"""All that a run of labelling needs, and which of it the results depend on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edge.labelling.tracks import TrackPlan
from edge.labelling.tta import ViewPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelJob:
    """All that a run of `edge label` needs.

    Attributes:
        source: Folder of videos, or one.
        detector: ONNX file.
        out: The data set.
        person_class: `person`, or the number of that class from 0.
        present: `CLASS=PATTERN` of videos in which somebody does it.
        absent: `CLASS=PATTERN` of videos in which nobody does.
        groups: CSV of which source each clip comes from.
        val_share: Share of the clips to judge by; 0 = one table.
        every_s: Seconds from one detection to the next.
        keyframe_every_s: Seconds from one row to the next.
        views: How each picture is looked at.
        tracks: How boxes become tracks.
        fps: Rate of folders of pictures.
        copy: Copy the videos in place of links.
        review: What a person accepted and rejected.
        page_tracks: Most tracks on the review page; 0 = no page.
        threads: Of ONNX Runtime.
        seed: Of the split.
        overwrite: Begin again.
        shard: Which share of the videos, from 0, and the number of shares: these are labelled and
            no table is written. None does all.
    """

    source: Path
    detector: Path
    out: Path
    person_class: str = "person"
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    groups: Path | None = None
    val_share: float = 0.0
    every_s: float = 0.125
    keyframe_every_s: float = 0.25
    views: ViewPlan = field(default_factory=ViewPlan)
    tracks: TrackPlan = field(default_factory=TrackPlan)
    fps: float = 30.0
    copy: bool = False
    review: Path | None = None
    page_tracks: int = 600
    threads: int = 1
    seed: int = 0
    overwrite: bool = False
    shard: tuple[int, int] | None = None

    def detection_flags(self, sha256: str) -> dict[str, Any]:
        """Return what the boxes before tracking depend on."""
        return {
            "detector": sha256,
            "person_class": self.person_class,
            "every_s": self.every_s,
            "scales": list(self.views.scales),
            "flip": self.views.flip,
            "fps": self.fps,
        }

    def track_flags(self) -> dict[str, Any]:
        """Return what the tracks depend on besides."""
        return asdict(self.tracks)
