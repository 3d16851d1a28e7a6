"""`edge <verb>`: one command, one file a verb, imported when it is called.

The device's verbs live in `runtime.cli` and need no extra package; the others import torch and say
which extra to install where it is missing.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from runtime import cli as device
from runtime.allocator import keep_freed_memory
from runtime.errors import ConfigError
from runtime.options import EXIT_OK, did_you_mean, guarded

# Verb -> (module with `main(argv) -> int`, one line of help).
VERBS: dict[str, tuple[str, str]] = {
    "run": (
        "runtime.cli.run",
        "detect people and their actions in a camera, stream, file or folder",
    ),
    "serve": ("runtime.cli.serve", "run cameras continuously, with a web page, events and metrics"),
    "info": ("runtime.cli.info", "print what is in a bundle and verify every byte of it"),
    "doctor": ("runtime.cli.doctor", "list what this machine has and what is missing"),
    "demo": (
        "edge.cli.demo",
        "run the default bundle on a drawn clip, or yours, and save the video",
    ),
    "data": (
        "edge.cli.data",
        "show labelled clips, or check a data set: edge data preview | check",
    ),
    "label": (
        "edge.cli.label",
        "detect and track people in unlabelled videos, and write a data set",
    ),
    "pretrained": ("edge.cli.pretrained", "convert a published network to weights of a stem"),
    "features": (
        "edge.cli.features",
        "compute the features of a frozen stem once, for faster training",
    ),
    "train": ("edge.cli.train", "train a model, on one device or under torchrun on several"),
    "val": ("edge.cli.val", "measure a checkpoint or an artifact on labelled clips"),
    "explain": ("edge.cli.explain", "draw boxes, p(actor) and attention for each keyframe"),
    "calibrate": ("calibration.cli", "choose calibration clips and record activation ranges"),
    "quantize": (
        "quantize.cli",
        "measure int8 of a checkpoint, by layer too, or train for it (--qat)",
    ),
    "export": ("export.cli", "convert a checkpoint to a bundle, run it and compare it with torch"),
    "build-engine": (
        "runtime.cli.build_engine",
        "build a TensorRT engine on this device from a bundle's ONNX",
    ),
    "cameras": ("runtime.cli.cameras", "list cameras with their modes, or measure one (probe)"),
    "profile": (
        "runtime.cli.profile",
        "measure time and energy by stage and operator, also in long runs; with plots",
    ),
    "benchmark": ("edge.cli.benchmark", "measure a bundle on this machine"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `edge <verb> ...` and return its exit code."""
    return guarded(_dispatch, list(sys.argv[1:] if argv is None else argv))


def _dispatch(argv: Sequence[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_OK
    if argv[0] == "--version":
        print(device.version())
        return EXIT_OK
    verb = argv[0]
    if verb not in VERBS:
        raise ConfigError(
            f"unknown verb {verb!r}.{did_you_mean(verb, VERBS)} Choose from: {', '.join(VERBS)}"
        )
    if not VERBS[verb][0].startswith("runtime."):
        keep_freed_memory()
    module = importlib.import_module(VERBS[verb][0])
    return int(module.main(argv[1:]))


def usage() -> str:
    """Return the list of verbs."""
    lines = ["usage: edge <verb> [flags]   (edge <verb> --help lists a verb's flags)", ""]
    lines += [f"  {verb:<12} {text}" for verb, (_, text) in VERBS.items()]
    lines += ["", "  edge run --source 0 --show            # a camera, with the default bundle"]
    return "\n".join(lines)
