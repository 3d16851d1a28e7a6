"""The variants in one table: input, size, work, program, memory, and time in every engine.

`python -m benchmarks.variants` measures as `benchmarks.engines` does, and shares its artifacts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from benchmarks import engines
from runtime.options import guarded


def main(argv: Sequence[str]) -> int:
    """Measure `pico`, `nano` and `tiny`, or the variants that are named."""
    named = any(word.split("=")[0] in ("--variants", "--model") for word in argv)
    flags = [*([] if named else ["--variants", "pico", "nano", "tiny"]), *argv]
    return engines.main(flags, "variants", __doc__)


if __name__ == "__main__":
    sys.exit(guarded(main, sys.argv[1:]))
