"""One checkpoint and its clips on the way through several targets."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.threshold import quantile_threshold
from export.agreement import match_detections
from export.base import Delegation, Lowered, Precision, Progress, Target
from export.bundle import Part
from export.cost import cost_line
from export.judge import Judge, Judged, choose_better
from export.verify import Verified, run_program, simulated, verify_program
from quantize.mixed_precision import FloatLayers
from runtime.bundle_spec import Artifact
from runtime.errors import CalibrationError, ExportError
from runtime.types import ClipModel, Floats, Outputs

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT

# A device's own rounding may differ from this machine's as much as this machine's does from
# torch's simulation of it: the golden answer must be met to that, and to no less than this.
_SELF_TEST_LEAST: dict[Precision, dict[str, float]] = {
    "fp32": {"pred_boxes": 1e-4, "pred_actor": 2e-3, "pred_actions": 2e-3},
    "fp16": {"pred_boxes": 2e-3, "pred_actor": 0.02, "pred_actions": 0.02},
    "int8": {"pred_boxes": 0.01, "pred_actor": 0.1, "pred_actions": 0.1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights that may become an artifact.

    Attributes:
        name: Their file.
        how: How they come to int8: `post-training` or `quantization-aware`.
        model: The float model.
        truth: The same as a function of the engine's clip.
    """

    name: str
    how: str
    model: BMViT
    truth: ClipModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One artifact, run and compared.

    Attributes:
        part: What goes into the bundle.
        delegation: What the delegate took, where the engine has one.
        verified: Its errors against torch.
        seconds: How long it took.
        notes: What the user should know of it.
    """

    part: Part
    delegation: Delegation | None
    verified: Verified
    seconds: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Weights and clips on the way through several targets.

    Attributes:
        plain: The weights.
        trained: Other weights of the same network, adapted to int8; None where there are none.
        clips: Calibration clips (1, T, 3, H, W).
        verify_clips: Those to compare on.
        golden: The clip that devices test themselves with.
        judge: Measures on labelled clips, where there are some.
        float_layers: Which layers int8 leaves in float32.
        facts: What a program is to say of its model, once its artifact is known.
        progress: Told of each step.
    """

    plain: Weights
    trained: Weights | None
    clips: Sequence[Floats]
    verify_clips: Sequence[Floats]
    golden: Floats
    judge: Judge | None
    float_layers: FloatLayers
    facts: Callable[[Artifact], Mapping[str, object]]
    progress: Progress | None

    def check_forward(self) -> None:
        """Run the float models once.

        Raises:
            ExportError: One fails, or gives values that are not finite.
        """
        for weights in (self.plain, self.trained):
            if weights is None:
                continue
            try:
                outputs = weights.truth(self.clips[0])
            except RuntimeError as error:
                raise ExportError(f"the float model does not run on a clip: {error}") from error
            if not all(np.isfinite(output).all() for output in outputs):
                raise ExportError(
                    f"the float model in {weights.name} gives values that are not finite; train it "
                    "again, or take an earlier checkpoint"
                )

    def make(self, target: Target) -> Made:
        """Make the artifact of a target; of two sets of weights the better is kept.

        Raises:
            ExportError: The target does not take the weights, or an artifact is too far off.
            CalibrationError: The labelled clips give no threshold.
        """
        start = time.perf_counter()
        if self.trained is None or target.precision != "int8":
            made, _ = self._make(target, self.plain)
        else:
            made = self._better(target, self.plain, self.trained)
        return replace(made, seconds=time.perf_counter() - start)

    def _say(self, step: str) -> None:
        if self.progress is not None:
            self.progress(step, 0, 1)

    def _better(self, target: Target, plain: Weights, trained: Weights) -> Made:
        found: dict[str, tuple[Made, Judged | None]] = {}
        refused: dict[str, ExportError | CalibrationError] = {}
        for weights in (plain, trained):
            try:
                found[weights.how] = self._make(target, weights)
            except (ExportError, CalibrationError) as error:
                refused[weights.how] = error
        if not found:
            raise refused[plain.how]
        if refused:
            (made, _), (how, reason) = next(iter(found.values())), next(iter(refused.items()))
            note = f"{target.name}: the {how} artifact was refused: {reason}"
            return replace(made, notes=(*made.notes, note))
        (first, one), (second, other) = (found[weights.how] for weights in (plain, trained))
        assert one is not None
        assert other is not None
        choice = choose_better(one, other)
        made = second if choice.trained else first
        artifact = made.part.artifact
        accuracy = {**(artifact.accuracy or {}), "compared": choice.record}
        part = replace(made.part, artifact=replace(artifact, accuracy=accuracy))
        note = f"{target.name}: {choice.line(plain.name, trained.name)}"
        return replace(made, part=part, notes=(*made.notes, note))

    def _make(self, target: Target, weights: Weights) -> tuple[Made, Judged | None]:
        """Lower the model for a target, compare, and fit θ by the artifact's own engine."""
        layers = self.float_layers.names if target.precision == "int8" else frozenset()
        file = f"{target.engine}-{target.precision}{target.suffix}"
        self._say("exporting the graph")
        lowered = target.lower(
            weights.model, self.clips, float_layers=layers, progress=self.progress
        )
        engine = target.open if target.not_run is None else simulated(lowered.simulate)
        verified = verify_program(
            lowered.program,
            self.verify_clips,
            name=file,
            precision=target.precision,
            truth=weights.truth,
            simulate=lowered.simulate,
            in_steps=bool(lowered.methods) and target.not_run is None,
            engine=engine,
            progress=self.progress,
        )
        notes: tuple[str, ...] = ()
        if layers and target.not_run is None:
            without = target.lower(weights.model, self.clips, progress=self.progress)
            notes = (
                cost_line(layers, without, lowered, self.verify_clips, weights.truth, target.open),
            )
        judged = None
        if self.judge is not None:
            judged = self.judge.measure(
                lowered.program,
                name=file,
                engine=engine,
                simulated=target.not_run is not None,
                progress=self.progress,
            )
        artifact = _artifact(target, file, lowered, verified)
        if layers:
            artifact.delegated["float_layers"] = sorted(layers)
        if judged is not None:
            accuracy = {**judged.accuracy, "weights": weights.how}
            fitted = judged.fitted
            artifact = replace(
                artifact, conf=fitted.conf, threshold=fitted.record,
                action_thresholds=fitted.actions, accuracy=accuracy,
            )  # fmt: skip
        matched = match_detections(verified.outputs, verified.expected, conf=artifact.conf)
        artifact.parity["matched"] = matched.record()
        golden: Outputs = run_program(lowered.program, [self.golden], name=file, engine=engine)
        program = lowered.program
        if lowered.finish is not None:
            self._say(f"writing facts of the model into {file}")
            program = lowered.finish(self.facts(artifact))
            finished: Outputs = run_program(program, [self.golden], name=file, engine=engine)
            if not all(np.array_equal(a, b) for a, b in zip(finished, golden, strict=True)):
                raise ExportError(
                    f"{file} answers otherwise once facts of the model are written into it; "
                    "nothing was written. This is a fault of the exporter: please report it"
                )
            artifact = replace(artifact, **_content_of(program))
        part = Part(artifact=artifact, program=program, golden=golden)
        made = Made(
            part=part, delegation=lowered.delegation, verified=verified, seconds=0.0, notes=notes
        )
        return made, judged


