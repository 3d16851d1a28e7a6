"""Run a program in the device's own engine, and hold it against torch.

Nothing is exported until this has passed: programs that lower without a word fail at load or
answer wrongly (pytorch/executorch#8369, #11355).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.base import Exporter, Parity, Precision
from runtime.bundle_spec import OUTPUTS
from runtime.errors import ExportError
from runtime.self_test import bounded
from runtime.types import ClipModel, Floats, Outputs, Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Largest mean error that an output may have; logits are counted in units of 1 + spread.

    Attributes:
        boxes: Of cxcywh, as a share of the frame.
        logits: Of a logit, over one plus the standard deviation of the true logits.
        engine: Share of the two that the engine may be off the same graph in torch; more, up to
            the whole, where only some values are off and none the better answer (`_rounded`).
    """

    boxes: float
    logits: float
    engine: float


# Stated once. float32 differs by the order of sums only. fp16 has 11 bits: a box may move by a
# third of a pixel of 160, a logit by 2 % of its spread. int8: a box may move by 2 % of the frame
# on average (3 px of 160), a logit by a fifth of its spread; the engine rounds once where torch's
# simulation rounds through float, and one level more or less grows through the blocks, so it may be
# off the simulation by half of that (measured on untrained weights, the worst case: 0.06).
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(boxes=1e-4, logits=1e-3, engine=1.0),
    "fp16": Tolerance(boxes=2e-3, logits=0.02, engine=1.0),
    "int8": Tolerance(boxes=0.02, logits=0.2, engine=0.5),
}

AS_NEAR = 1.1
"""Error of an engine against the float model, over that of its simulation, that counts as equal."""
TYPICAL = 0.3
"""Median difference of such an engine from its simulation, over the mean that it may have: int8
`pico` in ONNX Runtime has a median of 0.004 to 0.08 of a logit where its mean is 0.3 to 0.5."""

STEP_STRIDE = 2
"""Samples between overlapping clips, as the runtime's default."""

STEP_TOLERANCE = 1e-4
"""Largest error of a clip computed in steps, in int8 too: both methods have the same ranges."""


def run_clips(
    run: ClipModel, clips: Sequence[Floats], *, step: str = "", progress: Progress | None = None
) -> Outputs:
    """Run a network on clips (1, T, 3, H, W); outputs are stacked over the clips."""
    rows: list[Outputs] = []
    for index, clip in enumerate(clips):
        rows.append(run(clip))
        if progress is not None:
            progress(step, index + 1, len(clips))
    return Outputs(*(np.concatenate(arrays) for arrays in zip(*rows, strict=True)))


def run_program(
    exporter: Exporter, program: bytes, clips: Sequence[Floats], *, stride: int = 0
) -> Outputs:
    """Run a program on clips by the engine of its exporter, which is opened for it.

    Raises:
        ExportError: It does not load or run.
        BackendUnavailableError: The engine is not here.
    """
    with exporter.open(program, stride=stride) as run:
        return run_clips(run, clips)


def verify(
    run: ClipModel,
    clips: Sequence[Floats],
    *,
    name: str,
    precision: Precision,
    truth: ClipModel,
    simulate: ClipModel,
    progress: Progress | None = None,
) -> Parity:
    """Compare a program with torch.

    Args:
        run: The program in its engine.
        clips: Clips (1, T, 3, H, W), real ones.
        name: The artifact's name, for messages.
        precision: Decides the tolerance.
        truth: The float model.
        simulate: The lowered graph, run by torch.
        progress: Told after each clip.

    Raises:
        ExportError: The program gives values that are not finite, or is further from torch than the
            tolerance.
    """
    found = run_clips(run, clips, step=f"verifying {name}", progress=progress)
    expected, simulated = run_clips(truth, clips), run_clips(simulate, clips)
    # Both, as an engine may compute in more bits than the program has (fp16 on a processor).
    for outputs, where in ((found, ""), (simulated, " (its graph in torch)")):
        bad = [n for n, value in zip(OUTPUTS, outputs, strict=True) if not np.isfinite(value).all()]
        if bad:
            raise ExportError(
                f"{name}{where} gives {', '.join(bad)} that are not finite; nothing was written"
            )
    tolerance = TOLERANCES[precision]
    _check(name, "the float model", found, expected, _limits(expected, tolerance))
    limits = _limits(simulated, tolerance)
    for output in OUTPUTS:
        half = limits[output] * tolerance.engine
        if not _rounded(output, found, simulated, expected, half):
            limits[output] = half
    _check(name, "the same graph in torch", found, simulated, limits)
    return Parity(
        outputs=found,
        expected=expected,
        max_abs=_errors(found, expected, np.max),
        mean_abs=_errors(found, expected, np.mean),
        simulated_max_abs=_errors(found, simulated, np.max),
    )


