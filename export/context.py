"""One checkpoint and its clips on the way through several targets."""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from calibration.threshold import quantile_threshold
from export.agreement import match_detections
from export.base import ExportedArtifact, Exporter, Precision, short_errors
from export.labelled import Comparison, LabelledClips
from export.verify import STEP_STRIDE, steps_error, verify
from quantize.mixed_precision import FloatLayers
from runtime.bundle_spec import OUTPUTS, Artifact
from runtime.errors import CalibrationError, ExportError
from runtime.self_test import bounded
from runtime.types import ClipModel, Floats, Outputs, Progress

if TYPE_CHECKING:
    from edge.model.bmvit import BMViT
    from quantize.graph import Method

_RUNS = 20

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
class ExportContext:
    """Weights and clips on the way through several targets.

    Attributes:
        weights: The weights; of several, int8 takes those that are best on the labelled clips.
        clips: Calibration clips (1, T, 3, H, W).
        verify_clips: Those to compare on.
        golden: The clip that devices test themselves with.
        labelled: Labelled clips, where there are some.
        float_layers: Which layers int8 leaves in float32.
        facts: What a program is to say of its model, once its artifact is known.
        progress: Told of each step.
    """

    weights: Sequence[Weights]
    clips: Sequence[Floats]
    verify_clips: Sequence[Floats]
    golden: Floats
    labelled: LabelledClips | None
    float_layers: FloatLayers
    facts: Callable[[Artifact], Mapping[str, object]]
    progress: Progress | None

    def check_forward(self) -> None:
        """Run the float models once.

        Raises:
            ExportError: One fails, or gives values that are not finite.
        """
        for weights in self.weights:
            try:
                outputs = weights.truth(self.clips[0])
            except RuntimeError as error:
                raise ExportError(f"the float model does not run on a clip: {error}") from error
            if not all(np.isfinite(output).all() for output in outputs):
                raise ExportError(
                    f"the float model in {weights.name} gives values that are not finite; train it "
                    "again, or take an earlier checkpoint"
                )

    def make(self, exporter: Exporter) -> ExportedArtifact:
        """Lower the weights for a target, run the program, compare, and fit θ.

        Raises:
            ExportError: The target does not take the weights, or the artifact is too far off.
            CalibrationError: The labelled clips give no threshold.
        """
        start = time.perf_counter()
        layers = self.float_layers.names if exporter.precision == "int8" else frozenset()
        notes: list[str] = []
        weights, methods, compared = self._choose(exporter, layers, notes)
        artifact = exporter.convert_graphs(methods, progress=self.progress)
        artifact.notes += notes
        opened = (
            exporter.open(artifact.program)
            if exporter.not_run is None
            else nullcontext(artifact.simulate)
        )
        with opened as run:
            self._run(exporter, artifact, weights, run)
            if layers:
                artifact.entry.delegated["float_layers"] = sorted(layers)
                artifact.notes.append(
                    _float_layers_note(exporter, artifact, len(layers), run, self.golden)
                )
        if compared is not None and artifact.entry.accuracy is not None:
            artifact.entry.accuracy["compared"] = compared.record()
        self._finish(exporter, artifact)
        artifact.seconds = time.perf_counter() - start
        return artifact

    def _choose(
        self, exporter: Exporter, layers: frozenset[str], notes: list[str]
    ) -> tuple[Weights, dict[str, Method], Comparison | None]:
        """Return the weights to ship, their graphs, and how they were chosen, with no lowering."""
        from quantize.graph import graph_outputs

        candidates = self.weights if exporter.precision == "int8" else self.weights[:1]
        found: dict[str, tuple[Weights, dict[str, Method]]] = {}
        refused: dict[str, ExportError | CalibrationError] = {}
        for weights in candidates:
            try:
                found[weights.how] = (
                    weights,
                    exporter.prepare(
                        weights.model,
                        self.clips,
                        float_layers=layers,
                        keep_means=weights.how == "post-training",
                        progress=self.progress,
                    ),
                )
            except (ExportError, CalibrationError) as error:
                refused[weights.how] = error
        if not found:
            raise next(iter(refused.values()))
        for how, reason in refused.items():
            notes.append(f"{exporter.name}: the {how} artifact was refused: {reason}")
        if len(found) == 1 or self.labelled is None:
            return *next(iter(found.values())), None
        compared = self.labelled.compare(
            {how: graph_outputs(exporter.simulated(methods["forward"].graph))
             for how, (_, methods) in found.items()},
            self.progress,
        )  # fmt: skip
        names = {how: weights.name for how, (weights, _) in found.items()}
        notes.append(f"{exporter.name}: {compared.line(names)}")
        return *found[compared.best], compared

    def _run(
        self, exporter: Exporter, artifact: ExportedArtifact, weights: Weights, run: ClipModel
    ) -> None:
        """Compare a program with torch, and fit θ, by its engine or by torch in its place."""
        artifact.parity = verify(
            run, self.verify_clips, name=exporter.file, precision=exporter.precision,
            truth=weights.truth, simulate=artifact.simulate, progress=self.progress,
        )  # fmt: skip
        artifact.golden = run(self.golden)
        cut_off = None if artifact.cut_off is None else artifact.cut_off(self.golden)
        artifact.entry = _entry(exporter, artifact, cut_off)
        if self.labelled is not None:
            measured = self.labelled.measure(
                run, exporter.file, simulated=exporter.not_run is not None, progress=self.progress
            )
            fitted = measured.fitted
            artifact.entry = replace(
                artifact.entry, conf=fitted.conf, threshold=fitted.record,
                action_thresholds=fitted.actions,
                accuracy={**measured.accuracy, "weights": weights.how},
            )  # fmt: skip
        found, expected = artifact.parity.outputs, artifact.parity.expected
        matched = match_detections(found, expected, conf=artifact.entry.conf)
        artifact.entry.parity["matched"] = matched.record()

    def _finish(self, exporter: Exporter, artifact: ExportedArtifact) -> None:
        """Write facts of the model into the program, and open that as a device does.

        Raises:
            ExportError: It answers otherwise than before, or otherwise in steps than whole.
        """
        if artifact.finish is None:
            return
        artifact.program = artifact.finish(self.facts(artifact.entry))
        artifact.entry = replace(artifact.entry, **_content_of(artifact.program))
        if exporter.not_run is not None:
            return
        in_steps = len(artifact.delegations) > 1
        with exporter.open(artifact.program, stride=STEP_STRIDE if in_steps else 0) as run:
            if in_steps:
                clips, whole = [*self.verify_clips, self.golden], artifact.parity.outputs
                errors = steps_error(run, clips[:-1], whole, exporter.file)
                artifact.parity = replace(artifact.parity, steps_max_abs=errors)
                artifact.entry.parity["steps_max_abs"] = errors
                steps_error(run, clips[-1:], artifact.golden, exporter.file)
            elif not all(map(np.array_equal, run(self.golden), artifact.golden)):
                raise ExportError(
                    f"{exporter.file} answers otherwise once facts of the model are written into "
                    "it; nothing was written. This is a fault of the exporter: please report it"
                )


