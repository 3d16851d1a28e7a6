"""A clip of a real RTSP stream begins before the action, ends behind it, and survives a cut."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import pytest

av = pytest.importorskip("av", reason="PyAV is not installed")

from runtime.errors import StaleFrameError  # noqa: E402
from runtime.events import ActionEvent, Phase  # noqa: E402
from runtime.events.clips import ClipSink  # noqa: E402
from runtime.events.config import ClipsConfig  # noqa: E402
from runtime.sources import Frame, Source, open_source  # noqa: E402
from tests.runtime.events.made import until  # noqa: E402
from tests.runtime.sources.test_rtsp import (  # noqa: E402
    CONFIG,
    RtspServer,
    _rtsp_packages,  # noqa: F401
    server,  # noqa: F401
)


def event(phase: Phase, number: int = 1) -> ActionEvent:
    return ActionEvent(
        event_id=f"event-{number}", camera="door", phase=phase, action="walk", person=1,
        score=0.9, box=(0.0, 0.0, 1.0, 1.0), started=time.time(), time=time.time(), duration_s=0.0,
    )  # fmt: skip


def read(source: Source, count: int) -> None:
    found = 0
    while found < count:
        with contextlib.suppress(StaleFrameError):  # while the camera is away
            found += isinstance(source.read(), Frame)


def frames_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray").tobytes() for f in container.decode(video=0)]


def test_a_clip_of_a_stream(server: RtspServer, tmp_path: Path) -> None:  # noqa: F811
    clips = ClipSink(ClipsConfig(folder=str(tmp_path), before_s=1.0, after_s=0.5))
    with open_source(server.address, CONFIG, opener=clips.opener("door")) as source:
        read(source, 40)
        clips.send(event(Phase.BEGIN))
        read(source, 25)
        clips.send(event(Phase.END))
        until(lambda: read(source, 1) or clips.status()["sent"] == 1)
        (about,) = (json.loads(path.read_text()) for path in tmp_path.glob("door/*.json"))
        shown = frames_of(tmp_path / "door" / about["file"])
        assert len(shown) > 25 + 20  # the action, and a second before it
        assert len(set(shown)) == len(shown)  # the picture moves, and no frame is there twice
        assert about["begins_s"] <= 0
        # The camera goes away while somebody acts; behind it the ring goes on.
        clips.send(event(Phase.BEGIN, 2))
        read(source, 10)
        server.cut()
        clips.send(event(Phase.END, 2))
        until(lambda: clips.status()["sent"] == 2)
        server.start()
        read(source, 20)
        clips.send(event(Phase.BEGIN, 3))
        read(source, 10)
        clips.send(event(Phase.END, 3))
        clips.close(30.0)
    assert clips.status()["sent"] == 3
    files = sorted(tmp_path.glob("door/*.mp4"))
    assert all(len(frames_of(path)) > 9 for path in files)
    assert len(files) == 3
