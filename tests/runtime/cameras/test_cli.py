from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from runtime.cli import main
from tests.runtime.cameras.test_measure import _film


def test_a_probe_says_what_a_source_gives_and_what_the_clip_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "frame.png"
    film = str(_film(tmp_path / "a.avi"))
    assert main(["cameras", "probe", "--source", film, "--picture", str(picture)]) == 0
    printed = capsys.readouterr().out
    for word in ("25.000 fps", "64x48", "jitter", "blue first", "the clip wants 8 samples"):
        assert word in printed
    assert cv2.imread(str(picture)).shape == (48, 64, 3)
    assert main(["cameras", "probe", film, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] >= 3


def test_the_list_is_never_empty_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cameras"]) == 0
    assert capsys.readouterr().out.startswith(("no camera: this machine", "/dev/video"))


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["cameras", "prob"], "Did you mean 'probe'?", id="misspelt"),
        pytest.param(["cameras", "probe"], "needs --source", id="no source"),
        pytest.param(["cameras", "--source", "0"], "edge cameras probe --source", id="no probe"),
        pytest.param(["cameras", "probe", "0", "--size", "big"], "expected width x", id="size"),
    ],
)
def test_wrong_use_is_one_sentence(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert said in capsys.readouterr().err
