"""What `bundle.json` says: the fields of a bundle, checked as they are read.

It is everything a runtime needs; nothing about a model is hard-coded anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from runtime._schema import check_fields
from runtime.errors import ArtifactError, ArtifactMismatchError
from runtime.types import ClipSpec, Outputs

SCHEMA_VERSION = 1


BUNDLE_FILE = "bundle.json"


DIGEST_KEY = "content_sha256"


PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


# What a program gives, in this order: boxes as cxcywh of the frame, and two kinds of logits.
OUTPUTS = Outputs._fields


DEFAULT_ACTION_CONF = 0.5
"""From this probability on an action is named, where nothing else is known."""


# Where the fields of the clip are in the file, and what every clip is fed as.
_SECTIONS = {
    "clip": ("num_frames", "sampling_rate", "fps"),
    "input": ("height", "width", "mean", "std"),
}
FED = {"layout": "ntchw", "dtype": "float32", "colour": "rgb", "resize": "triangle-q14"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """How an artifact's `conf` was fitted, and what other thresholds would give.

    Attributes:
        rule: `f1`: it maximises the F1 of actors on labelled clips.
        clips: How many clips that were.
        f1: F1 of the actors at `conf`.
        precision: Share of the kept tokens that found an actor nobody else had found.
        recall: Share of the actors that were found.
        curve: Points (threshold, precision, recall), the threshold rising.
    """

    rule: str
    clips: int
    f1: float
    precision: float
    recall: float
    curve: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        _require(self.rule == "f1", f"rule is {self.rule!r}, this runtime knows 'f1'")
        _require(self.clips > 0, f"clips is {self.clips}, not positive")
        _require(len(self.curve) <= 256, f"curve has {len(self.curve)} points, at most 256")
        shares = (self.f1, self.precision, self.recall, *(v for point in self.curve for v in point))
        bad = next((share for share in shares if not 0.0 <= share <= 1.0), None)
        _require(bad is None, f"the threshold's record holds {bad}, not 0..1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionThreshold:
    """From which probability on an artifact's results name an action, and how that was fitted.

    Attributes:
        conf: The threshold; a probability equal to it is enough.
        f1: F1 of the action at `conf`, among people who were found and of whom it is known; of an
            action that is labelled for whole videos, among the videos. So are all counts below.
        precision: Share of those it was said of who do it.
        recall: Share of those who do it of whom it was said.
        doing: How many of them do it.
        not_doing: How many do not.
    """

    conf: float
    f1: float
    precision: float
    recall: float
    doing: int
    not_doing: int

    def __post_init__(self) -> None:
        for name in ("conf", "f1", "precision", "recall"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"{name} of an action is {value}, not 0..1")
        _require(min(self.doing, self.not_doing) >= 0, "an action was fitted on fewer than nobody")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One program for one engine, with the facts that its export measured."""

    file: str
    sha256: str
    size_bytes: int
    target: str
    precision: str
    conf: float
    made_with: dict[str, str]
    delegated: dict[str, Any]
    parity: dict[str, Any]
    self_test_tolerance: dict[str, float]
    accuracy: dict[str, Any] | None = None
    threshold: Threshold | None = None
    action_thresholds: dict[str, ActionThreshold] = field(default_factory=dict)
    """By the name of the action; those that are not there have `DEFAULT_ACTION_CONF`."""

    def __post_init__(self) -> None:
        _require(
            PLAIN_NAME.fullmatch(self.file) is not None, f"file {self.file!r} is no plain name"
        )
        _require(
            re.fullmatch(r"[0-9a-f]{64}", self.sha256) is not None,
            f"sha256 of {self.file} is not 64 hexadecimal digits",
        )
        _require(0.0 <= self.conf <= 1.0, f"conf of {self.file} is {self.conf}, not 0..1")
        _require(
            set(self.self_test_tolerance) == set(OUTPUTS),
            f"self_test_tolerance of {self.file} names {sorted(self.self_test_tolerance)}, not "
            f"{sorted(OUTPUTS)}",
        )
        _require(
            all(math.isfinite(v) and v > 0 for v in self.self_test_tolerance.values()),
            f"self_test_tolerance of {self.file} is {self.self_test_tolerance}, not positive",
        )

    @property
    def stem(self) -> str:
        """File name without its last suffix: its name in lists and in the golden clip."""
        return Path(self.file).stem

    def action_confs(self, class_names: Sequence[str]) -> tuple[float, ...]:
        """Return from which probability on each action is named."""
        own = self.action_thresholds
        return tuple(own[n].conf if n in own else DEFAULT_ACTION_CONF for n in class_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenClip:
    """The file with one clip and each artifact's expected outputs."""

    file: str
    sha256: str

    def __post_init__(self) -> None:
        _require(
            PLAIN_NAME.fullmatch(self.file) is not None, f"file {self.file!r} is no plain name"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSpec:
    """The content of `bundle.json`."""

    schema_version: int
    name: str
    variant: str
    trained: bool
    note: str
    class_names: tuple[str, ...]
    clip: ClipSpec
    token_selection: str
    num_tokens: int
    artifacts: tuple[Artifact, ...]
    golden: GoldenClip
    not_made: dict[str, str] = field(default_factory=dict)
    """Targets that its export was asked for and could not make, each with the reason."""

    def __post_init__(self) -> None:
        # They are written to terminals and tables: no line ends, no escape sequences.
        for text in (self.name, self.variant, *self.class_names):
            _require(text.isprintable(), f"the name {text[:40]!r} holds unprintable characters")
        for text in (*self.not_made, *self.not_made.values()):
            _require(text.isprintable(), f"not_made holds unprintable text: {text[:40]!r}")
        _require(all(self.class_names), "class_names holds an empty name")
        _require(len(self.class_names) > 0, "class_names is empty")
        _require(
            len(set(self.class_names)) == len(self.class_names), "class_names has a name twice"
        )
        _require(len(self.artifacts) > 0, "artifacts is empty")
        files = [a.file for a in self.artifacts]
        _require(len(set(files)) == len(files), f"artifacts name a file twice: {files}")
        _require(self.num_tokens > 0, f"num_tokens is {self.num_tokens}, not positive")
        for artifact in self.artifacts:
            strange = sorted(set(artifact.action_thresholds) - set(self.class_names))
            _require(
                not strange,
                f"action_thresholds of {artifact.file} has {str(strange)[:60]}, not a class",
            )

    @staticmethod
    def parse(content: Mapping[str, Any]) -> BundleSpec:
        """Check a decoded `bundle.json` and build the specification.

        Raises:
            ArtifactMismatchError: It was written for another version of this package.
            ArtifactError: A field is missing, unknown, of another type or out of range.
        """
        version = content.get("schema_version")
        if not isinstance(version, int) or isinstance(version, bool):
            raise ArtifactError(
                f"{BUNDLE_FILE} has schema_version {version!r}, expected the number "
                f"{SCHEMA_VERSION}; is this a bundle made by `edge export`?"
            )
        if version != SCHEMA_VERSION:
            age = "newer" if version > SCHEMA_VERSION else "older"
            act = "update bmvit-edge" if version > SCHEMA_VERSION else "export the model again"
            raise ArtifactMismatchError(
                f"the bundle has schema {version}, {age} than the schema {SCHEMA_VERSION} that "
                f"this runtime reads; {act}"
            )
        try:
            return check_fields(BundleSpec, _one_clip(content), where=BUNDLE_FILE)
        except ValueError as error:
            raise ArtifactError(f"{error}; export the bundle again") from error

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `bundle.json`, without its seal."""
        content: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "clip":
                content |= {part: {k: value[k] for k in keys} for part, keys in _SECTIONS.items()}
                content["input"] |= FED
            else:
                content[name] = value
        return content

    def to_json(self) -> str:
        """Return the text of `bundle.json`, sealed with its digest."""
        content = self.to_dict()
        content[DIGEST_KEY] = content_digest(content)
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _one_clip(content: Mapping[str, Any]) -> dict[str, Any]:
    """Join the sections `clip` and `input` of the file to the one clip that they describe.

    Raises:
        ValueError: A field is missing or unknown, or asks for what this runtime does not do.
    """
    clip: dict[str, Any] = {}
    for section, keys in _SECTIONS.items():
        if section not in content:
            raise ValueError(f"{BUNDLE_FILE} lacks the field {section!r}")
        part = content[section]
        if not isinstance(part, Mapping):
            raise ValueError(f"{BUNDLE_FILE}: {section} is {part!r:.40}, expected an object")
        fixed = FED if section == "input" else {}
        for key in sorted({*keys, *fixed} ^ set(part)):
            what = "has the unknown field" if key in part else "lacks the field"
            raise ValueError(f"{BUNDLE_FILE}: {section} {what} {key!r}")
        for key, value in fixed.items():
            if part[key] != value:
                raise ValueError(f"{key} is {part[key]!r:.40}, this runtime feeds {value!r}")
        clip |= {key: part[key] for key in keys}
    return {name: part for name, part in content.items() if name != "input"} | {"clip": clip}


def content_digest(content: Mapping[str, Any]) -> str:
    """Return the seal of `bundle.json`: SHA-256 of its canonical JSON without the seal itself."""
    plain = {key: value for key, value in content.items() if key != DIGEST_KEY}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