def _artifact(target: Target, file: str, lowered: Lowered, verified: Verified) -> Artifact:
    """Return the artifact's entry, θ by the quantile rule."""
    least = _SELF_TEST_LEAST[target.precision]
    return Artifact(
        file=file,
        **_content_of(lowered.program),
        target=target.engine,
        precision=target.precision,
        conf=quantile_threshold(verified.outputs[1]),
        made_with=lowered.made_with,
        delegated={}
        if lowered.delegation is None
        else {
            **_delegated(lowered.delegation),
            "methods": {name: _delegated(taken) for name, taken in lowered.methods.items()},
        },
        parity={**verified.parity(), **_ran(target)},
        self_test_tolerance={
            name: max(least[name], verified.simulated_max_abs[name]) for name in least
        },
    )


def _content_of(program: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(program).hexdigest(), "size_bytes": len(program)}


def _ran(target: Target) -> dict[str, object]:
    if target.not_run is None:
        return {"ran": True}
    # Whoever fits θ anew on a device takes `conf_by` out.
    return {"ran": False, "not_run": target.not_run, "conf_by": "torch"}


def _delegated(taken: Delegation) -> dict[str, object]:
    return {
        "share": taken.share,
        "calls": taken.calls,
        "multiply_adds": taken.multiply_adds,
        "fallbacks": list(taken.fallbacks),
    }
