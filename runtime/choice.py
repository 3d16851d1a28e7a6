"""Which of a bundle's programs is the fastest on this machine: measured once, and kept.

int8 gains three times over float32 where the processor multiplies bytes (VNNI, AMX, dot products),
and nothing where it does not: which program is the faster one is not to be known from its name. At
the first start each that passes its self-test runs the golden clip as a stream would; the answer is
kept in this user's cache for the same programs, processor, threads and stride.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.outputs import write_atomically
from runtime.report import host_facts

if TYPE_CHECKING:
    from runtime.bundle_spec import Artifact
    from runtime.engines import Program
    from runtime.types import Floats

logger = logging.getLogger(__name__)

_WARM_UP, _RUNS, _BUDGET_S = 3, 12, 1.5
# Another program than the first by rank has to be faster by this share, and by this much.
_GAIN, _GAIN_MS = 0.05, 0.5
_KEPT = 64  # choices in the file; the oldest go first


def choices_file() -> Path:
    """Return the file of this user's choices; it need not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "bmvit-edge" / "choices.json"


def key_of(artifacts: Iterable[Artifact], *, num_threads: int, stride: int) -> str:
    """Return what a choice is valid for: programs, processor, versions, threads, stride."""
    facts = host_facts()
    parts = [
        *sorted(artifact.sha256 for artifact in artifacts), platform.machine(),
        *(str(facts.get(name)) for name in ("processor", "cores", "onnxruntime", "openvino")),
        str(num_threads), str(stride),
    ]  # fmt: skip
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def kept_choice(key: str, artifacts: Sequence[Artifact]) -> tuple[Artifact, str] | None:
    """Return the program that was measured to be the fastest here, and the words for it."""
    found = _read().get(key)
    if not isinstance(found, dict):
        return None
    said = (found.get("file"), found.get("sha256"))
    chosen = next((a for a in artifacts if (a.file, a.sha256) == said), None)
    text = found.get("text")
    return (chosen, text) if chosen is not None and isinstance(text, str) else None


def measure_ms(program: Program, clip: Floats, stride: int) -> float:
    """Return the median time of a result in a stream of overlapping clips, ms."""
    times: list[float] = []
    begun = time.perf_counter()
    for index in range(_WARM_UP + _RUNS):
        start = time.perf_counter()
        program(clip, index * stride if stride else -1)
        now = time.perf_counter()
        if index >= _WARM_UP:
            times.append((now - start) * 1e3)
        if times and now - begun > _BUDGET_S:
            break
    return statistics.median(times)


def fastest(times_ms: Sequence[float]) -> int:
    """Return the place of the fastest; the first one stays unless another is clearly faster."""
    best = min(range(len(times_ms)), key=lambda i: times_ms[i])
    gain = times_ms[0] - times_ms[best]
    return best if gain > max(_GAIN * times_ms[0], _GAIN_MS) else 0


def keep_choice(key: str, artifact: Artifact, text: str) -> None:
    """Keep a choice; where the cache cannot be written, it is measured again next time."""
    kept = {name: value for name, value in _read().items() if name != key}
    while len(kept) >= _KEPT:
        kept.pop(next(iter(kept)))
    kept[key] = {"file": artifact.file, "sha256": artifact.sha256, "text": text}
    path = choices_file()
    try:
        write_atomically(path, json.dumps(kept, indent=1) + "\n")
    except OSError as error:
        logger.debug("the choice is not kept in %s: %s", path, error)


def _read() -> dict[str, object]:
    try:
        content = json.loads(choices_file().read_text("utf-8"))
    except (OSError, ValueError, RuntimeError):  # no home
        return {}
    return content if isinstance(content, dict) else {}
