"""Fuzz a reader of files: `python tools/fuzz/python.py TARGET --seconds 600 --out runs/fuzz`.

atheris (libFuzzer for Python) changes inputs so that they reach new lines of the reader. A find, an
error that is no sentence, a hang of 10 s or 1 GiB of memory, ends the run; its input lies in
`OUT/TARGET/finds`. Put it into `tests/fuzz/finds/TARGET/` once it is mended.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
# The finder of an editable installation comes before the one that instruments what it finds.
sys.meta_path = [f for f in sys.meta_path if "editable" not in type(f).__module__]


def main() -> None:
    """Read the flags and fuzz until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    flags = parser.parse_args()
    try:
        import atheris
    except ImportError:
        raise SystemExit("atheris is not installed: pip install atheris") from None
    with atheris.instrument_imports(include=["runtime", "edge"]):
        import runtime

        # The native module lies where it was installed.
        runtime.__path__ += [str(Path(p) / "runtime") for p in sys.path if Path(p) != ROOT]
        from tests.fuzz.targets import TARGETS, try_bytes

        if flags.target not in TARGETS:
            raise SystemExit(f"{flags.target!r} is not known; choose from: {', '.join(TARGETS)}")
        target = TARGETS[flags.target]
        folder = flags.out / flags.target
        corpus, finds = folder / "corpus", folder / "finds"
        for made in (corpus, finds):
            made.mkdir(parents=True, exist_ok=True)
        for index, seed in enumerate(target.seeds()):
            (corpus / f"seed-{index}").write_bytes(seed)
        scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
        try_bytes(target, target.seeds()[0], scratch)  # imports what it needs, instrumented
    atheris.Setup(
        [sys.argv[0], str(corpus), f"-max_total_time={flags.seconds}", "-timeout=10",
         f"-artifact_prefix={finds}/", f"-rss_limit_mb={2048 if target.heavy else 1024}",
         "-max_len=20000", "-print_final_stats=1"],
        lambda data: try_bytes(target, data, scratch),
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
