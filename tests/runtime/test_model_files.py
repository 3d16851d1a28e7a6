"""A model file that is no bundle is named, with the command that helps."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge.cli import main
from runtime.bundle import DEFAULT_BUNDLE, Bundle
from runtime.errors import ArtifactError
from runtime.model_files import what_is

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["checkpoint", "stem", "state", "program", "onnx", "pickle", "arrays"])
def case(request: pytest.FixtureRequest, tmp_path: Path, shared_data: Path) -> tuple[Path, str]:
    if request.param == "checkpoint":
        path = ROOT / "weights" / "nano" / "model.pt"
        return path, f"a PyTorch checkpoint; `edge export --model {path} "
    if request.param == "stem":
        path = ROOT / "weights" / "stems" / "mobilenet_v2-movenet-lightning.pt"
        return path, "the weights of a stem; `edge train --stem-weights` begins with them"
    if request.param == "state":
        with zipfile.ZipFile(tmp_path / "state.pt", "w") as archive:
            archive.writestr("state/data.pkl", b"\x80\x02}q\x00(X\x06format bmvit-edge-training")
        return (
            tmp_path / "state.pt",
            f"the state of a run; `edge train --resume {tmp_path}`",
        )
    if request.param == "program":
        return next(DEFAULT_BUNDLE.glob("*.pte")), "an ExecuTorch program alone; give the bundle"
    if request.param == "onnx":
        return shared_data / "detectors" / "yolox_nano.onnx", "an ONNX program alone; `edge val"
    if request.param == "pickle":
        (tmp_path / "x.pyth").write_bytes(b"\x80\x02}q\x00.padding")
        return tmp_path / "x.pyth", "a pickle, such as published .pyth"
    np.savez(tmp_path / "x.npz", a=np.zeros(1))
    return tmp_path / "x.npz", "NumPy arrays, not a model"


def test_run_and_info_say_what_it_is(
    case: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    path, says = case
    with pytest.raises(ArtifactError) as caught:
        Bundle.load(path)
    assert str(caught.value).startswith(f"{path} is {says}")
    assert main(["info", str(path)]) == 0
    assert says in capsys.readouterr().out


def test_an_empty_and_a_cut_file_are_called_so(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"")
    assert what_is(path) == "an empty file"
    path.write_bytes((ROOT / "weights" / "nano" / "model.pt").read_bytes()[:30000])
    assert what_is(path) == "a damaged zip or PyTorch file; copy it again"


@pytest.mark.parametrize("content", [b"short", b"nothing that is known"])
def test_what_is_not_known_is_not_guessed(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert what_is(path) is None
