"""Published files of true tubes: UCF101-24's corrected annotation, and the `GT` form of both sets.

Two forms, both pickles of plain data (`pickles.py`):

* `pyannot.pkl`: `{video: {numf, label, annotations: [{label, sf, ef, boxes}]}}`, frames from 0,
  `ef` behind the last, boxes `x, y, w, h` in 320x240, as bytes that must not be added as bytes.
* `*-GT.pkl`: `labels`, `gttubes[video][class]` = list of (n, 5) `frame, x1, y1, x2, y2` with frames
  from 1, `nframes`, `resolution` (height, width), `train_videos` and `test_videos`, a list a split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.data.annotations import Tube
from edge.data.pickles import array_of, load_plain_pickle
from edge.data.problems import Problem, ProblemList
from runtime.errors import ConfigError

UCF_SIZE_WH = (320, 240)
UCF_CLASSES = (
    "Basketball", "BasketballDunk", "Biking", "CliffDiving", "CricketBowling", "Diving", "Fencing",
    "FloorGymnastics", "GolfSwing", "HorseRiding", "IceDancing", "LongJump", "PoleVault",
    "RopeClimbing", "SalsaSpin", "SkateBoarding", "Skiing", "Skijet", "SoccerJuggling", "Surfing",
    "TennisSwing", "TrampolineJumping", "VolleyballSpiking", "WalkingWithDog",
)  # fmt: skip
# Of a video: more is no clip of these sets, and would be asked for frame by frame.
MAX_FRAMES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoTruth:
    """One video's annotation.

    Attributes:
        num_frames: Frames it was made on.
        size_wh: Width and height of these, px.
        tubes: Who does what, when and where.
    """

    num_frames: int
    size_wh: tuple[int, int]
    tubes: tuple[Tube, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeFile:
    """One published file.

    Attributes:
        class_names: The actions.
        videos: The truth of each video, by name.
        splits: Names of the videos to learn from and of those to test on, for each split; none
            where the file does not say.
    """

    class_names: tuple[str, ...]
    videos: dict[str, VideoTruth]
    splits: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]


def read_tube_file(path: Path, problems: ProblemList) -> TubeFile:
    """Read a file of either form.

    Raises:
        ConfigError: It is no plain pickle, or of neither form.
    """
    content = load_plain_pickle(path)
    if not isinstance(content, Mapping) or not content:
        raise ConfigError(f"{path} holds {type(content).__name__}, expected videos by name")
    if "gttubes" in content:
        return _read_gt(path, content, problems)
    return _read_pyannot(path, content, problems)


def _read_pyannot(path: Path, content: Mapping[Any, Any], problems: ProblemList) -> TubeFile:
    videos = {}
    for name in content:
        if not _is_name(name):
            raise ConfigError(f"{path} has a video {str(name)[:60]!r}, expected class/video")
        one = content[name]
        if not (isinstance(one, Mapping) and isinstance(one.get("annotations"), list)):
            raise ConfigError(
                f"{path}: video {name} has no list of annotations; expected numf, label and "
                "annotations of each video, or the keys of a GT file (gttubes, labels, ...)"
            )
        frames = _whole(path, name, "numf", one.get("numf"))
        where = f"{path.name}: {name}"
        tubes = [
            tube
            for number, item in enumerate(one["annotations"])
            if (tube := _pyannot_tube(f"{where}, annotation {number}", name, item, problems))
        ]
        videos[name] = _truth(where, frames, UCF_SIZE_WH, tubes, problems)
    return TubeFile(class_names=UCF_CLASSES, videos=videos, splits=())


def _pyannot_tube(where: str, video: str, item: object, problems: ProblemList) -> Tube | None:
    boxes = array_of(item.get("boxes")) if isinstance(item, Mapping) else None
    if not isinstance(item, Mapping) or boxes is None or boxes.ndim != 2 or boxes.shape[1] != 4:
        _wrong(problems, where, "no boxes (K, 4)", "label, sf, ef and boxes")
        return None
    try:
        label, first, stop = (int(item[key]) for key in ("label", "sf", "ef"))
    except (KeyError, TypeError, ValueError, OverflowError):
        _wrong(problems, where, "no whole label, sf and ef", "label, sf, ef and boxes")
        return None
    if stop - first != len(boxes) or first < 0 or not 0 <= label < len(UCF_CLASSES):
        _wrong(problems, where, f"frames {first} to {stop} with {len(boxes)} boxes, label {label}",
               f"a box for each frame, a label below {len(UCF_CLASSES)}")  # fmt: skip
        return None
    # The file's smallest type is a byte: x + w of 182 + 98 would be 24 there.
    xywh = boxes.astype(np.float64)
    xyxy = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
    return _tube(where, video, label, np.arange(first, stop), xyxy, problems)


def _read_gt(path: Path, content: Mapping[Any, Any], problems: ProblemList) -> TubeFile:
    labels = content.get("labels")
    if not (isinstance(labels, list) and labels and all(isinstance(n, str) for n in labels)):
        raise ConfigError(f"{path} has no list of labels, expected the names of the actions")
    if len(set(labels)) != len(labels):
        raise ConfigError(f"{path} names an action twice")
    parts = {key: content.get(key) for key in ("gttubes", "nframes", "resolution")}
    for key, value in parts.items():
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} has no {key} by video, expected the keys of a GT file")
    videos = {}
    for name, by_class in parts["gttubes"].items():  # type: ignore[union-attr]
        if not _is_name(name) or not isinstance(by_class, Mapping):
            raise ConfigError(f"{path} has a video {str(name)[:60]!r}, expected class/video")
        where = f"{path.name}: {name}"
        frames = _whole(path, name, "nframes", parts["nframes"].get(name))  # type: ignore[union-attr]
        size_wh = _size_wh(path, name, parts["resolution"].get(name))  # type: ignore[union-attr]
        tubes = list(_gt_tubes(where, name, by_class, len(labels), problems))
        videos[name] = _truth(where, frames, size_wh, tubes, problems)
    splits = tuple(
        zip(_splits(path, content, "train_videos"), _splits(path, content, "test_videos"),
            strict=False)
    )  # fmt: skip
    return TubeFile(class_names=tuple(labels), videos=videos, splits=splits)


def _gt_tubes(
    where: str, video: str, by_class: Mapping[Any, Any], num_classes: int, problems: ProblemList
) -> Iterator[Tube]:
    for label, tubes in by_class.items():
        if type(label) is not int or not 0 <= label < num_classes or not isinstance(tubes, list):
            _wrong(problems, where, f"class {str(label)[:20]!r}", f"a class below {num_classes}")
            continue
        for number, item in enumerate(tubes):
            rows = array_of(item)
            at = f"{where}, tube {number} of class {label}"
            if rows is None or rows.ndim != 2 or rows.shape[1] != 5 or rows.dtype.kind not in "iuf":
                _wrong(problems, at, "no array (n, 5)", "rows of frame, x1, y1, x2, y2")
                continue
            rows = rows.astype(np.float64)
            tube = _tube(at, video, label, rows[:, 0] - 1, rows[:, 1:], problems)
            if tube is not None:
                yield tube


def _splits(path: Path, content: Mapping[Any, Any], key: str) -> list[tuple[str, ...]]:
    value = content.get(key)
    good = isinstance(value, list) and all(
        isinstance(part, list) and all(isinstance(name, str) for name in part) for part in value
    )
    if not good:
        raise ConfigError(f"{path} has no {key}, expected a list of videos for each split")
    assert isinstance(value, list)
    return [tuple(part) for part in value]


def _tube(
    where: str, video: str, label: int, frames: npt.NDArray[Any], xyxy: npt.NDArray[np.float64],
    problems: ProblemList,
) -> Tube | None:  # fmt: skip
    """Return a tube, or name what is wrong with it."""
    if not len(frames):
        _wrong(problems, where, "no frames", "one or more")
        return None
    if not (np.isfinite(frames).all() and np.isfinite(xyxy).all()):
        _wrong(problems, where, "values that are not finite", "numbers")
        return None
    whole = np.rint(frames).astype(np.int64)
    if (whole != frames).any() or whole[0] < 0 or not (np.diff(whole) > 0).all():
        _wrong(problems, where, f"frames {frames[:4].tolist()}...", "frame numbers that ascend")
        return None
    turned = (xyxy[:, 2:] < xyxy[:, :2]).any(axis=1)
    if turned.any():
        _wrong(problems, where, f"a box {xyxy[turned][0].tolist()} at frame {whole[turned][0]}",
               "x1 below x2 and y1 below y2")  # fmt: skip
        return None
    return Tube(video=video, label=label, frames=whole, boxes=xyxy.astype(np.float32))


def _truth(
    where: str, frames: int, size_wh: tuple[int, int], tubes: list[Tube], problems: ProblemList
) -> VideoTruth:
    """Return a video's truth without the tubes that go on behind its end."""
    good = []
    for tube in tubes:
        if tube.frames[-1] >= frames:
            _wrong(problems, where, f"a tube to frame {tube.frames[-1]}, counted from 0",
                   f"frames below {frames}, which the video has")  # fmt: skip
        else:
            good.append(tube)
    return VideoTruth(num_frames=frames, size_wh=size_wh, tubes=tuple(good))


def _is_name(name: object) -> bool:
    """Tell whether a text can name a video below a folder, and nothing outside of it."""
    if not isinstance(name, str) or not name or "\0" in name or "\\" in name:
        return False
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _whole(path: Path, video: str, key: str, value: object) -> int:
    good = isinstance(value, int | np.integer) and 1 <= int(value) <= MAX_FRAMES
    if not good:
        raise ConfigError(f"{path}: {key} of {video} is {str(value)[:30]}, expected its frames")
    return int(value)  # type: ignore[call-overload, no-any-return]


def _size_wh(path: Path, video: str, value: object) -> tuple[int, int]:
    sides = list(value) if isinstance(value, tuple | list) else []
    if len(sides) != 2 or not all(type(n) is int and 1 <= n <= 65536 for n in sides):
        raise ConfigError(
            f"{path}: resolution of {video} is {str(value)[:30]}, expected (height, width)"
        )
    return sides[1], sides[0]


def _wrong(problems: ProblemList, where: str, came: str, expected: str) -> None:
    problems.add(Problem(where=where, came=came, expected=expected))
