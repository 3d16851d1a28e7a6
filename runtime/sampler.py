"""Choose by time which frames of a source become the samples of a clip.

A clip wants one sample each `period_s = sampling_rate / fps` seconds, whatever rate the source has.
The rule below looks at time stamps only and never waits for a later frame. It is written once, in
`runtime/native/sampler.cc`, for Python and for `edge_runner`.

State: `origin` (time of the first frame), `filled` (grid points filled so far), `prev` (time of the
previous frame, sampled or not), `last_d` (the previous interval, infinite at first), `newest` (time
of the newest sampled frame). For a frame at time `t`:

1. No frame came before (or `restart()` was called): `origin = prev = newest = t`, `filled = 1`,
   `last_d = inf`; the frame is the first sample. Done.
2. `t == prev`: the frame is ignored. Done.
3. `t < prev` or `t - prev > max_gap_s`: a gap. The clip so far is void; go on as in 1.
4. `d = t - prev`; `reach = t + 0.5 * min(d, last_d)`; then `last_d = d`; `prev = t`.
   (A frame is nearest to the grid points up to half an interval ahead of it; the smaller of two
   intervals is taken, so that one late frame does not make the source look slow.)
5. While `g = origin + filled * period_s` is `<= reach`: the point takes the nearer of the newest
   sample and this frame: if `g - newest < t - g` the newest sample is repeated, else this frame is
   taken; `filled += 1`. Points taken by this frame always come after the repeated ones.
   Afterwards, if this frame was taken, `newest = t`.

The grid is a multiplication, not a running sum: 29.97 fps does not drift.
"""

from __future__ import annotations

from runtime.errors import BackendUnavailableError

try:
    from runtime._native import Sample, Sampler
except ImportError as error:
    raise BackendUnavailableError(
        f"the native runtime does not import ({error}); build it with `pip install .` or "
        "tools/build_native.sh"
    ) from error

__all__ = ["Sample", "Sampler"]