def steps_error(
    run: ClipModel, clips: Sequence[Floats], whole: Outputs, name: str
) -> dict[str, float]:
    """Return the largest error of each output where clips are computed step by step.

    Args:
        run: The program, opened for overlapping clips.
        clips: Clips (1, T, 3, H, W).
        whole: What it answers for whole clips.
        name: The artifact's name, for messages.

    Raises:
        ExportError: An error is above `STEP_TOLERANCE`.
    """
    errors = _errors(run_clips(run, clips), whole, np.max)
    for output, values in zip(OUTPUTS, whole, strict=True):
        limit = STEP_TOLERANCE * (1.0 if output == "pred_boxes" else 1.0 + float(values.std()))
        if not errors[output] <= limit:
            raise ExportError(
                f"{name} computed in steps differs from the whole clip by {errors[output]:.3g} in "
                f"{output}, {limit:.3g} is allowed; nothing was written"
            )
    return errors


def _errors(
    found: Outputs, expected: Outputs, reduce: Callable[[npt.NDArray[np.float64]], Any]
) -> dict[str, float]:
    return {
        name: float(reduce(np.abs(a.astype(np.float64) - b)))
        for name, a, b in zip(OUTPUTS, found, expected, strict=True)
    }


def _bounded(outputs: Outputs) -> Outputs:
    return Outputs(*(bounded(n, one) for n, one in zip(OUTPUTS, outputs, strict=True)))


def _limits(expected: Outputs, tolerance: Tolerance) -> dict[str, float]:
    """Return the largest mean error of each output."""
    limits = dict.fromkeys(OUTPUTS, tolerance.boxes)
    for output, values in zip(OUTPUTS, _bounded(expected), strict=True):
        if output != "pred_boxes":
            limits[output] = tolerance.logits * (1.0 + float(values.std()))
    return limits


def _rounded(output: str, found: Outputs, simulated: Outputs, truth: Outputs, limit: float) -> bool:
    """Tell whether an output differs from its simulation as rounding makes it differ.

    A trained int8 network can be sensitive: tokens that suppress each other change places when
    float32 sums have another order. Then most values agree, a few are far off, and neither answer
    is nearer to the float model.
    """
    mine, its, true = (_bounded(outputs)._asdict()[output] for outputs in (found, simulated, truth))
    typical = float(np.median(np.abs(mine - its)))
    own, theirs = (float(np.abs(one - true).mean()) for one in (mine, its))
    return typical <= TYPICAL * limit and own <= AS_NEAR * theirs


def _check(
    name: str, against: str, found: Outputs, expected: Outputs, limits: Mapping[str, float]
) -> None:
    """Refuse outputs whose mean error is over the limit."""
    errors = _errors(_bounded(found), _bounded(expected), np.mean)
    for output in OUTPUTS:
        if not errors[output] <= limits[output]:
            raise ExportError(
                f"{name} differs from {against} by {errors[output]:.3g} in {output} (mean over "
                f"{len(expected[0])} clips), {limits[output]:.3g} is allowed; nothing was written. "
                "Give more calibration clips of the deployment, or export in fp32"
            )
