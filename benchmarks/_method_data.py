"""JHMDB-21 for the tables of methods: kept features, own classes, sparse keyframes, boxes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.annotations import ClipPlace, Tube
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.problems import DataReport
from edge.data.samples import ClipSample
from edge.data.tube_clips import open_tubes
from edge.training.features import FeatureClips
from runtime.errors import ConfigError
from runtime.types import ClipSpec, Progress

logger = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
KEYFRAME_STEP = 8
"""Every so manyth labelled frame of a test video is a keyframe."""
MOST_PEOPLE = 6
"""Boxes of the detector that are kept for a keyframe: MoveNet MultiPose finds up to six people."""
SPLIT = 1
_ONE_FRAME = ClipSpec(num_frames=1, sampling_rate=1, fps=30.0, height=32, width=32)


def jhmdb(root: Path, shape: ClipSpec, *, part: str) -> ClipDataset:
    """Open a part of JHMDB-21, split 1, with its own 21 classes.

    Raises:
        ConfigError: Files are missing.
    """
    report = DataReport(name="jhmdb")
    return open_tubes("jhmdb", root, shape, report, split=SPLIT, part=part, strict=False)


class SparseKeyframes(WrappedDataset):
    """Every nth clip of each video."""

    def __init__(self, dataset: ClipDataset, step: int = KEYFRAME_STEP) -> None:
        """Choose from each video the clips `step // 2`, `step // 2 + step`, ...; at least one.

        Raises:
            ConfigError: A clip lies in no video.
        """
        super().__init__(dataset)
        by_video: dict[str, list[int]] = {}
        for index in range(len(dataset)):
            place = dataset.where(index)
            if place is None:
                raise ConfigError("sparse keyframes need clips of videos, got one of none")
            by_video.setdefault(place.video, []).append(index)
        self.chosen = [
            index
            for clips in by_video.values()
            for index in (clips[step // 2 :: step] or clips[len(clips) // 2 :][:1])
        ]

    def __len__(self) -> int:
        return len(self.chosen)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return the `index`th of the chosen clips."""
        return self.dataset.clip(self.chosen[self.checked(index)], epoch)

    def without_frames(self, index: int) -> ClipSample | None:
        """Return the `index`th of the chosen clips with black frames."""
        return self.dataset.without_frames(self.chosen[self.checked(index)])

    def where(self, index: int) -> ClipPlace | None:
        """Return where the `index`th of the chosen clips lies."""
        return self.dataset.where(self.chosen[self.checked(index)])


