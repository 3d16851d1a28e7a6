"""Hold a program's answer to the golden clip against the one that was recorded at export.

The recorded answer is the artifact's own, so all that may differ is rounding: of another
processor's kernels, or of another version of the engine. Rounding that goes the other way in one
place of an int8 network moves every output a little; a wrong engine moves some output far, or all
of them. So it is asked that the mean difference is that of rounding, in each class and box side as
well; that rounding goes both ways, so that an output as a whole does not move; that no single value
is off by more than int8 differs from float32; and that the detections are the same: the tokens
above θ, but for those at θ, and the places of their boxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.archives import UNREADABLE
from runtime.bundle_spec import OUTPUTS
from runtime.errors import ArtifactError, ArtifactMismatchError
from runtime.preprocess import normalize
from runtime.tubes import iou_matrix

if TYPE_CHECKING:
    from runtime.bundle import Bundle
    from runtime.bundle_spec import Artifact

Floats = npt.NDArray[np.float32]
Answer = Sequence[Floats]

# The mean difference that rounding may make, as a share of the recorded output's standard
# deviation: about twice what one level in a single pixel makes (int8 `nano`: 0.028, 0.11, 0.04).
ROUNDING = {
    "int8": (0.06, 0.22, 0.08),
    "bf16": (0.04, 0.08, 0.06),
    "fp16": (0.03, 0.03, 0.03),
    "fp32": (0.005, 0.005, 0.005),
}
# A column's mean (of a class, of a box side) has fewer values: it may lie further off.
_COLUMN = 2.0
# What may be left of an int8 program's mean difference when signs count, as a share of what is
# allowed without, for each output: measured 0.6 of a box side and 0.3 of logits at most. float16
# that is cut off moves all values one way.
_SHIFT = {"int8": (0.9, 0.5, 0.5)}
# Least overlap of a detection's box with the recorded one: measured 0.96 at least.
_SAME_PLACE = 0.8
# A column that is nearer to another's record by this factor has been exchanged with it.
_NEARER = 2.0
_MOST_LOGIT = 8.0
# Of a model that says nearly the same of every token, a share of its spread would ask too much.
_LEAST_SHARE = 0.05  # of the largest difference that the bundle allows


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestResult:
    """What a self-test found.

    Attributes:
        share: The largest difference as a share of what is allowed; at most 1 where it passed.
        fault: What is wrong, in one clause; None where it passed.
    """

    share: float
    fault: str | None


def bounded(name: str, values: Floats) -> Floats:
    """Return an output as it is compared: logits from -8 to 8, boxes as they are.

    A logit beyond is a probability of 0 or 1 to three digits, and suppression takes those of
    duplicates far below: how far says nothing.
    """
    return values if name == "pred_boxes" else np.clip(values, -_MOST_LOGIT, _MOST_LOGIT)


def golden_answer(bundle: Bundle, artifact: Artifact) -> tuple[Floats, list[Floats]]:
    """Return a bundle's golden clip (1, T, 3, H, W), and the artifact's recorded answer to it.

    Raises:
        ArtifactError: The golden clip is missing or unreadable.
        ArtifactMismatchError: It is not the one described, or lacks this artifact.
    """
    path = bundle.golden_path()
    keys = [f"{artifact.stem}/{name}" for name in OUTPUTS]
    try:
        # Opened here: NumPy leaves a file open that it cannot read.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as golden:
            frames = golden["frames_rgb"]
            recorded = [golden[key].astype(np.float32) for key in keys]
    except KeyError as error:
        key = str(error.args[0]).split(" ")[0]  # NumPy adds "is not a file in the archive"
        raise ArtifactMismatchError(
            f"the golden clip {path.name} lacks {key}; export the bundle again"
        ) from error
    except UNREADABLE as error:
        # NumPy's own sentence recommends to allow pickles.
        text = "it holds no plain arrays" if "pickle" in str(error) else error
        raise ArtifactError(
            f"the golden clip {path.name} cannot be read ({text}); export the bundle again"
        ) from error
    if frames.dtype != np.uint8 or frames.shape != bundle.spec.clip.frames_shape:
        raise ArtifactMismatchError(
            f"the golden clip {path.name} has frames {frames.dtype} {frames.shape}, expected uint8 "
            f"{bundle.spec.clip.frames_shape}; export the bundle again"
        )
    return normalize(frames, bundle.spec.clip), recorded


def check_answer(
    run: Callable[[Floats], Answer], clip: Floats, recorded: Answer, *,
    largest: Mapping[str, float], precision: str, conf: float,
) -> SelfTestResult:  # fmt: skip
    """Run the golden clip behind another one, and compare.

    Args:
        run: A clip (1, T, 3, H, W) to pred_boxes (1, N, 4), pred_actor (1, N) and pred_actions
            (1, N, C).
        clip: The golden clip.
        recorded: The answer at export, without the batch axis.
        largest: Largest difference that each output may have.
        precision: Of the artifact.
        conf: θ of the artifact, a probability.
    """
    # An engine that answers with what it was asked before would pass with the first clip alone.
    other = [np.array(one) for one in run(np.zeros_like(clip))]
    found = [np.asarray(one)[0] for one in run(clip)]
    recorded = [bounded(name, one) for name, one in zip(OUTPUTS, recorded, strict=True)]
    shares: list[tuple[float, str]] = []
    for index, (name, mine, wanted) in enumerate(zip(OUTPUTS, found, recorded, strict=True)):
        if mine.shape != wanted.shape:
            return SelfTestResult(
                share=math.inf, fault=f"{name} is {mine.shape}, recorded {wanted.shape}"
            )
        shares += _compare(
            name, bounded(name, mine), wanted, largest[name], _rounding(precision)[index],
            _SHIFT.get(precision, (1.0, 1.0, 1.0))[index],
        )  # fmt: skip
    share, reason = max(shares, key=lambda one: math.inf if math.isnan(one[0]) else one[0])
    if not share <= 1.0:
        return SelfTestResult(share=share, fault=reason)
    allowed = _allowed_mean(recorded[1], largest[OUTPUTS[1]], _rounding(precision)[1])
    fault = _tokens(found[1], recorded[1], conf, allowed) or _places(found, recorded, conf)
    if fault is None and all(np.array_equal(a[0], b) for a, b in zip(other, found, strict=True)):
        fault = "the answer to a black clip is the same"
    return SelfTestResult(share=math.inf if fault else share, fault=fault)


def _rounding(precision: str) -> tuple[float, float, float]:
    return ROUNDING.get(precision, ROUNDING["int8"])


def _allowed_mean(recorded: Floats, largest: float, rounding: float) -> float:
    return max(rounding * float(recorded.astype(np.float64).std()), _LEAST_SHARE * largest)


def _compare(
    name: str, found: Floats, recorded: Floats, largest: float, rounding: float, shift: float
) -> list[tuple[float, str]]:
    """Return differences as shares of what is allowed, each with what it is."""
    off = np.abs(found.astype(np.float64) - recorded)
    mean, allowed = float(off.mean()), _allowed_mean(recorded, largest, rounding)
    most = float(off.max())
    result = [
        (mean / allowed, f"{name} is off by {mean:.3g} on average, {allowed:.3g} is rounding"),
        (most / largest, f"{name} is off by {most:.3g}, {largest:.3g} is allowed"),
    ]
    signed = found.astype(np.float64) - recorded
    # A class is rounded by its own weights, and may move a little as a whole; a box side may not.
    moves = signed.mean(axis=0) if name == "pred_boxes" else np.array([signed.mean()])
    moved = float(moves[np.argmax(np.abs(moves))])
    result.append((
        abs(moved) / (shift * allowed),
        f"{name} as a whole is off by {moved:+.3g}, {shift * allowed:.3g} is rounding",
    ))  # fmt: skip
    if off.ndim == 2:
        columns = off.mean(axis=0)
        worst = int(np.argmax(columns))
        result.append((
            float(columns[worst]) / (_COLUMN * allowed),
            f"column {worst} of {name} is off by {columns[worst]:.3g} on average",
        ))  # fmt: skip
        apart = np.stack(
            [np.abs(found - recorded[:, one, None]).mean(axis=0) for one in range(len(columns))], 1
        )
        nearer = columns / (_NEARER * np.maximum(apart.min(axis=1), 1e-12))
        nearer[columns < allowed / _NEARER] = 0.0
        one = int(np.argmax(nearer))
        result.append((
            float(nearer[one]),
            f"column {one} of {name} is column {int(np.argmin(apart[one]))} of the record",
        ))  # fmt: skip
    return result


def _places(found: Answer, recorded: Answer, conf: float) -> str | None:
    """Say which detections, of both answers, lie elsewhere than recorded."""
    theta = _logit(conf)
    both = (found[1] >= theta) & (recorded[1] >= theta)
    overlap = iou_matrix(_corners(found[0][both]), _corners(recorded[0][both])).diagonal()
    if not overlap.size or overlap.min() >= _SAME_PLACE:
        return None
    return f"a detection overlaps its recorded box by {overlap.min():.2f}, expected {_SAME_PLACE}"


def _corners(cxcywh: Floats) -> npt.NDArray[np.float64]:
    centre, half = cxcywh[:, :2].astype(np.float64), cxcywh[:, 2:].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _logit(conf: float) -> float:
    return math.log(conf / (1 - conf)) if 0 < conf < 1 else math.copysign(math.inf, conf - 0.5)


def _tokens(found: Floats, recorded: Floats, conf: float, allowed: float) -> str | None:
    """Say which tokens are above θ that should not be, or the other way round."""
    theta = _logit(conf)
    clear: Any = np.abs(recorded - theta) > _COLUMN * allowed
    wrong = np.flatnonzero(clear & ((found >= theta) != (recorded >= theta)))
    if not wrong.size:
        return None
    return f"{wrong.size} tokens are on the other side of θ = {conf:g}"
