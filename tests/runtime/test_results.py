"""Results: their JSON Lines are those of older releases, and other packages' detections."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.cli.demo import count_lines
from runtime.bundle_spec import BundleSpec, content_digest
from runtime.decode import Detections
from runtime.errors import BackendUnavailableError
from runtime.results import KeyframeResult, Timings

FIXTURES = Path(__file__).with_name("fixtures")
NAMES = ("stand", "walk", "fall \u2603")


def result(*, trained: bool = True, people: tuple[int, ...] | None = None) -> KeyframeResult:
    return KeyframeResult(
        frame=21, t=0.7, keyframe=12, keyframe_t=0.4, latency_ms=34.25, class_names=NAMES,
        action_conf=0.5, trained=trained, size_wh=(320, 240), people=people,
        timings=Timings(capture_ms=1, preprocess_ms=2, inference_ms=3, decode_ms=4),
        detections=Detections(
            xyxy=np.array([[20, 60, 90.125, 220], [100, 60, 150, 200]], np.float32),
            actor=np.array([0.9, 0.625], np.float32),
            actions=np.array([[0.75, 0.125, 0.5], [0.25, 0.5, 0.875]], np.float32),
            token=np.arange(2),
        ),
    )  # fmt: skip


def test_json_lines_are_those_that_fbc37c1_wrote() -> None:
    lines = (FIXTURES / "fbc37c1-results.jsonl").read_text(encoding="utf-8").splitlines()
    results = [result(), result(people=(3, -1)), result(trained=False)]
    assert [json.dumps(one.to_dict(), ensure_ascii=False) for one in results] == lines


def test_the_demo_counts_lines_of_fbc37c1() -> None:
    text = (FIXTURES / "fbc37c1-results.jsonl").read_text(encoding="utf-8")
    counted = count_lines([json.loads(line) for line in text.splitlines()])
    assert counted[0] == "6 detections of people who act in 3 keyframes"


def test_a_bundle_of_fbc37c1_is_read_and_written_as_it_was() -> None:
    content = json.loads((FIXTURES / "fbc37c1-bundle.json").read_text(encoding="utf-8"))
    digest = content.pop("content_sha256")
    assert digest == content_digest(content)
    spec = BundleSpec.parse(content)
    assert spec.clip.input_shape == (1, 8, 3, 192, 192)
    assert (spec.clip.sampling_rate, spec.clip.fps) == (4, 30.0)
    written: dict[str, Any] = json.loads(spec.to_json())
    assert {key: written[key] for key in ("clip", "input")} == {
        key: content[key] for key in ("clip", "input")
    }
    assert BundleSpec.parse({k: v for k, v in written.items() if k != "content_sha256"}) == spec


def test_supervision_gets_boxes_scores_actions_and_people() -> None:
    sv = pytest.importorskip("supervision", reason="pip install supervision")
    found = result(people=(3, -1)).to_supervision()
    assert isinstance(found, sv.Detections)
    assert found.xyxy.tolist() == [[20, 60, 90.125, 220], [100, 60, 150, 200]]
    assert found.confidence.tolist() == pytest.approx([0.9, 0.625])
    assert found.class_id.tolist() == [0, 2]
    assert found["class_name"].tolist() == ["stand", NAMES[2]]
    assert found.data["actions"].shape == (2, 3)
    assert found.tracker_id.tolist() == [3, -1]
    assert len(found[found.confidence > 0.7]) == 1
    assert result().to_supervision().tracker_id is None


def test_without_supervision_the_command_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(BackendUnavailableError, match="pip install supervision"):
        result().to_supervision()