class OwnClasses(WrappedDataset):
    """Kept features of JHMDB, labelled by the class that the folder of the video names.

    All actors of a JHMDB video do the same, so that features which were made with joint classes
    serve as well. Mosaics show several videos and are left out.
    """

    def __init__(self, features: FeatureClips, class_names: Sequence[str]) -> None:
        """Find the clips of single videos.

        Raises:
            ConfigError: A clip is of a video in no folder of a class, or all are mosaics.
        """
        super().__init__(features)
        self.class_names = tuple(class_names)
        columns = {name.replace(" ", "_"): at for at, name in enumerate(class_names)}
        columns |= {name: at for at, name in enumerate(class_names)}
        self.kept: list[int] = []
        self.labels: list[int] = []
        for index, clip_id in enumerate(features.clip_ids()):
            if "+" in clip_id:
                continue
            folder = clip_id.split("/")[0]
            if folder not in columns:
                raise ConfigError(f"clip {clip_id}: {folder} is none of JHMDB's classes")
            self.kept.append(index)
            self.labels.append(columns[folder])
        if not self.kept:
            raise ConfigError(f"{features.folder} has mosaics alone; expected single clips")

    def __len__(self) -> int:
        return len(self.kept)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index`, its actors labelled by the class of their video."""
        sample = self.dataset.clip(self.kept[self.checked(index)], epoch)
        labels = np.zeros((len(sample.boxes), len(self.class_names)), np.float32)
        labels[:, self.labels[index]] = 1.0
        return replace(
            sample,
            labels=labels,
            label_mask=np.ones(labels.shape, bool),
            bag_id=np.full(labels.shape, -1, np.int64),
        )


class NumberedKeyframes(WrappedDataset):
    """Some keyframes of videos, with their own truth.

    Videos go on between these keyframes. Frames are numbered by keyframe here, in places and true
    tubes, so that video-mAP looks at the keyframes alone.
    """

    def __init__(self, clips: ClipDataset, numbers: Sequence[int]) -> None:
        """Take the clips of these numbers, which rise."""
        super().__init__(clips)
        self.numbers = list(numbers)
        self._keyframes: dict[str, list[int]] = {}
        for index in self.numbers:
            place = clips.where(index)
            assert place is not None
            self._keyframes.setdefault(place.video, []).append(place.frame)

    def __len__(self) -> int:
        return len(self.numbers)

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index` with its decoded frames."""
        return self.dataset.clip(self.numbers[self.checked(index)], epoch)

    def without_frames(self, index: int) -> ClipSample | None:
        """Return clip `index` with black frames."""
        return self.dataset.without_frames(self.numbers[self.checked(index)])

    def where(self, index: int) -> ClipPlace | None:
        """Return where clip `index` lies in its video."""
        return self.dataset.where(self.numbers[self.checked(index)])

    def place(self, index: int) -> ClipPlace:
        """Return where clip `index` lies, its frame the number of the keyframe in its video."""
        place = self.where(index)
        assert place is not None
        return replace(place, frame=self._keyframes[place.video].index(place.frame))

    def tubes(self) -> list[Tube]:
        """Return the true tubes at the keyframes, numbered so; those without one are left out."""
        found = []
        for tube in self.dataset.tubes():
            keyframes = self._keyframes.get(tube.video, [])
            kept = np.isin(tube.frames, keyframes)
            if kept.any():
                numbers = [keyframes.index(frame) for frame in tube.frames[kept].tolist()]
                found.append(
                    replace(tube, frames=np.array(numbers, np.int64), boxes=tube.boxes[kept])
                )
        return found


class KeptTest(NumberedKeyframes):
    """Those test clips of which features are kept, by video and frame."""

    def __init__(self, features: FeatureClips, clips: ClipDataset) -> None:
        """Pair features and clips by name.

        Raises:
            ConfigError: Features are of a clip that is none of these.
        """
        number = {clip_name(clips, index): index for index in range(len(clips))}
        unknown = [name for name in features.clip_ids() if name not in number]
        if unknown:
            raise ConfigError(
                f"{features.folder} has features of {unknown[0]}, which is no test clip; make them "
                "of the part test-annotated with --augment off"
            )
        pairs = sorted((number[name], at) for at, name in enumerate(features.clip_ids()))
        super().__init__(clips, [one for one, _ in pairs])
        self.features, self.at = features, [at for _, at in pairs]

    def clip(self, index: int, epoch: int = 0) -> ClipSample:
        """Return clip `index`: its own truth, and features in place of frames."""
        kept = self.features[self.at[self.checked(index)]]
        truth = self.without_frames(index)
        assert truth is not None
        return replace(
            truth, frames_rgb=kept.frames_rgb, features=kept.features,
            feature_scales=kept.feature_scales,
        )  # fmt: skip

    def with_frames(self, index: int) -> ClipSample:
        """Return clip `index` with its decoded frames, without features."""
        return super().clip(index)


def clip_name(clips: ClipDataset, index: int) -> str:
    """Return the name of a clip without reading its frames."""
    blank = clips.without_frames(index)
    assert blank is not None
    return blank.clip_id


@dataclass(frozen=True, slots=True)
class PeopleBoxes:
    """What a detector of people finds at each keyframe.

    Attributes:
        xyxy: (K, MOST_PEOPLE, 4) shares of the frame; zero where there is nobody.
        scores: (K, MOST_PEOPLE), 0 where there is nobody.
    """

    xyxy: F32
    scores: F32


def detect_people(
    clips: ClipDataset, detector: Path, kept: Path, progress: Progress | None = None
) -> PeopleBoxes:
    """Run a detector over the keyframes, once; the result is kept in a file.

    Args:
        clips: The clips; each says where it lies.
        detector: ONNX file.
        kept: Where the boxes are kept (.npz).
        progress: Told of the keyframes that are done.
    """
    if kept.exists():
        with np.load(kept) as data:
            return PeopleBoxes(data["xyxy"], data["scores"])
    from edge.labelling.detectors import Detector

    found = Detector(detector)
    xyxy = np.zeros((len(clips), MOST_PEOPLE, 4), np.float32)
    scores = np.zeros((len(clips), MOST_PEOPLE), np.float32)
    for index in range(len(clips)):
        frame = keyframe_bgr(clips, index)
        boxes = found.detect(frame, floor=0.05)
        height, width = frame.shape[:2]
        count = min(len(boxes.scores), MOST_PEOPLE)
        xyxy[index, :count] = boxes.xyxy[:count] / np.array([width, height] * 2, np.float32)
        scores[index, :count] = boxes.scores[:count]
        if progress is not None:
            progress("people at keyframes", index + 1, len(clips))
    np.savez(kept, xyxy=xyxy, scores=scores)
    return PeopleBoxes(xyxy, scores)


def labelled_people(clips: ClipDataset, folder: Path) -> PeopleBoxes:
    """Return what the detector of `edge label` found, before tracking, nearest to each keyframe.

    Args:
        clips: The clips; each says where it lies.
        folder: What `edge label` wrote for the videos.

    Raises:
        ConfigError: A video is not labelled.
        ArtifactError: A file is damaged.
    """
    from edge.labelling.store import LabelledVideo, read_video, tracks_path

    videos: dict[str, LabelledVideo] = {}
    found = PeopleBoxes(
        np.zeros((len(clips), MOST_PEOPLE, 4), np.float32),
        np.zeros((len(clips), MOST_PEOPLE), np.float32),
    )
    for index in range(len(clips)):
        place = clips.where(index)
        assert place is not None
        if place.video not in videos:
            path = tracks_path(folder, place.video)
            if not path.is_file():
                raise ConfigError(f"{folder} has no labels of video {place.video}")
            videos[place.video] = read_video(path)
        video = videos[place.video]
        nearest = min(round(place.timestamp / video.every_s), len(video.samples) - 1)
        boxes = video.samples[nearest]
        count = min(len(boxes), MOST_PEOPLE)
        found.xyxy[index, :count] = boxes.xyxy[:count] / np.array(video.size_wh * 2, np.float32)
        found.scores[index, :count] = boxes.scores[:count]
    return found


def true_boxes(clips: ClipDataset) -> PeopleBoxes:
    """Return the annotated boxes in the place of a detector's."""
    xyxy = np.zeros((len(clips), MOST_PEOPLE, 4), np.float32)
    scores = np.zeros((len(clips), MOST_PEOPLE), np.float32)
    for index in range(len(clips)):
        boxes = clips[index].boxes[:MOST_PEOPLE]
        xyxy[index, : len(boxes)], scores[index, : len(boxes)] = boxes, 1.0
    return PeopleBoxes(xyxy, scores)


def keyframe_bgr(clips: ClipDataset, index: int) -> npt.NDArray[np.uint8]:
    """Return the keyframe of a clip in the size of its video."""
    place = clips.where(index)
    assert place is not None
    (frame,) = clips.media[place.video].read_at_frame(place.frame, _ONE_FRAME)
    return np.asarray(frame, np.uint8)
