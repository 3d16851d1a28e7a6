"""True tubes from a file: our JSON, or the published pickles of JHMDB-21 and UCF101-24."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from edge.data.annotations import Tube
from edge.data.problems import ProblemList
from edge.data.tube_files import read_tube_file
from edge.evaluation.tube_json import FoundFile, is_tube_file, read_found_tubes, read_true_tubes
from edge.evaluation.video import FoundTube
from runtime.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TubeTruth:
    """What is true in a set of videos.

    Attributes:
        class_names: The actions.
        tubes: The true tubes of the videos that count.
        others: Videos that the file knows and that do not count: those of another split.
    """

    class_names: tuple[str, ...]
    tubes: tuple[Tube, ...]
    others: frozenset[str] = frozenset()


def is_truth_file(path: Path) -> bool:
    """Tell by its name whether a file holds true tubes."""
    return is_tube_file(path) or path.suffix.lower() == ".pkl"


def read_truth(path: Path, *, split: int = 1) -> TubeTruth:
    """Read true tubes.

    Args:
        path: `.json`, `.json.gz`, or a `.pkl` as JHMDB-21 and UCF101-24 are published; that is read
            without running what it holds.
        split: Whose test videos count, from 1, where the file has splits.

    Raises:
        ConfigError: The file cannot be read, something in it is wrong, or there is no such split.
    """
    if is_tube_file(path):
        read = read_true_tubes(path)
        return TubeTruth(class_names=read.class_names, tubes=read.tubes)
    problems = ProblemList()
    file = read_tube_file(path, problems)
    if len(problems):
        rest = f" (and {len(problems) - 1} more faults)" if len(problems) > 1 else ""
        raise ConfigError(f"{problems[0]}{rest}")
    videos = list(file.videos)
    if file.splits:
        if not 1 <= split <= len(file.splits):
            raise ConfigError(f"{path} has splits 1 to {len(file.splits)}, not {split}")
        videos = [name for name in file.splits[split - 1][1] if name in file.videos]
    return TubeTruth(
        class_names=file.class_names,
        tubes=tuple(tube for name in videos for tube in file.videos[name].tubes),
        others=frozenset(file.videos) - frozenset(videos),
    )


def read_found(path: Path, *, split: int = 1) -> FoundFile:
    """Read tubes that are to be measured.

    Args:
        path: A model's tubes as JSON, or a published `.pkl`, whose true tubes then count as found
            with score 1: truth against itself shows whether two files are about the same videos.
        split: As `read_truth` takes it.

    Raises:
        ConfigError: As `read_truth`.
    """
    if is_tube_file(path):
        return read_found_tubes(path)
    truth = read_truth(path, split=split)
    names = [field.name for field in fields(Tube)]
    tubes = tuple(
        FoundTube(**{name: getattr(tube, name) for name in names}, score=1.0)
        for tube in truth.tubes
    )
    return FoundFile(
        class_names=truth.class_names,
        tubes=tubes,
        scores=tuple(np.ones(len(tube.frames), dtype=np.float32) for tube in tubes),
    )
