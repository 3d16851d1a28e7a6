"""Where the time and the energy of a bundle go on this machine: stages, operators, minutes."""

from __future__ import annotations

from runtime.profiler.chrome import chrome_trace
from runtime.profiler.energy import EnergyMeter
from runtime.profiler.operators import Operator, OperatorTrace, trace_operators
from runtime.profiler.session import Measured, look, measure
from runtime.profiler.soak import Minute, minutes_of, verdict
from runtime.profiler.timeline import Span, Timeline
from runtime.profiler.watch import Sample, Watch, state_of
from runtime.profiler.write import golden_folder, write_profile

__all__ = [
    "EnergyMeter", "Measured", "Minute", "Operator", "OperatorTrace", "Sample", "Span", "Timeline",
    "Watch", "chrome_trace", "golden_folder", "look", "measure", "minutes_of", "state_of",
    "trace_operators", "verdict", "write_profile",
]  # fmt: skip
