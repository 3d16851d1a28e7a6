"""A real program and a real bundle for the runtime's tests, exported once a session."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from runtime.bundle import Bundle
from runtime.bundle_spec import OUTPUTS, ActionThreshold, Artifact, BundleSpec, GoldenClip
from runtime.preprocess import normalize
from runtime.types import ClipSpec

MAKE_TINY_PROGRAM = Path(__file__).with_name("make_tiny_program.py")
TINY_CLASSES = ("stand", "walk", "fall \u2603")
TINY_CLIP = ClipSpec(num_frames=4, sampling_rate=2, fps=30.0, height=32, width=32)


@dataclass(frozen=True)
class TinyProgram:
    """A .pte with the outputs of a real one, and what torch computed for one clip."""

    path: Path
    clip: npt.NDArray[np.float32]
    outputs: tuple[npt.NDArray[np.float32], ...]


@pytest.fixture(scope="session")
def tiny_program(tmp_path_factory: pytest.TempPathFactory) -> TinyProgram:
    """Export the tiny network, in a process of its own."""
    return _export(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="session")
def whole_program(tmp_path_factory: pytest.TempPathFactory) -> TinyProgram:
    """Export it without the methods of overlapping clips."""
    return _export(tmp_path_factory.mktemp("program"), "whole")


@pytest.fixture(scope="session")
def plug_in_program(tmp_path_factory: pytest.TempPathFactory) -> TinyProgram:
    """Export it with its ReLUs left to a backend that is not built in."""
    return _export(tmp_path_factory.mktemp("program"), "plug-in")


def _export(folder: Path, *options: str) -> TinyProgram:
    for package in ("torch", "executorch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install '.[export]')")
    program, record = folder / "tiny.pte", folder / "tiny.npz"
    done = subprocess.run(
        [sys.executable, str(MAKE_TINY_PROGRAM), str(program), str(record), *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with np.load(record) as data:
        outputs = tuple(data[f"pred_{name}"] for name in ("boxes", "actor", "actions"))
        return TinyProgram(path=program, clip=data["clip"], outputs=outputs)


def _artifact(name: str, content: bytes, precision: str) -> Artifact:
    return Artifact(
        file=name,
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        target="xnnpack",
        precision=precision,
        conf=0.4,
        made_with={"executorch": "1.5.1"},
        delegated={"share": 1.0, "calls": 1, "fallbacks": []},
        parity={"clips": 1, "max_abs": {}, "mean_abs": {}},
        self_test_tolerance=dict.fromkeys(OUTPUTS, 1e-4),
    )


def _write_golden(folder: Path, stem: str, program: Path) -> bytes:
    from runtime import _native

    frames = np.random.default_rng(3).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    clip = normalize(frames, TINY_CLIP)
    boxes, actor, actions = (o[0] for o in _native.Engine(str(program))(clip))
    expected = {"pred_boxes": boxes, "pred_actor": actor, "pred_actions": actions}
    np.savez(
        folder / "golden.npz", frames_rgb=frames, **{f"{stem}/{k}": v for k, v in expected.items()}
    )
    return (folder / "golden.npz").read_bytes()


BundleMaker = Callable[..., Path]


@pytest.fixture
def make_bundle(tiny_program: TinyProgram, tmp_path: Path) -> BundleMaker:
    """Return a function that writes a bundle of the tiny program, changed as asked."""

    def make(
        *, artifacts: int = 1, program: bytes | None = None, golden_stem: str = "", **changes: Any
    ) -> Path:
        """Write a bundle.

        Args:
            artifacts: How many programs it lists: int8, then fp32 (the same content).
            program: Content of the first one instead of the real program.
            golden_stem: Whose answers the golden clip holds; by default the last artifact's.
            changes: Fields of the specification to change.
        """
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        listed = []
        for i, precision in enumerate(("int8", "fp32")[:artifacts]):
            content = tiny_program.path.read_bytes()
            if i == 0 and program is not None:
                content = program
            file = f"xnnpack-{precision}.pte"
            (folder / file).write_bytes(content)
            listed.append(_artifact(file, content, precision))
        golden = _write_golden(folder, golden_stem or listed[-1].stem, tiny_program.path)
        spec = BundleSpec(
            schema_version=1,
            name="tiny",
            variant="tiny",
            trained=False,
            note="for tests",
            class_names=TINY_CLASSES,
            clip=TINY_CLIP,
            token_selection="halves",
            num_tokens=4,
            artifacts=tuple(listed),
            golden=GoldenClip(file="golden.npz", sha256=hashlib.sha256(golden).hexdigest()),
        )
        spec = replace(spec, **changes)
        (folder / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
        return folder

    return make


def with_action_threshold(bundle: Path, name: str, conf: float) -> None:
    """Give an action of a bundle's first artifact a threshold of its own."""
    spec = Bundle.load(bundle).spec
    own = ActionThreshold(conf=conf, f1=1.0, precision=1.0, recall=1.0, doing=10, not_doing=10)
    first = replace(spec.artifacts[0], action_thresholds={name: own})
    spec = replace(spec, artifacts=(first, *spec.artifacts[1:]))
    (bundle / "bundle.json").write_text(spec.to_json(), encoding="utf-8")
