"""Load a program in the device's own engine, run it on clips, and hold it against torch.

Nothing is exported until this has passed: programs that lower without a word fail at load or
answer wrongly (pytorch/executorch#8369, #11355).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.base import OpenProgram, Precision, Progress
from runtime.bundle_spec import OUTPUTS
from runtime.engines.base import Program
from runtime.errors import ArtifactError, BackendUnavailableError, ExportError
from runtime.types import ClipModel, Floats, Outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Largest mean error that an output may have; logits are counted in units of 1 + spread.

    Attributes:
        boxes: Of cxcywh, as a share of the frame.
        logits: Of a logit, over one plus the standard deviation of the true logits.
        engine: Share of the two that the engine may be off the same graph in torch.
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


STEP_STRIDE = 2
"""Samples between overlapping clips, as the runtime's default."""

STEP_TOLERANCE = 1e-4
"""Largest error of a clip computed in steps, in int8 too: both methods have the same ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What the engine answered, and how far that is from torch.

    Attributes:
        outputs: The engine's outputs over all clips: (K, N, 4), (K, N), (K, N, C).
        max_abs: Largest error of each output against the float model.
        mean_abs: Mean error of each output against the float model.
        simulated_max_abs: Largest error of each output against the lowered graph run by torch.
        clips: Number of clips.
        expected: The float model's outputs over all clips.
        steps_max_abs: Largest error of each output where the clip was computed step by step,
            against the whole-clip method; None where the program has no methods for that.
    """

    outputs: Outputs
    max_abs: dict[str, float]
    mean_abs: dict[str, float]
    simulated_max_abs: dict[str, float]
    clips: int
    expected: Outputs
    steps_max_abs: dict[str, float] | None = None

    def parity(self) -> dict[str, Any]:
        """Return the bundle's `parity` section."""
        found: dict[str, Any] = {
            "clips": self.clips,
            "max_abs": self.max_abs,
            "mean_abs": self.mean_abs,
            "simulated_max_abs": self.simulated_max_abs,
        }
        if self.steps_max_abs is not None:
            found["steps_max_abs"] = self.steps_max_abs
        return found


def verify_program(
    program: bytes,
    clips: Sequence[Floats],
    *,
    name: str,
    precision: Precision,
    truth: ClipModel,
    simulate: ClipModel,
    in_steps: bool = False,
    engine: OpenProgram | None = None,
    progress: Progress | None = None,
) -> Verified:
    """Run a program through its engine and compare it with torch.

    Args:
        program: The file's content.
        clips: Clips (1, T, 3, H, W), real ones.
        name: The artifact's name, for messages.
        precision: Decides the tolerance.
        truth: The float model.
        simulate: The lowered graph, run by torch.
        in_steps: The program has methods for overlapping clips: compare them with the whole.
        engine: Loads it; by default the native runtime does.
        progress: Told after each clip.

    Raises:
        ExportError: The program does not load or run, gives values that are not finite, is further
            from torch than the tolerance, or answers otherwise in steps than whole.
        BackendUnavailableError: The native runtime is not built here.
    """
    found = run_program(program, clips, name=name, engine=engine, progress=progress)
    expected = _collect(truth, clips)
    simulated = _collect(simulate, clips)
    # Both, as an engine may compute in more bits than the program has (fp16 on a processor).
    for outputs, where in ((found, ""), (simulated, " (its graph in torch)")):
        bad = [n for n, value in zip(OUTPUTS, outputs, strict=True) if not np.isfinite(value).all()]
        if bad:
            raise ExportError(
                f"{name}{where} gives {', '.join(bad)} that are not finite; nothing was written"
            )
    tolerance = TOLERANCES[precision]
    _check(name, "the float model", found, expected, tolerance, 1.0)
    _check(name, "the same graph in torch", found, simulated, tolerance, tolerance.engine)
    steps_max_abs = None
    if in_steps:
        stepwise = run_program(program, clips, name=name, stride=STEP_STRIDE, engine=engine)
        steps_max_abs = _errors(stepwise, found, np.max)
        for output, whole in zip(OUTPUTS, found, strict=True):
            limit = STEP_TOLERANCE * (1.0 if output == "pred_boxes" else 1.0 + float(whole.std()))
            if not steps_max_abs[output] <= limit:
                raise ExportError(
                    f"{name} computed in steps differs from the whole clip by "
                    f"{steps_max_abs[output]:.3g} in {output}, {limit:.3g} is allowed; nothing was "
                    "written"
                )
    return Verified(
        outputs=found,
        max_abs=_errors(found, expected, np.max),
        mean_abs=_errors(found, expected, np.mean),
        simulated_max_abs=_errors(found, simulated, np.max),
        clips=len(clips),
        expected=expected,
        steps_max_abs=steps_max_abs,
    )


