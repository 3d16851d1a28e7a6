"""The device's command line: `run`, `serve`, `doctor` and others, with nothing but the runtime.

`python -m runtime` and `edge` share this code. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Sequence

from runtime.errors import ConfigError
from runtime.options import EXIT_OK, did_you_mean, guarded

VERBS = {
    "run": "detect people and their actions in a camera, stream, file or folder",
    "serve": "run cameras continuously, with a web page, events and metrics",
    "info": "print what is in a bundle and verify every byte of it",
    "doctor": "list what this machine has and what is missing",
    "cameras": "list cameras with their modes, or measure one (probe)",
    "profile": "measure time and energy by stage and operator, also in long runs; with plots",
    "build-engine": "build a TensorRT engine on this device from a bundle's ONNX",
}


def main(argv: Sequence[str]) -> int:
    """Run `python -m runtime [verb] ...`; flags without a verb mean `run`."""
    return guarded(_dispatch, argv)


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        say(f"usage: python -m runtime [{'|'.join(VERBS)}] [flags]")
        for verb, text in VERBS.items():
            say(f"  {verb:<12} {text}")
        return EXIT_OK
    verb, rest = (argv[0], argv[1:]) if not argv[0].startswith("-") else ("run", argv)
    if verb not in VERBS:
        raise ConfigError(
            f"unknown verb {verb!r}.{did_you_mean(verb, VERBS)} Choose from: {', '.join(VERBS)}"
        )
    return int(importlib.import_module(f"runtime.cli.{verb.replace('-', '_')}").main(rest))


def say(line: str = "") -> None:
    """Write one line of a result to stdout."""
    sys.stdout.write(line + "\n")


def version() -> str:
    """Return the installed version, or say that this is a source tree."""
    try:
        return f"bmvit-edge {importlib.metadata.version('bmvit-edge')}"
    except importlib.metadata.PackageNotFoundError:
        return "bmvit-edge (source tree, not installed)"
