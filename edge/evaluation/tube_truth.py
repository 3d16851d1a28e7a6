"""True tubes from a file: our JSON, or the published pickles of JHMDB-21 and UCF101-24."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.data.annotations import Tube
from edge.data.problems import ProblemList
from edge.data.tube_files import read_tube_file
from edge.evaluation.tube_json import is_tube_file, read_true_tubes
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