def run_program(
    program: bytes,
    clips: Sequence[Floats],
    *,
    name: str,
    stride: int = 0,
    engine: OpenProgram | None = None,
    progress: Progress | None = None,
) -> Outputs:
    """Run a program on clips by its engine; outputs are stacked over the clips.

    Args:
        program: The file's content.
        clips: Clips (1, T, 3, H, W).
        name: The artifact's name, for messages.
        stride: For the methods of overlapping clips, as `runtime.engine.load_engine` takes it.
        engine: Loads it; by default the native runtime does.
        progress: Told after each clip.

    Raises:
        ExportError: It does not load or run.
        BackendUnavailableError: The native runtime is not built here.
    """
    rows: list[Outputs] = []
    with (engine or open_program)(program, name=name, stride=stride) as run:
        for index, clip in enumerate(clips):
            rows.append(run(clip))
            if progress is not None:
                progress(f"verifying {name}", index + 1, len(clips))
    return _stack(rows)


def opened_by(load: Callable[[Path, int], Program], engine: str) -> OpenProgram:
    """Return what loads a program by an engine of the runtime, from a file as a device has it.

    Args:
        load: Loads a file, for clips that begin so many samples apart (0: that do not overlap).
        engine: What messages call it.
    """

    @contextmanager
    def open_file(program: bytes, *, name: str, stride: int = 0) -> Iterator[ClipModel]:
        with tempfile.TemporaryDirectory(prefix="bmvit-verify-") as folder:
            path = Path(folder) / name
            path.write_bytes(program)
            try:
                loaded = load(path, stride)
                yield lambda clips: loaded(np.ascontiguousarray(clips))
            except ArtifactError as error:
                reason = str(error).replace(f"{folder}/", "")
                raise ExportError(
                    f"{name} was made, but {engine} refuses it: {reason}; nothing was written"
                ) from error

    return open_file


def _load_native(path: Path, stride: int) -> Program:
    program: Program = native_engine()(str(path), 0, stride)
    return program


open_program = opened_by(_load_native, "the runtime")


def simulated(simulate: ClipModel) -> OpenProgram:
    """Return what stands in for an engine that is not on this machine: the lowered graph in torch.

    Whoever uses it says so: the artifact's `parity` then has `ran: false`.

    Args:
        simulate: The graph that was lowered, run by torch on a clip (1, T, 3, H, W).
    """

    @contextmanager
    def open_graph(program: bytes, *, name: str, stride: int = 0) -> Iterator[ClipModel]:
        yield simulate

    return open_graph


def native_engine() -> Any:
    """Return the native runtime's engine class.

    Raises:
        BackendUnavailableError: It is not built here.
    """
    try:
        from runtime._native import Engine
    except ImportError as error:
        raise BackendUnavailableError(
            f"export runs every artifact in the native runtime before it calls it exported, and "
            f"that does not import ({error}); build it with `pip install .`"
        ) from error
    return Engine


def _collect(run: ClipModel, clips: Sequence[Floats]) -> Outputs:
    return _stack([run(clip) for clip in clips])


def _stack(rows: list[Outputs]) -> Outputs:
    return Outputs(*(np.concatenate([row[i] for row in rows]) for i in range(3)))


def _errors(
    found: Outputs, expected: Outputs, reduce: Callable[[npt.NDArray[np.float64]], Any]
) -> dict[str, float]:
    return {
        name: float(reduce(np.abs(a.astype(np.float64) - b)))
        for name, a, b in zip(OUTPUTS, found, expected, strict=True)
    }


def _check(
    name: str,
    against: str,
    found: Outputs,
    expected: Outputs,
    tolerance: Tolerance,
    share: float,
) -> None:
    """Refuse outputs whose mean error is over `share` of the tolerance."""
    errors = _errors(found, expected, np.mean)
    for output, truth in zip(OUTPUTS, expected, strict=True):
        limit = tolerance.boxes
        if output != "pred_boxes":
            limit = tolerance.logits * (1.0 + float(truth.std()))
        limit *= share
        if not errors[output] <= limit:
            raise ExportError(
                f"{name} differs from {against} by {errors[output]:.3g} in {output} (mean over "
                f"{len(truth)} clips), {limit:.3g} is allowed; nothing was written. Give more "
                "calibration clips of the deployment, or export in fp32"
            )
