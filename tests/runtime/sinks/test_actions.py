"""Events of a run as JSON Lines: of a file in its own time, whole or told to be a part."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge.world.video import write_world_video
from runtime.cli.run import main
from runtime.events import ActionSettings
from runtime.results import Event
from runtime.sinks import ActionLinesSink
from tests.runtime.events.made import NAMES, result


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def sink(path: Path, **settings: float) -> ActionLinesSink:
    return ActionLinesSink(
        path, camera="clip.mp4", class_names=NAMES, live=False, settings=ActionSettings(**settings)
    )


def play(opened: ActionLinesSink, first: float, last: float) -> None:
    for step in range(round(first * 2), round(last * 2) + 1):
        seen = result({1: {"walk": 0.9}})
        at = step / 2
        opened.result(replace(seen, t=at + 1.0, keyframe_t=at, latency_ms=999.0))


def test_times_of_a_file_are_its_own_and_what_is_open_ends(tmp_path: Path) -> None:
    opened = sink(tmp_path / "e.jsonl", min_duration_s=1.0)
    play(opened, 3.0, 8.0)
    assert not (tmp_path / "e.jsonl").exists()
    opened.close(ok=True)
    begin, end = lines(tmp_path / "e.jsonl")
    assert (begin["phase"], begin["started"], begin["time"]) == ("begin", 3.0, 5.0)
    assert (end["phase"], end["started"], end["duration_s"]) == ("end", 3.0, 5.0)
    assert begin["camera"] == "clip.mp4"


def test_nobody_is_the_same_behind_a_gap(tmp_path: Path) -> None:
    opened = sink(tmp_path / "e.jsonl")
    play(opened, 0.0, 2.0)
    opened.event(Event(kind="stale", t=3.0, message=""))
    opened.event(Event(kind="gap", t=3.0, message=""))
    play(opened, 3.0, 5.0)
    opened.close(ok=True)
    told = lines(tmp_path / "e.jsonl")
    assert [e["phase"] for e in told] == ["begin", "end", "begin", "end"]
    assert told[0]["event_id"] == told[1]["event_id"] != told[2]["event_id"]


def test_a_failed_run_keeps_its_part_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = sink(tmp_path / "e.jsonl")
    play(opened, 0.0, 2.0)
    opened.close(ok=False)
    assert not (tmp_path / "e.jsonl").exists()
    assert [e["phase"] for e in lines(tmp_path / "e.jsonl.part")] == ["begin", "end"]
    assert "2 events of the failed run" in caplog.text


def test_edge_run_saves_the_events_of_a_drawn_clip(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_world_video(clip, seconds=6.0, seed=2)
    flags = [str(clip), "--quiet", "--num-threads", "1"]
    one, two, every = (tmp_path / name for name in ("1.jsonl", "2.jsonl", "r.jsonl"))
    assert main([*flags, "--save-events", str(one), "--save-json", str(every)]) == 0
    assert main([*flags, "--save-events", str(two)]) == 0
    first, second = lines(one), lines(two)
    assert first
    assert [{**e, "event_id": ""} for e in first] == [{**e, "event_id": ""} for e in second]
    # Each that begins also ends, once, and results show it in between.
    for phase in ("begin", "end"):
        ids = [e["event_id"] for e in first if e["phase"] == phase]
        assert len(set(ids)) == len(ids)
    ends = {e["event_id"]: e for e in first if e["phase"] == "end"}
    shown = {
        (found["person"], action, round(at["keyframe_t"], 3))
        for at in lines(every) if "detections" in at
        for found in at["detections"] for action in found["actions"]
    }  # fmt: skip
    for begin in (e for e in first if e["phase"] == "begin"):
        end = ends.pop(begin["event_id"])
        assert end["duration_s"] >= begin["duration_s"] >= 0.5
        assert (begin["person"], begin["action"], begin["started"]) in shown
    assert not ends
