"""How published evaluators count, where they differ: pixels, claims, the area, the end of a tube.

| name | of | frames | tubes |
|---|---|---|---|
| `ava` | AVA's challenge; MultiSports, MMAction2, HIT | the best true box only; every point | the best true tube only; the last frame is not counted; every point |
| `act` | ACT-detector; MOC, 3D-RetinaNet's tubes, TubeR | corners are pixels; the best true box that is left; trapezoids | the same; the last frame counts |
| `road` | ROAD (real-time action detection) | the best that is left; every point | the same, overlap above the threshold, of two frames or more |
| `yowo` | YOWO | corners are pixels; the best only; every point | corners are pixels; the best that is left; two frames or more |

* Corners are pixels: x2 is the last column of a box, not the one behind it, so that a width is
  x2 - x1 + 1.
* A detection is held against the true box (or tube) of its class that it overlaps most. Where a
  higher score took that one already, it is an error ("best"), or it goes to the best of those that
  are left ("free").
* Every point: the area under the precision made monotone, as VOC has it since 2010. Trapezoids:
  the area under the raw curve, straight from point to point, from precision 1 at recall 0.
* Overlap in time: frames in both over frames in either. `ava` divides the differences of first and
  last frame numbers instead, so a tube of one frame has no length and overlaps nothing.

ROAD's Matlab code also moves detections by one pixel, for its own 0-based boxes, and YOWO's adds
1e-5 to the number of true tubes; neither is repeated here.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from edge.evaluation.average_precision import Curve

Claims = Literal["best", "free"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How detections are held against the truth.

    Attributes:
        pixel: What a side has more than the difference of its corners: 0 or 1, in px.
        claims: What becomes of a detection whose true box is taken, see above.
        curve: How the area is computed.
        strict: An overlap equal to the threshold is not enough.
        least_frames: Tubes: frames that two of them must share to overlap at all.
        counts_last: Tubes: frames are counted, not the differences of their numbers.
    """

    pixel: float = 0.0
    claims: Claims = "best"
    curve: Curve = "every_point"
    strict: bool = False
    least_frames: int = 1
    counts_last: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """A published evaluation.

    Attributes:
        frames: Rules of frame-mAP.
        tubes: Rules of video-mAP.
    """

    frames: Rules
    tubes: Rules


ACT = Rules(pixel=1.0, claims="free", curve="trapezoid")

PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({
    "ava": Protocol(frames=Rules(), tubes=Rules(counts_last=False)),
    "act": Protocol(frames=ACT, tubes=ACT),
    "road": Protocol(
        frames=Rules(claims="free"), tubes=Rules(claims="free", strict=True, least_frames=2)
    ),
    "yowo": Protocol(
        frames=Rules(pixel=1.0), tubes=Rules(pixel=1.0, claims="free", least_frames=2)
    ),
})  # fmt: skip

KEYFRAMES = "ava"
"""The protocol of data sets that label keyframes."""

TUBES = "act"
"""That of data sets that label whole tubes: most figures for UCF101-24 and JHMDB-21 are by it."""
