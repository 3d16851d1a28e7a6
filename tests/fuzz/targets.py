"""Readers of files that a stranger can hand over, each as a function of bytes.

A reader may return or raise an `EdgeError`, which a user sees as one sentence; all else is a find.
`tools/fuzz/python.py` gives them inputs that a fuzzer makes, `test_finds.py` the finds again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.bundle_spec import OUTPUTS
from runtime.errors import EdgeError
from runtime.self_test import golden_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One reader.

    Attributes:
        name: The file that it reads.
        read: Takes the path of a file with the bytes.
        seeds: Makes inputs to begin with.
        heavy: Whether it needs torch.
        whole: Whether the reader takes its seeds. Small ones of large files lack a part.
    """

    name: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    heavy: bool = False
    whole: bool = True


def try_bytes(target: Target, data: bytes, folder: Path) -> str | None:
    """Give bytes to a reader; return what it refuses them with, None where it takes them.

    Raises what is no `EdgeError`.
    """
    path = folder / target.name
    path.write_bytes(data)
    try:
        target.read(path)
    except EdgeError as error:
        return str(error)
    return None


def _bundle_json(path: Path) -> object:
    return Bundle.load(path.parent)


def _golden(path: Path) -> object:
    """Read a golden clip that its bundle describes: whoever changes it can seal it, too."""
    bundle = Bundle.load(DEFAULT_BUNDLE)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    golden = replace(bundle.spec.golden, file=path.name, sha256=digest)
    stranger = replace(bundle, folder=path.parent, spec=replace(bundle.spec, golden=golden))
    return golden_answer(stranger, stranger.spec.artifacts[0])


def _zip(path: Path) -> object:
    # One cache for all would grow by each input that is whole.
    with tempfile.TemporaryDirectory() as cache:
        before = os.environ.get("XDG_CACHE_HOME")
        os.environ["XDG_CACHE_HOME"] = cache
        try:
            with Bundle.load(path) as bundle:
                bundle.verify()
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before
    return None


def _checkpoint(path: Path) -> object:
    from edge.model.checkpoint import load_checkpoint

    return load_checkpoint(path)


def _pickle(path: Path) -> object:
    from edge.data.problems import ProblemList
    from edge.data.tube_files import read_tube_file

    return read_tube_file(path, ProblemList())


def _table(path: Path) -> object:
    from edge.data.ava_files import read_detections, read_excluded, read_ground_truth

    for read in (read_detections, read_ground_truth, read_excluded):
        with contextlib.suppress(EdgeError):
            read(path)
    return None


def _folder_table(path: Path) -> object:
    from edge.data.check import check_data

    return check_data(str(path.parent))


def _label_map(path: Path) -> object:
    from edge.data.ava_files import read_label_map

    return read_label_map(path)


def _tubes_json(path: Path) -> object:
    from edge.evaluation.tube_json import read_found_tubes, read_true_tubes

    for read in (read_found_tubes, read_true_tubes):
        with contextlib.suppress(EdgeError):
            read(path)
    return None


def _config(path: Path) -> object:
    from edge.training.config import TrainOptions
    from runtime.options import config_flags

    return config_flags(path, TrainOptions)


def _run_json(path: Path) -> object:
    from edge.training.run_folder import read_run

    return read_run(path.parent)


def _class_table(path: Path) -> object:
    from edge.data.class_tables import read_class_table
    from edge.data.joint_classes import JOINT

    return read_class_table(path, JOINT)


def _seed_bundle() -> list[bytes]:
    return [(DEFAULT_BUNDLE / "bundle.json").read_bytes()]


