"""What a person says of the tracks: the page to look at, and the table that comes back."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edge.labelling.store import LabelledVideo
from runtime.errors import ConfigError
from runtime.options import did_you_mean


@dataclass(frozen=True, slots=True)
class Rejected:
    """What goes.

    Attributes:
        tracks: (video, number of the track).
        videos: Whole videos.
    """

    tracks: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    videos: frozenset[str] = field(default_factory=frozenset)

    def of(self, video: str) -> frozenset[int]:
        """Return the numbers of the rejected tracks of a video."""
        return frozenset(number for name, number in self.tracks if name == video)


def read_review(path: Path, labels: Mapping[str, LabelledVideo]) -> Rejected:
    """Read `video,person,keep`; a row without a person is about the whole video.

    Raises:
        ConfigError: It cannot be read, or a row names no track of these labels.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--review {path} cannot be read: {error}") from error
    tracks: set[tuple[str, int]] = set()
    videos: set[str] = set()
    for number, row in enumerate(rows, 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells == ["video", "person", "keep"]:
            continue
        where = f"--review {path}, row {number}"
        if len(cells) != 3 or cells[2] not in ("0", "1"):
            raise ConfigError(f"{where}: {','.join(cells)[:60]!r}; expected video,person,keep with "
                              "keep 1 or 0")  # fmt: skip
        video, person, keep = cells
        if video not in labels:
            raise ConfigError(f"{where}: no video {video!r}.{did_you_mean(video, labels)}")
        if not person:
            videos |= {video} if keep == "0" else set()
            continue
        if not person.isdecimal() or int(person) >= len(labels[video].tracks):
            raise ConfigError(f"{where}: {video} has no person {person!r}; it has "
                              f"{len(labels[video].tracks)} tracks, from 0")  # fmt: skip
        if keep == "0":
            tracks.add((video, int(person)))
    return Rejected(frozenset(tracks), frozenset(videos))
