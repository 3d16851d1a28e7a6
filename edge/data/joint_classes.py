"""The classes of the default model, and what each kind of data says of them (`class_tables.py`).

JHMDB-21's classes keep their published names, since figures are given by them. Between two of them
nothing is unknown: its own evaluation counts each of them as wrong for all the others.
"""

from __future__ import annotations

from pathlib import Path

from edge.data.class_tables import ANY, PERSON, ClassTable, SourceClasses, read_class_table
from runtime.errors import ConfigError

JHMDB_CLASSES = (
    "brush_hair",
    "catch",
    "clap",
    "climb_stairs",
    "golf",
    "jump",
    "kick_ball",
    "pick",
    "pour",
    "pullup",
    "push",
    "run",
    "shoot_ball",
    "shoot_bow",
    "shoot_gun",
    "sit",
    "stand",
    "swing_baseball",
    "throw",
    "walk",
    "wave",
)
DRAWN_CLASSES = (
    "put down",
    "raise hand",
    "turn left",
    "turn right",
    "punch",
    "kick",
    "fall",
    "phone",
)
"""Those of the drawn world that JHMDB-21 has not."""
FIGHTING = "fighting"
JOINT_CLASSES = (*JHMDB_CLASSES, *DRAWN_CLASSES, FIGHTING, PERSON)

_ARMS_UP = ("raise hand",)

JOINT = ClassTable(
    names=JOINT_CLASSES,
    sources={
        ANY: SourceClasses(
            join={
                "walk forward": "walk",
                "walk backward": "walk",
                "sit down": "sit",
                "stand up": "stand",
                "pick up": "pick",
            }
        ),
        # Everything that its people do is told; what they may look like is not.
        "drawn": SourceClasses(
            absent=(
                "brush_hair",
                "catch",
                "climb_stairs",
                "golf",
                "kick_ball",
                "pour",
                "pullup",
                "push",
                "shoot_ball",
                "shoot_bow",
                "shoot_gun",
                "swing_baseball",
                FIGHTING,
            ),
            unknown={
                "walk": ("climb_stairs",),
                "throw": ("shoot_ball",),
                "kick": ("kick_ball", FIGHTING),
                "punch": ("push", FIGHTING),
                "put down": ("pour",),
            },
        ),
        # One action for each video. Of turning to a side nothing is said: many do beside theirs.
        "jhmdb": SourceClasses(
            absent=("put down", "raise hand", "punch", "kick", "fall", "phone", FIGHTING),
            unknown={
                "brush_hair": ("raise hand", "phone"),
                "catch": ("raise hand", "fall"),
                "jump": ("fall",),
                "kick_ball": ("kick", "fall"),
                "pick": ("put down",),
                "pour": ("put down",),
                "pullup": _ARMS_UP,
                "push": ("punch", FIGHTING),
                "shoot_ball": _ARMS_UP,
                "shoot_bow": _ARMS_UP,
                "sit": ("phone",),
                "stand": ("phone",),
                "throw": _ARMS_UP,
                "walk": ("phone",),
                "wave": _ARMS_UP,
            },
        ),
        # Who sits does not sit down: states are left out, but say what is not done (`known`).
        # What else people do there is told in words, and is none of these.
        "gmdcsa24": SourceClasses(
            join={
                "sitting": None,
                "standing": None,
                "lying": None,
                "reading": None,
                "drinking": None,
                "eating": None,
                "writing": None,
                "exercising": None,
            },
            absent=(
                "catch",
                "climb_stairs",
                "golf",
                "jump",
                "kick_ball",
                "pullup",
                "push",
                "run",
                "shoot_ball",
                "shoot_bow",
                "shoot_gun",
                "swing_baseball",
                "punch",
                "kick",
                FIGHTING,
            ),
        ),
    },
)


def class_table(classes: str) -> ClassTable | None:
    """Return the table that `--classes` names: `joint`, a file, or none for `own`.

    Raises:
        ConfigError: It is neither, or the file is no table.
    """
    if classes == "own":
        return None
    if classes == "joint":
        return JOINT
    path = Path(classes)
    if not path.is_file():
        raise ConfigError(f"--classes is {classes[:120]!r}, expected own, joint, or a table of "
                          "classes as .yaml or .json")  # fmt: skip
    return read_class_table(path, JOINT)
