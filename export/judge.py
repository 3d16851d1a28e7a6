"""Labelled clips through an artifact's own engine: its frame-mAP, its θ, and which is better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from calibration.actions import ActionScores
from calibration.threshold import FittedThreshold, threshold_of
from edge.data.dataset import ClipDataset, decodable_clips
from edge.data.subset import EvenSubset
from edge.evaluation.clip_metrics import ClipMetrics, predict
from export.base import OpenProgram, Progress
from runtime.errors import ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipModel, ClipSpec

SIMULATED_CLIPS = 100
"""Labelled clips at most for a program that torch stands in for: its float16 takes up to seconds a
clip where the processor has none, and a θ of it is to be fitted anew on the device in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the labelled clips say of one artifact.

    Attributes:
        fitted: θ and the thresholds of actions, and how they were found.
        accuracy: The bundle's `accuracy` section: `frame_map_50`, `actor_ap_50`, `data`, `clips`;
            `float_frame_map_50`, of the float model in torch on the same clips; `simulated`, where
            torch answered for the artifact's own engine.
    """

    fitted: FittedThreshold
    accuracy: dict[str, Any]

    @property
    def frame_map(self) -> float:
        """The frame-mAP; below every other where the clips show no action at all."""
        found = self.accuracy["frame_map_50"]
        return -1.0 if found is None else float(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of two artifacts of one network is shipped.

    Attributes:
        plain: The one quantized after training.
        trained_for_int8: The one whose weights were trained for int8.
    """

    plain: Judged
    trained_for_int8: Judged

    @property
    def trained(self) -> bool:
        """Whether training for int8 was better; a tie is not."""
        return self.trained_for_int8.frame_map > self.plain.frame_map

    @property
    def record(self) -> dict[str, Any]:
        """What the bundle keeps of it."""
        return {
            "post-training": self.plain.accuracy["frame_map_50"],
            "quantization-aware": self.trained_for_int8.accuracy["frame_map_50"],
        }

    def line(self, plain: str, trained: str) -> str:
        """Say it in a sentence; the arguments name the files."""
        one, other = self.plain.frame_map, self.trained_for_int8.frame_map
        kept, left = (trained, plain) if self.trained else (plain, trained)
        best, rest = (other, one) if self.trained else (one, other)
        how = "trained for int8" if self.trained else "quantized after training"
        return (
            f"kept {kept}, {how}: frame-mAP@0.5 {best:.4f} against {rest:.4f} of {left} "
            f"({best - rest:+.4f}) on {self.plain.accuracy['clips']} clips of "
            f"{self.plain.accuracy['data']}"
        )


def choose_better(plain: Judged, trained_for_int8: Judged) -> Choice:
    """Compare the same network quantized after training and trained for int8."""
    return Choice(plain=plain, trained_for_int8=trained_for_int8)


class Judge:
    """Labelled clips, ready for any number of artifacts."""

    def __init__(
        self,
        dataset: ClipDataset,
        config: ClipSpec,
        *,
        class_names: tuple[str, ...],
        data: str,
        truth: ClipModel,
    ) -> None:
        """Keep the clips.

        Args:
            dataset: The clips, never those of the training; each is asked for once per artifact.
            config: Size and normalisation of the engine's clips.
            class_names: The model's actions; those that the clips do not have are left out.
            data: What reports call the data set.
            truth: The float model.

        Raises:
            ConfigError: The clips have a class that the model does not know.
        """
        if not set(dataset.class_names) <= set(class_names):
            raise ConfigError(
                f"--val-data {data} has the classes {', '.join(dataset.class_names)}; the model "
                f"has {', '.join(class_names)}"
            )
        self._columns = [class_names.index(name) for name in dataset.class_names]
        self._class_names = class_names
        self.dataset, self.config, self.data, self.truth = dataset, config, data, truth
        self._float_maps: dict[int, float | None] = {}

    def measure(
        self,
        program: bytes,
        *,
        name: str,
        engine: OpenProgram,
        simulated: bool = False,
        progress: Progress | None = None,
    ) -> Judged:
        """Run a program on the clips by its engine, and count.

        Args:
            program: The file's content.
            name: The artifact's name, for messages.
            engine: Loads it.
            simulated: It is torch that answers: take `SIMULATED_CLIPS` only, spread over all.
            progress: Told after each clip.

        Raises:
            CalibrationError: The clips or the answers give no threshold.
        """
        limit = SIMULATED_CLIPS if simulated else len(self.dataset)
        clips = EvenSubset(self.dataset, limit) if limit < len(self.dataset) else self.dataset
        if len(clips) not in self._float_maps:
            metrics = self._answered(clips, self.truth, "measuring the float model", progress)
            self._float_maps[len(clips)] = metrics.result()["frame_map"]
        where = f"{name} (its graph in torch)" if simulated else name
        actions = ActionScores(clips, self._class_names)
        with engine(program, name=name) as run:
            metrics = self._answered(clips, run, f"measuring {where}", progress, actions)
        found = metrics.result()
        return Judged(
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

    def _answered(
        self,
        clips: ClipDataset,
        run: ClipModel,
        step: str,
        progress: Progress | None,
        actions: ActionScores | None = None,
    ) -> ClipMetrics:
        metrics = ClipMetrics(clips.class_names, video_level=clips.video_level_classes)
        for index, sample in decodable_clips(clips):
            answer = run(normalize(sample.frames_rgb, self.config))
            found = predict(*(output[0] for output in answer))
            metrics.update(sample, replace(found, actions=found.actions[:, self._columns]))
            if actions is not None:
                actions.update(sample, found)
            if progress is not None:
                progress(step, index + 1, len(clips))
        return metrics
