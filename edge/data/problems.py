"""What is wrong with a data set, row by row, and how much of it can be used."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from runtime.errors import ConfigError
from runtime.report import markdown_table

logger = logging.getLogger(__name__)

# A hostile table of a million wrong rows is to be counted, not remembered.
MOST_KEPT = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        where: File, video or folder.
        came: What is there.
        expected: What should be there, or what to do.
        row: Number of the row in the file, from 1; None where it is no row.
    """

    where: str
    came: str
    expected: str
    row: int | None = None

    def __str__(self) -> str:
        place = self.where if self.row is None else f"{self.where}, row {self.row}"
        return f"{place}: {self.came}; expected {self.expected}"

    def as_dict(self) -> dict[str, Any]:
        """Return the same for a JSON file."""
        return {"where": self.where, "row": self.row, "came": self.came, "expected": self.expected}


class ProblemList:
    """Problems in the order they were found: the first ones whole, the others by count."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        """Keep at most `most` of them."""
        self.kept: list[Problem] = []
        self.count, self._most = 0, most

    def add(self, problem: Problem) -> None:
        """Add one."""
        self.count += 1
        if len(self.kept) < self._most:
            self.kept.append(problem)

    def __len__(self) -> int:
        """Return how many there are, kept or not."""
        return self.count

    def __iter__(self) -> Iterator[Problem]:
        """Iterate over those that are kept."""
        return iter(self.kept)

    def __getitem__(self, index: int) -> Problem:
        """Return one that is kept."""
        return self.kept[index]


@dataclass(slots=True, kw_only=True)
class DataReport:
    """What was found on the way to a data set.

    Attributes:
        name: What the data set is called.
        problems: Wrong rows and contents: the data set cannot be used before they are mended.
        skipped: Videos that are left out, each with the reason.
        notes: What is no fault and yet worth knowing.
        videos: Videos that give clips.
        keyframes: Clips.
        actors: People with an action, over all clips.
        inactive_persons: People without one.
        lost_keyframes: Clips left out because their video is.
        lost_boxes: Boxes of which nothing lies in the frame.
        per_class: How often each action occurs, by its name.
        tubes: True tubes.
    """

    name: str
    problems: ProblemList = field(default_factory=ProblemList)
    skipped: ProblemList = field(default_factory=ProblemList)
    notes: list[str] = field(default_factory=list)
    videos: int = 0
    keyframes: int = 0
    actors: int = 0
    inactive_persons: int = 0
    lost_keyframes: int = 0
    lost_boxes: int = 0
    per_class: dict[str, int] = field(default_factory=dict)
    tubes: int = 0

    @property
    def good(self) -> bool:
        """Tell whether nothing is wrong and nothing is left out."""
        return not (len(self.problems) or len(self.skipped))

    def wrong(self, where: object, row: int | None, came: str, expected: str) -> None:
        """Add a wrong row of a file."""
        self.problems.add(Problem(where=str(where), row=row, came=came, expected=expected))

    def skip(
        self, where: object, came: str, expected: str = "a video that can be decoded",
        row: int | None = None,
    ) -> None:  # fmt: skip
        """Add what is left out."""
        self.skipped.add(Problem(where=str(where), row=row, came=came, expected=expected))

    def refuse_wrong_rows(self, how_to_list: str) -> None:
        """Raise the first wrong row, and say how to see the others.

        Raises:
            ConfigError: There is one.
        """
        if not len(self.problems):
            return
        rest = len(self.problems) - 1
        more = f" (and {rest} more faults)" if rest > 1 else " (and one more fault)" * rest
        raise ConfigError(f"{self.problems[0]}{more}; `{how_to_list}` lists all")

    def log(self) -> None:
        """Log what the data set is, and by count what is left out of it."""
        logger.info("%s: %s of %s", self.name, _counted(self.keyframes, "clip"),
                    _counted(self.videos, "video"))  # fmt: skip
        if len(self.skipped):
            logger.warning(
                "%s: left out are %s, with %s; the first: %s", self.name,
                _counted(len(self.skipped), "video"), _counted(self.lost_keyframes, "clip"),
                self.skipped[0],
            )  # fmt: skip
        if self.lost_boxes:
            logger.warning("%s: outside of their frame lie %s", self.name,
                           _counted(self.lost_boxes, "box"))  # fmt: skip
        for note in self.notes:
            logger.info("%s: %s", self.name, note)

    def lines(self, most: int) -> list[str]:
        """Return faults, tables and a verdict as text; of the faults, the first `most`."""
        faults = [*sorted(self.problems, key=lambda p: (p.where, p.row or 0)), *self.skipped]
        count = len(self.problems) + len(self.skipped)
        lines = [str(fault) for fault in faults[:most]]
        if count > len(lines):
            lines.append(f"... and {count - len(lines)} more")
        lines += [*([""] if lines else []), f"# {self.name}", "", *self.summary(), ""]
        lines += [f"note: {note}" for note in self.notes]
        verdict = _counted(count, "fault") if count else "nothing is wrong"
        return [*lines, f"{self.name}: {verdict}"]

    def summary(self) -> list[str]:
        """Return the tables of what there is."""
        counts = [
            ("videos", self.videos), ("videos left out", len(self.skipped)),
            ("clips", self.keyframes), ("clips left out", self.lost_keyframes),
            ("actors", self.actors), ("bystanders", self.inactive_persons), ("tubes", self.tubes),
            ("boxes outside the frame", self.lost_boxes), ("faults of rows", len(self.problems)),
        ]  # fmt: skip
        lines = markdown_table([["what", "count"], *([n, str(v)] for n, v in counts)])
        if self.per_class:
            rows = [[name, str(count)] for name, count in self.per_class.items()]
            lines += ["", *markdown_table([["class", "actors"], *rows])]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for a JSON file."""
        plain = ("name", "videos", "keyframes", "actors", "tubes", "lost_keyframes", "lost_boxes",
                 "per_class", "notes")  # fmt: skip
        return {
            "good": self.good,
            **{name: getattr(self, name) for name in plain},
            "bystanders": self.inactive_persons,
            "wrong": len(self.problems),
            "problems": [problem.as_dict() for problem in self.problems],
            "skipped": [problem.as_dict() for problem in self.skipped],
        }


def _counted(count: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("x") else f"{word}s"
    return f"{count} {word if count == 1 else plural}"


def several(words: Iterable[str], most: int = 5) -> str:
    """Return the first few words, and how many more there are."""
    words = list(words)
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
