"""Times of actions as GMDCSA24 writes them: `Falling (SW)[3.4 to 6]; Sitting[0 to 3.4]`.

Written by hand: brackets are missing, a fall has two names, an action stands there without a time.
What cannot be understood makes its action unknown in that video, and is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.data.samples import Bools
from edge.data.table import csv_rows
from runtime.errors import ConfigError

KINDS = ("ADL", "Fall")
# As the files call it -> as it is called here. Sitting is no act of sitting down: another word.
WORDS = {
    "falling": "fall",
    "fall": "fall",
    "walking": "walk",
    "sitting": "sitting",
    "standing": "standing",
    "sleeping": "lying",
    "reading": "reading",
    "drinking": "drinking",
    "eating": "eating",
    "writing": "writing",
    "exercising": "exercising",
}
CLASSES = ("person", *dict.fromkeys(WORDS.values()))
# A person is in one of these at a time, so that one of them says the others are not.
POSTURES = ("fall", "walk", "sitting", "standing", "lying")
FALLING_S = 2.0
"""Seconds of an interval of a fall in which somebody falls; behind it they lie where they fell."""
# On the floor nobody walks; whether they sit or lie there is not said.
_NOT_WHILE_FALLEN = ("walk",)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_WAYS = re.compile(r"\(\s*[A-Za-z]{2}\s*\)?")  # forwards, backwards, sideways
_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(?:to\b)?\s*(\d+(?:\.\d+)?)")


@dataclass(slots=True)
class TimedActions:
    """What one video's row says.

    Attributes:
        spans: Begin and end of each action, seconds.
        open: Actions whose time is not said, or cannot be.
        odd: What was not understood.
    """

    spans: list[tuple[str, float, float]] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)

    def at(self, time_s: float) -> tuple[list[str], Bools]:
        """Return what is done at a time, and of which of `CLASSES` it is known then, (C,)."""
        known = dict.fromkeys(CLASSES, False)
        known["person"] = True
        running = [span for span in self.spans if span[1] <= time_s <= span[2]]
        postures = [name for name, _, _ in running if name in POSTURES]
        if postures:
            fallen = "fall" in postures
            others = _NOT_WHILE_FALLEN if fallen else POSTURES
            acts = (name for name in CLASSES[1:] if name not in POSTURES)
            for name in (*others, *acts):
                if name not in self.open:
                    known[name] = True
        done = ["person"]
        for name, start, _ in running:
            if name == "fall" and time_s > start + FALLING_S + 1e-6:
                continue
            known[name] = True
            done.append(name)
        return list(dict.fromkeys(done)), np.array([known[name] for name in CLASSES])


def understand(text: str) -> TimedActions:
    """Understand the last column of a row."""
    actions = TimedActions()
    odd = actions.odd
    text = _WAYS.sub(" ", text)
    words = [m for m in _WORD.finditer(text) if m.group().lower() != "to"]
    for number, match in enumerate(words):
        name = WORDS.get(match.group().lower())
        stop = words[number + 1].start() if number + 1 < len(words) else len(text)
        if name is None:
            odd.append(f"the action {match.group()[:30]!r}")
            continue
        spans = [(float(a), float(b)) for a, b in _SPAN.findall(text[match.end() : stop])]
        wrong = [span for span in spans if span[1] <= span[0]]
        odd += [] if spans else [f"{match.group()} without a time"]
        odd += [f"{match.group()} from {start:g} to {end:g} s" for start, end in wrong]
        if wrong or not spans:
            actions.open.add(name)
        actions.spans += [(name, *span) for span in spans if span not in wrong]
    return actions


def read_actions(root: Path) -> dict[str, TimedActions]:
    """Read `Subject_1_ADL.csv`, `Subject_1_Fall.csv` and so on.

    Returns:
        The actions of each video, by its name without a suffix: `Subject_1_Fall_03`.

    Raises:
        ConfigError: There is no such table, or one cannot be read.
    """
    tables = [path for kind in KINDS for path in sorted(root.glob(f"Subject_*_{kind}.csv"))]
    if not tables:
        raise ConfigError(
            f"{root} has no Subject_1_ADL.csv, Subject_1_Fall.csv and so on, expected the times of "
            "the actions"
        )
    videos: dict[str, TimedActions] = {}
    for path in tables:
        for _, cells in csv_rows(path):
            if len(cells) < 2 or cells[0].lower() in ("", "file name"):
                continue
            videos[f"{path.stem}_{Path(cells[0]).stem}"] = understand(cells[-1])
    return videos
