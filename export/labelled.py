"""Labelled clips through an artifact: its frame-mAP, its thresholds, and the better weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from calibration.actions import ActionScores
from calibration.threshold import FittedThreshold, threshold_of
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.data.subset import EvenSubset
from edge.evaluation.clip_metrics import ClipMetrics
from edge.evaluation.evaluator import Evaluator, by_engine
from runtime.decode import Detections
from runtime.types import ClipModel, ClipSpec, Progress

SIMULATED_CLIPS = 100
"""Labelled clips at most for a program that torch stands in for: its float16 takes up to seconds a
clip where the processor has none, and a θ of it is to be fitted anew on the device in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the labelled clips say of one artifact.

    Attributes:
        fitted: θ and the thresholds of actions, and how they were found.
        accuracy: The bundle's `accuracy` section: `frame_map_50`, `actor_ap_50`, `data`, `clips`;
            `float_frame_map_50`, of the float model in torch on the same clips; `simulated`, where
            torch answered for the artifact's own engine.
    """

    fitted: FittedThreshold
    accuracy: dict[str, Any]


class LabelledClips:
    """Labelled clips, ready for any number of artifacts."""

    def __init__(
        self,
        dataset: ClipDataset,
        clip: ClipSpec,
        *,
        class_names: tuple[str, ...],
        data: str,
        truth: ClipModel,
        simulated_clips: int = SIMULATED_CLIPS,
    ) -> None:
        """Keep the clips.

        Args:
            dataset: The clips, never those of the training; each is asked for once per artifact.
            clip: Size and normalisation of the engine's clips.
            class_names: The model's actions; those that the clips do not have are left out.
            data: What reports call the data set.
            truth: The float model.
            simulated_clips: Most clips that torch is asked for in an engine's place.

        Raises:
            ConfigError: The clips have a class that the model does not know.
        """
        Evaluator(dataset, class_names)  # refuses other classes before the work begins
        self.dataset, self.clip, self.data, self.truth = dataset, clip, data, truth
        self.class_names, self.simulated_clips = class_names, simulated_clips
        self._float_maps: dict[int, float | None] = {}

    def measure(
        self,
        run: ClipModel,
        name: str,
        *,
        simulated: bool = False,
        progress: Progress | None = None,
    ) -> Measured:
        """Run an artifact on the clips, and count.

        Args:
            run: The artifact in its engine.
            name: Its name, for messages.
            simulated: It is torch that answers: take `simulated_clips` only, spread over all.
            progress: Told after each clip.

        Raises:
            CalibrationError: The clips or the answers give no threshold.
        """
        clips = self._clips(simulated)
        if len(clips) not in self._float_maps:
            metrics = self._run(clips, self.truth, "measuring the float model", progress)
            self._float_maps[len(clips)] = metrics.result()["frame_map"]
        actions = ActionScores(clips, self.class_names)
        where = f"{name} (its graph in torch)" if simulated else name
        metrics = self._run(clips, run, f"measuring {where}", progress, actions.update)
        found = metrics.result()
        return Measured(
            fitted=threshold_of(metrics, actions),
            accuracy={
                "frame_map_50": found["frame_map"],
                "float_frame_map_50": self._float_maps[len(clips)],
                "actor_ap_50": found["actor_ap"],
                "data": self.data,
                "clips": len(metrics),
                **({"simulated": True} if simulated else {}),
            },
        )

    def compare(
        self, graphs: Mapping[str, ClipModel], progress: Progress | None = None
    ) -> Comparison:
        """Measure the int8 graphs of several weights in torch, on `simulated_clips`.

        Args:
            graphs: Each graph by how its weights came to int8.
            progress: Told after each clip.
        """
        clips = self._clips(simulated=True)
        found = {how: self._run(clips, run, f"measuring {how} int8", progress).result()["frame_map"]
                 for how, run in graphs.items()}  # fmt: skip
        return Comparison(frame_map_50=found, clips=len(clips), data=self.data)

    def _clips(self, simulated: bool) -> ClipDataset:
        most = self.simulated_clips if simulated else len(self.dataset)
        return EvenSubset(self.dataset, most) if most < len(self.dataset) else self.dataset

    def _run(
        self,
        clips: ClipDataset,
        run: ClipModel,
        step: str,
        progress: Progress | None,
        also: Callable[[ClipSample, Detections, int], None] | None = None,
    ) -> ClipMetrics:
        evaluator = Evaluator(clips, self.class_names)
        return evaluator.run(by_engine(run, self.clip), step=step, progress=progress, also=also)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The same network in int8 by several weights.

    Attributes:
        frame_map_50: Of each, by how it came to int8; None where the clips show no action at all.
        clips: Number of clips.
        data: What reports call the data set.
    """

    frame_map_50: Mapping[str, float | None]
    clips: int
    data: str

    @property
    def best(self) -> str:
        """The weights with the highest frame-mAP; of equal ones the first."""
        return max(self.frame_map_50, key=self._value)

    def record(self) -> dict[str, Any]:
        """Return what the bundle keeps of it."""
        return {**self.frame_map_50, "clips": self.clips}

    def line(self, names: Mapping[str, str]) -> str:
        """Say it in a sentence.

        Args:
            names: The file of each weights.
        """
        other = next(how for how in self.frame_map_50 if how != self.best)
        best, rest = self._value(self.best), self._value(other)
        return (
            f"kept {names[self.best]}, {self.best}: frame-mAP@0.5 {best:.4f} against {rest:.4f} of "
            f"{names[other]} ({best - rest:+.4f}), int8 in torch on {self.clips} clips of "
            f"{self.data}"
        )

    def _value(self, how: str) -> float:
        found = self.frame_map_50[how]
        return -1.0 if found is None else found