# How much further than its simulation a driver that cuts off halves may be.
_CUT_OFF_MARGIN = 1.5


def _entry(exporter: Exporter, artifact: ExportedArtifact, cut_off: Outputs | None) -> Artifact:
    """Return the artifact's entry in the bundle, θ by the quantile rule.

    `cut_off` is the answer to the golden clip of an engine that rounds halves toward zero.
    """
    other = dict.fromkeys(OUTPUTS, 0.0)
    if cut_off is not None:
        for name, mine, wanted in zip(OUTPUTS, cut_off, artifact.golden, strict=True):
            off = np.abs(bounded(name, mine) - bounded(name, wanted)).max()
            other[name] = _CUT_OFF_MARGIN * float(off)
    least, parity = _SELF_TEST_LEAST[exporter.precision], artifact.parity
    delegated = {name: taken.record() for name, taken in artifact.delegations.items()}
    whole = delegated.pop("forward", None)
    # Whoever fits θ anew on a device takes `conf_by` out.
    ran = {"ran": False, "not_run": exporter.not_run, "conf_by": "torch"}
    return Artifact(
        file=exporter.file,
        **_content_of(artifact.program),
        target=exporter.engine,
        precision=exporter.precision,
        conf=quantile_threshold(parity.outputs.pred_actor),
        made_with=artifact.made_with,
        delegated={} if whole is None else {**whole, "methods": delegated},
        parity={**parity.record(), **({"ran": True} if exporter.not_run is None else ran)},
        self_test_tolerance={
            name: max(least[name], parity.simulated_max_abs[name], other[name]) for name in least
        },
    )


def _float_layers_note(
    exporter: Exporter, artifact: ExportedArtifact, count: int, run: ClipModel, clip: Floats
) -> str:
    """Say what an artifact with layers in float32 costs."""
    times: list[float] = []
    for _ in range(_RUNS if exporter.not_run is None else 0):
        start = time.perf_counter()
        run(clip)
        times.append(1000 * (time.perf_counter() - start))
    calls = "" if artifact.delegation is None else f"{artifact.delegation.calls} delegate calls, "
    took = f"{statistics.median(times):.2f} ms a clip (median of {_RUNS}, here), " if times else ""
    return (
        f"{exporter.name}: {count} layer{'s' if count != 1 else ''} in float32: {calls}{took}"
        f"mean error {short_errors(artifact.parity.mean_abs)}"
    )


def _content_of(program: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(program).hexdigest(), "size_bytes": len(program)}