def _npz(**arrays: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def _seed_golden() -> list[bytes]:
    stem = Bundle.load(DEFAULT_BUNDLE).spec.artifacts[0].stem
    outputs = {f"{stem}/{name}": np.zeros((3, 4), "<f4") for name in OUTPUTS}
    return [_npz(frames_rgb=np.zeros((2, 4, 4, 3), np.uint8), **outputs)]


def _seed_zip() -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("b/bundle.json", (DEFAULT_BUNDLE / "bundle.json").read_bytes())
        archive.writestr("b/golden.npz", b"x" * 100)
    return [stream.getvalue()]


def _seed_checkpoint() -> list[bytes]:
    import torch

    stream = io.BytesIO()
    torch.save(
        {"format": "bmvit-edge", "schema_version": 1, "model": {"a": torch.zeros(2)}}, stream
    )
    return [stream.getvalue()]


def _seed_pickle() -> list[bytes]:
    boxes = np.array([[1, 10, 10, 40, 60], [2, 11, 10, 41, 60]], np.float32)
    ground_truth = {
        "labels": ["run"], "gttubes": {"run/a": {0: [boxes]}}, "nframes": {"run/a": 2},
        "train_videos": [["run/a"]], "test_videos": [["run/a"]],
        "resolution": {"run/a": (240, 320)},
    }  # fmt: skip
    annotation = {"label": 0, "sf": 0, "ef": 1, "boxes": np.ones((1, 4), np.uint8)}
    videos = {"run/a": {"numf": 2, "label": 0, "annotations": [annotation]}}
    return [pickle.dumps(content, protocol=protocol)
            for content in (ground_truth, videos) for protocol in (0, 2, 4)]  # fmt: skip


def _seed_rows() -> list[bytes]:
    return [b"a,1,0.1,0.1,0.5,0.9,1,0\na,1.5,0.1,0.1,0.5,0.9,2,0.7\nb,2,,,,,\nc,3\n"]


def _seed_labels() -> list[bytes]:
    return [b'item {\n  name: "bend"\n  id: 1\n}\nitem {\n  name: "walk"\n  id: 12\n}\n']


def _seed_tubes() -> list[bytes]:
    return [
        b'{"class_names": ["run"], "tubes": [{"video": "a", "label": "run", "score": 0.9, "first": '
        b'0, "boxes": [[10, 20, 50, 90]]}, {"video": "a", "label": 0, "frames": [7, 9], "score": 1,'
        b' "scores": [0.3, 0.4], "boxes": [[1, 2, 3, 4], [1, 2, 3, 4]]}]}'
    ]


def _seed_config() -> list[bytes]:
    return [b"data: x\nlr0: 0.001\nepochs: 3\ntensorboard: false\n", b'{"batch": 8, "qat": true}']


def _seed_run() -> list[bytes]:
    return [b'{"batch": 8, "qat": true}', b'{"data": "x", "lr0": 0.001, "epochs": 3}']


def _seed_classes() -> list[bytes]:
    return [b"classes: [walk, sit, person]\nsources:\n  folder:\n    join: {strolls: walk}\n"]


TARGETS = {
    "bundle": Target(name="bundle.json", read=_bundle_json, seeds=_seed_bundle),
    "zip": Target(name="bundle.zip", read=_zip, seeds=_seed_zip, whole=False),
    "golden": Target(name="golden.npz", read=_golden, seeds=_seed_golden, whole=False),
    "checkpoint": Target(
        name="model.pt", read=_checkpoint, seeds=_seed_checkpoint, heavy=True, whole=False
    ),
    "pickle": Target(name="tubes.pkl", read=_pickle, seeds=_seed_pickle),
    "table": Target(name="rows.csv", read=_table, seeds=_seed_rows),
    "folder": Target(name="annotations.csv", read=_folder_table, seeds=_seed_rows),
    "labels": Target(name="map.pbtxt", read=_label_map, seeds=_seed_labels),
    "tubes": Target(name="tubes.json", read=_tubes_json, seeds=_seed_tubes),
    "config": Target(name="flags.yaml", read=_config, seeds=_seed_config),
    "run": Target(name="config.json", read=_run_json, seeds=_seed_run),
    "classes": Target(name="classes.yaml", read=_class_table, seeds=_seed_classes),
}
"""By the name on the command line of `tools/fuzz/python.py`."""
