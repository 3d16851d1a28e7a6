"""Tell what a model file is that is no bundle, and which command makes a bundle of it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from runtime.archives import UNREADABLE

_HEAD_BYTES = 64
_PICKLE_BYTES = 256  # the name of the format comes first
_NEWEST_ONNX = 20  # version of the file form: the first field of an ONNX file
EXPORT = "`edge export --model {path} --calib-data DATA --out BUNDLE` makes a bundle of it"


def what_is(path: Path) -> str | None:
    """Return what a file is and what to do with it, as one clause; None where it is not known.

    Args:
        path: A file. Only its first bytes, or the names in a zip, are looked at: nothing is run.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
        names, pickled = _torch_file(path) if zipfile.is_zipfile(path) else ([], b"")
    except UNREADABLE:
        return None
    if not head:
        return "an empty file"
    if len(head) < 8:
        return None
    if head.startswith(b"PK") and not names:
        return "a damaged zip or PyTorch file; copy it again"
    if b"bmvit-edge-stem" in pickled:
        return "the weights of a stem; `edge train --stem-weights` begins with them"
    if b"bmvit-edge-training" in pickled:
        return f"the state of a run; `edge train --resume {path.parent}` goes on from it"
    if any(name.endswith("data.pkl") for name in names):
        return f"a PyTorch checkpoint; {EXPORT.format(path=path)}"
    if head[4:8] in (b"ET12", b"ET11"):
        return "an ExecuTorch program alone; give the bundle that `edge export` wrote with it"
    if head[:1] == b"\x08" and 3 <= head[1] <= _NEWEST_ONNX and head[2] == 0x12:
        return "an ONNX program alone; `edge val --model` judges it, a bundle runs it on a device"
    if head[:6] == b"\x93NUMPY" or any(name.endswith(".npy") for name in names):
        return "NumPy arrays, not a model"
    if head.startswith(b"\x80"):
        return "a pickle, such as published .pyth or .pkl weights; `edge train --init` takes those"
    if head[:4] == b"ftrt":
        return "a TensorRT engine alone; `edge build-engine` puts one into a bundle"
    return None


def _torch_file(path: Path) -> tuple[list[str], bytes]:
    """Return the names in a zip, and the first bytes of the pickle that torch puts there."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for name in names:
            if name.endswith("data.pkl"):
                with archive.open(name) as file:
                    return names, file.read(_PICKLE_BYTES)
    return names, b""
