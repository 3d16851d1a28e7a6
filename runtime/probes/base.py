"""What a probe is, and what it says: a value with its unit, or `unknown` with the reason."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Kind = Literal["power", "energy", "temperature", "clock", "load", "memory", "throttle", "state"]

UNITS: dict[Kind, str] = {
    "power": "W", "energy": "J", "temperature": "°C", "clock": "MHz", "load": "%", "memory": "MB",
    "throttle": "", "state": "",
}  # fmt: skip
ROOT = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One thing that a probe looked for.

    Attributes:
        kind: What it is; `UNITS` has the unit. `energy` counts up, and begins anew at `wraps_at`.
            `throttle` is True or False (the clock is held back now), or a number of events so far.
        name: The interface's own word for it: a rail, a zone, a device.
        value: What was read, None where it is not known.
        reason: Why it is not known.
        total: Whether this power or energy is that of the whole board or processor.
        limit: Where it is held back: the temperature of a trip point, the largest clock, all of
            the memory.
        wraps_at: The value at which an energy counter begins anew; 0 if it does not.
    """

    kind: Kind
    name: str
    value: float | bool | str | None = None
    reason: str = ""
    total: bool = False
    limit: float | None = None
    wraps_at: float = 0.0

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise ValueError(f"{self.name}: a reading has a value or a reason, not both or neither")

    @property
    def number(self) -> float | None:
        """The value where it is a number."""
        value = self.value
        return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    def text(self) -> str:
        """Return it as a reader would write it: `VDD_IN 4.18 W`, `cpu unknown (reason)`."""
        if self.value is None:
            return f"{self.name} unknown ({self.reason})"
        if isinstance(self.value, bool):
            return f"{self.name} {'yes' if self.value else 'no'}"
        if isinstance(self.value, str):
            return f"{self.name} {self.value}"
        digits = 0 if self.kind in ("clock", "memory", "load", "throttle") else 2
        text = f"{self.name} {self.value:.{digits}f} {UNITS[self.kind]}".rstrip()
        return text if self.limit is None else f"{text} of {self.limit:.{min(digits, 1)}f}"


class Probe(Protocol):
    """One interface of a machine; reads its state, changes nothing."""

    name: str

    def missing(self) -> str | None:
        """Say why this machine has no such interface, or None where it has."""

    def read(self) -> list[Reading]:
        """Read the state now; what cannot be read is in it too, as unknown."""


class Files:
    """Small text files of a machine below a root folder, such as `sys/class/thermal`."""

    def __init__(self, root: Path = ROOT) -> None:
        """Read below `root`; a test puts a recorded tree there."""
        self.root = root

    def glob(self, pattern: str) -> list[Path]:
        """Return what fits a pattern below the root, in the order of the numbers in the names."""
        return sorted(self.root.glob(pattern), key=lambda path: _natural(path))

    def text(self, path: Path | str) -> tuple[str | None, str]:
        """Return a file's text, or None and why it cannot be read."""
        full = self.root / path
        try:
            raw = full.read_bytes()
        except OSError as error:
            return None, _why(error)
        text = raw.decode("utf-8", errors="replace").replace("\0", "").strip()
        return (text, "") if text else (None, "the file is empty")

    def number(
        self, path: Path | str, *, scale: float = 1.0, least: float = 0.0, most: float = math.inf
    ) -> tuple[float | None, str]:
        """Return a file's number divided by `scale`, or None and why there is none.

        Args:
            path: The file.
            scale: Units of the file in one unit of the result.
            least: The smallest result that can be true.
            most: The largest.
        """
        text, reason = self.text(path)
        if text is None:
            return None, reason
        return number_of(text, scale=scale, least=least, most=most)


def number_of(
    text: str, *, scale: float = 1.0, least: float = 0.0, most: float = math.inf
) -> tuple[float | None, str]:
    """Return a text's number divided by `scale`, or None and why it is none that can be true."""
    try:
        value = float(text.strip()) / scale
    except ValueError:
        return None, f"it says {text.strip()[:30]!r}, no number"
    if not math.isfinite(value) or not least <= value <= most:
        return None, f"it says {text.strip()[:30]}, which cannot be true"
    return value, ""


def reading(kind: Kind, name: str, found: tuple[float | None, str]) -> Reading:
    """Make a reading of what `Files.number` found."""
    value, reason = found
    return Reading(kind=kind, name=name, value=value, reason=reason)


# Runs a tool: (words) to (its output, "") or (None, why it has none).
Run = Callable[[Sequence[str]], "tuple[str | None, str]"]


def run_tool(words: Sequence[str], timeout_s: float = 5.0) -> tuple[str | None, str]:
    """Run a tool of the machine; its output, or None and why there is none."""
    try:
        done = subprocess.run(
            list(words), capture_output=True, check=False, timeout=timeout_s, text=True,
            errors="replace", stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        return None, f"there is no {words[0]} here"
    except OSError as error:
        return None, f"{words[0]} does not start: {_why(error)}"
    except subprocess.TimeoutExpired:
        return None, f"{words[0]} gave no answer in {timeout_s:g} s"
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no word of why"]
        return None, f"{words[0]} failed: {said[-1][:120]}"
    return done.stdout, ""


def _why(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return (error.strerror or str(error)).lower()


def _natural(path: Path) -> tuple[tuple[int, int | str], ...]:
    parts: list[tuple[int, int | str]] = []
    word = ""
    for char in str(path) + "\0":
        if word and char.isdigit() != word.isdigit():
            parts.append((0, int(word)) if word.isdigit() else (1, word))
            word = ""
        word += char
    return tuple(parts)
