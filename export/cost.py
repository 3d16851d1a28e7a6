"""What layers in float32 cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from export.base import Lowered, OpenProgram
from runtime.bundle_spec import OUTPUTS
from runtime.types import ClipModel, Floats, Outputs

_RUNS = 20


def cost_line(
    layers: frozenset[str],
    without: Lowered,
    lowered: Lowered,
    clips: Sequence[Floats],
    truth: ClipModel,
    engine: OpenProgram,
) -> str:
    """Say what layers in float32 cost and bring.

    Args:
        layers: Their names.
        without: The program in which they are in int8.
        lowered: The program in which they are not.
        clips: Clips to run.
        truth: The float model.
        engine: Loads the programs.
    """
    expected = [truth(clip) for clip in clips]
    before, after = (_measure(one, engine, clips, expected) for one in (without, lowered))
    errors = ", ".join(
        f"{name} {a:.2g} -> {b:.2g}"
        for name, a, b in zip(OUTPUTS, before[1], after[1], strict=True)
    )
    calls = ""
    if without.delegation is not None and lowered.delegation is not None:
        calls = f"delegate calls {without.delegation.calls} -> {lowered.delegation.calls}, "
    return (
        f"{len(layers)} layer{'s' if len(layers) != 1 else ''} in float32: {calls}{before[0]:.2f} "
        f"-> {after[0]:.2f} ms a clip (median of {_RUNS}, here), mean error {errors}"
    )


def _measure(
    lowered: Lowered, engine: OpenProgram, clips: Sequence[Floats], expected: Sequence[Outputs]
) -> tuple[float, list[float]]:
    """Return the median milliseconds of a clip, and the mean error of each output."""
    with engine(lowered.program, name="placement") as run:
        found = [run(clip) for clip in clips]
        times: list[float] = []
        for _ in range(_RUNS):
            start = time.perf_counter()
            run(clips[0])
            times.append(1000 * (time.perf_counter() - start))
    errors = [
        float(np.mean([np.abs(a[i] - b[i]).mean() for a, b in zip(found, expected, strict=True)]))
        for i in range(len(OUTPUTS))
    ]
    return statistics.median(times), errors
