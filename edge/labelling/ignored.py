"""People whom a detector sees and an annotation leaves out: to be ignored.

JHMDB-21 and UCF101-24 have boxes of those who do the action of the video. Whoever else is in view
may do the same, or nothing: a model that finds them is neither right nor wrong. What `edge label`
wrote for the same videos says where they are.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from edge.data.clips import VIDEO_SUFFIXES
from edge.data.dataset import ClipDataset, WrappedDataset
from edge.data.problems import several
from edge.data.samples import F32, ClipSample
from edge.labelling.boxes import areas, overlaps
from edge.labelling.store import SUMMARY, TRACKS, LabelledVideo, read_video
from edge.labelling.tracks import Track
from edge.labelling.videos import frame_times
from runtime.errors import ConfigError

logger = logging.getLogger(__name__)

KINDS = ("jhmdb", "ucf101-24")
"""Data sets whose annotation boxes actors only."""
# From this overlap on, or with so much of them in an actor's box, somebody is that actor.
ACTOR_IOU, ACTOR_SHARE = 0.3, 0.7
# A keyframe so many samples before or behind a track is still of it.
_REACH = 0.5


def boxes_actors_only(word: str) -> bool:
    """Tell whether a word names a data set whose other people may be ignored."""
    return word.partition(":")[0] in KINDS


class LabelledPeople:
    """Who is where in the videos of a folder that `edge label` wrote."""

    def __init__(self, folder: Path) -> None:
        """Read what was labelled; tracks that a review rejected are left out.

        Raises:
            ConfigError: It is no such folder, or nothing in it is finished.
            ArtifactError: A file is damaged.
        """
        files = sorted((folder / TRACKS).rglob("*.json"))
        if not (folder / SUMMARY).is_file() or not files:
            raise ConfigError(
                f"--ignore-people {folder} holds no finished labels; expected a folder that "
                "`edge label --out` wrote"
            )
        self.folder = folder
        rejected = _rejected(folder)
        self._tracks: dict[str, tuple[LabelledVideo, list[Track]]] = {}
        self._stems: dict[str, list[str]] = defaultdict(list)
        for file in files:
            video = read_video(file)
            gone = rejected.get(video.video, ())
            tracks = [track for number, track in enumerate(video.tracks) if number not in gone]
            name = _without_suffix(video.file)
            # The boxes before tracking are many, and of no use here.
            self._tracks[name] = (replace(video, samples=(), tracks=()), tracks)
            self._stems[PurePosixPath(name).name].append(name)

    def name_of(self, video: str) -> str | None:
        """Return what a data set's video is called here: by its path, else by its file's name."""
        if video in self._tracks:
            return video
        same = self._stems.get(PurePosixPath(video).name, [])
        return same[0] if len(same) == 1 else None

    def at(self, video: str, time_s: float) -> F32:
        """Return who is in a video at a time, (K, 4) xyxy in [0, 1]; nobody where it is unknown."""
        name = self.name_of(video)
        if name is None:
            return np.zeros((0, 4), np.float32)
        labels, tracks = self._tracks[name]
        sample = time_s / labels.every_s
        boxes = [track.at(float(np.clip(sample, track.start, track.end))) for track in tracks
                 if track.start - _REACH <= sample <= track.end + _REACH]  # fmt: skip
        shares = np.array(boxes, np.float64).reshape(-1, 4) / (labels.size_wh * 2)
        inside: F32 = np.clip(shares, 0.0, 1.0).astype(np.float32)
        return inside[areas(inside) > 0]


def beside_actors(people: F32, actors: F32) -> F32:
    """Return the people (K, 4) who are none of the actors (M, 4)."""
    if not len(people) or not len(actors):
        return people
    iou = overlaps(people, actors)
    own, others = areas(people)[:, None], areas(actors)[None]
    inside = iou / (1 + iou) * (own + others) / own
    return people[((iou < ACTOR_IOU) & (inside < ACTOR_SHARE)).all(axis=1)]


class Ignoring(WrappedDataset):
    """Clips whose keyframes are frames of videos, with people to be ignored."""

    def __init__(self, dataset: ClipDataset, people: LabelledPeople) -> None:
        """Look up the videos.

        Raises:
            ConfigError: Nothing is known of any of them.
        """
        super().__init__(dataset)
        self._people = people
        self._times: dict[str, list[float]] = {}
        missing = [video for video in self.media if people.name_of(video) is None]
        if len(missing) == len(self.media):
            raise ConfigError(
                f"--ignore-people {people.folder} has labels of none of the {len(missing)} videos, "
                f"as {missing[0]}; label these very videos"
            )
        if missing:
            logger.warning(
                "%s has no labels of %d of %d videos, where nobody is ignored: %s",
                people.folder, len(missing), len(self.media), several(missing),
            )  # fmt: skip

    def changed(self, sample: ClipSample) -> ClipSample:
        """Return a clip with whoever else is in view as `ignored`."""
        # By its name: another clip may stand in for one that cannot be decoded.
        video, _, frame = sample.clip_id.rpartition("/")
        seen = self._people.at(video, self._time_of(video, int(frame)))
        known: npt.NDArray[np.float32] = np.concatenate([sample.boxes, sample.inactive_persons])
        return replace(sample, ignored=beside_actors(seen, known))

    def _time_of(self, video: str, frame: int) -> float:
        """Return the time of a frame; a video's stamps are read when they are first asked for."""
        if video not in self._times:
            self._times[video] = frame_times(self.media[video])
        times = self._times[video]
        return times[frame] if frame < len(times) else frame / self.media[video].fps


def ignoring(dataset: ClipDataset, word: str, people: LabelledPeople | None) -> ClipDataset:
    """Return a data set with people to be ignored, where its annotation may miss some."""
    if people is None or not boxes_actors_only(word):
        return dataset
    return Ignoring(dataset, people)


def open_labelled(folder: str | None, words: Sequence[str]) -> LabelledPeople | None:
    """Read the folder of `--ignore-people`; None where the flag is not given.

    Args:
        folder: The flag's value.
        words: Data sets that it is meant for.

    Raises:
        ConfigError: None of them has an annotation that boxes actors only.
    """
    if folder is None:
        return None
    if not any(boxes_actors_only(word) for word in words):
        raise ConfigError(
            f"--ignore-people is about {' and '.join(f'{kind}:FOLDER' for kind in KINDS)}, whose "
            f"boxes are of actors only; {' '.join(words)} has none of them"
        )
    return LabelledPeople(Path(folder))


def _without_suffix(file: str) -> str:
    """Return the path of a video without its suffix; a folder of pictures may have a dot in it."""
    suffix = PurePosixPath(file).suffix
    return file.removesuffix(suffix) if suffix.lower() in VIDEO_SUFFIXES else file


def _rejected(folder: Path) -> Mapping[str, Sequence[int]]:
    """Return the tracks of each video that a review rejected, as the last run noted them."""
    try:
        content = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
        tracks = content.get("rejected", {}).get("of_videos", {})
        return {
            str(video): [int(number) for number in numbers] for video, numbers in tracks.items()
        }
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ConfigError(f"{folder / SUMMARY} cannot be read: {error}") from error
