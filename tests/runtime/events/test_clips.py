"""Clips are cut from packets as they came, from a keyframe; sources without packets have none."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("av", reason="PyAV is not installed")

import av

from runtime.errors import SinkError
from runtime.events import events_config, open_sinks
from runtime.events.clips import ClipSink
from runtime.events.config import ClipsConfig
from runtime.events.packets import PacketRing, Template
from runtime.sources import SourceConfig, parse_uri
from tests.runtime.events.made import event, fill, until
from tests.runtime.sources.films import write_film

NAME = "20231114T221321.000Z"  # of the events of these tests


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def frames_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="rgb24").tobytes() for f in container.decode(video=0)]


def sink(folder: Path, **settings: object) -> ClipSink:
    given = {"before_s": 60.0, "after_s": 0.0, **settings}
    return ClipSink(ClipsConfig(folder=str(folder), **given))  # type: ignore[arg-type]


def watch(clips: ClipSink, film: Path, camera: str = "door") -> None:
    """Read a film to its end, as the camera."""
    capture = clips.opener(camera)(parse_uri(film), SourceConfig())
    while capture.grab():
        pass
    capture.release()


def act(clips: ClipSink, camera: str = "door", number: int = 1) -> None:
    clips.send(event(number, camera=camera))
    clips.send(event(number, camera=camera, phase="end"))


@pytest.mark.parametrize(
    ("codec", "name", "suffix"),
    [("libx264", "a.mp4", ".mp4"), ("libx264", "a.ts", ".mp4"), ("mpeg4", "a.avi", ".mp4"),
     ("mjpeg", "a.avi", ".mkv"), ("libvpx", "a.mkv", ".mkv")],
)  # fmt: skip
def test_a_clip_shows_the_frames_of_the_source(
    tmp_path: Path, codec: str, name: str, suffix: str
) -> None:
    film = write_film(
        tmp_path / name, codec=codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"
    )  # fmt: skip
    clips = sink(tmp_path / "clips")
    watch(clips, film)
    act(clips)
    until(lambda: clips.status()["sent"] == 1)
    path = tmp_path / "clips" / "door" / (NAME + suffix)
    assert frames_of(path) == frames_of(film)
    about = json.loads(path.with_suffix(".json").read_text())
    assert about["file"] == path.name
    assert [(e["event_id"], e["phase"]) for e in about["events"]] == [
        ("event-1", "begin"), ("event-1", "end"),
    ]  # fmt: skip
    clips.close(30.0)
    assert sorted(p.name for p in path.parent.iterdir()) == [NAME + ".json", path.name]


def test_nothing_is_encoded_again(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", count=60, options={"bf": "2", "g": "12"})
    clips = sink(tmp_path / "clips")
    watch(clips, film)
    act(clips)
    clips.close(30.0)
    assert packets_of(tmp_path / "clips" / "door" / f"{NAME}.mp4") == packets_of(film)


def test_actions_at_the_same_time_are_one_clip(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4")
    clips = sink(tmp_path / "clips")
    watch(clips, film)
    for number, phase in ((1, "begin"), (2, "begin"), (1, "end")):
        clips.send(event(number, phase=phase))
    assert clips.status()["queued"] == 1
    clips.send(event(2, phase="end"))
    until(lambda: clips.status()["sent"] == 1)
    clips.close(30.0)
    assert clips.status()["queued"] == 0


def test_what_is_held_is_written_at_the_end(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4")
    clips = sink(tmp_path / "clips", after_s=60.0)
    watch(clips, film)
    clips.send(event(1))
    assert clips.status()["queued"] == 1
    clips.close(30.0)
    assert clips.status()["sent"] == 1
    assert len(frames_of(tmp_path / "clips" / "door" / f"{NAME}.mp4")) == 30


def test_another_configuration_goes_on_with_the_packets(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4")
    before, after = sink(tmp_path / "1"), sink(tmp_path / "2")
    watch(before, film)
    after.take_over(before)
    before.close(30.0)
    act(after)
    after.close(30.0)
    assert packets_of(tmp_path / "2" / "door" / f"{NAME}.mp4") == packets_of(film)
    assert not list((tmp_path / "1").iterdir())


def test_a_source_of_frames_has_no_clips_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import cv2
    import numpy as np

    images = tmp_path / "images"
    images.mkdir()
    assert cv2.imwrite(str(images / "1.png"), np.zeros((8, 8, 3), np.uint8))
    clips = sink(tmp_path / "clips")
    watch(clips, images)
    act(clips)
    clips.close(30.0)
    status = clips.status()
    assert "not available" in str(status["unavailable"])
    assert "clips of door" in caplog.text
    assert (status["sent"], status["dropped"]) == (0, 0)


def test_only_the_oldest_clips_go_and_nothing_else(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", count=100, size_wh=(640, 360))
    size = film.stat().st_size
    folder = tmp_path / "clips"
    (folder / "door").mkdir(parents=True)
    mine = folder / "door" / "holiday.mp4"
    mine.write_bytes(bytes(3_000_000))
    clips = sink(folder, max_mb=1.0)
    for number in range(1_000_000 // size + 3):
        watch(clips, film)
        act(clips, number=number)
        until(lambda done=number + 1: clips.status()["sent"] == done)
    clips.close(30.0)
    kept = sorted(p for p in folder.glob("*/2*.mp4"))
    assert 0 < sum(p.stat().st_size for p in folder.glob("*/2*")) <= 1_000_000
    assert len(kept) < 1_000_000 // size + 3
    assert mine.exists()


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "clips" / "door"
    folder.mkdir(parents=True)
    part = folder / f".{NAME}.x8_1.mp4"
    other = folder / ".mine.mp4"
    part.touch()
    other.touch()
    sink(tmp_path / "clips").close(30.0)
    assert not part.exists()
    assert other.exists()


def test_a_full_disk_costs_the_clip_and_leaves_no_part(small_disk: Path, tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", count=60)
    clips = sink(small_disk / "clips")
    watch(clips, film)
    filler = fill(small_disk)
    act(clips)
    until(lambda: clips.status()["dropped"] == 1)
    assert clips.status()["error"]
    assert not [p for p in small_disk.glob("clips/*/*") if p.stat().st_size]
    filler.unlink()
    act(clips, number=2)
    until(lambda: clips.status()["sent"] == 1)
    assert clips.status()["error"] is None
    clips.close(30.0)


def test_a_folder_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="cannot be written"):
        sink(tmp_path / "file" / "clips")


def test_it_is_opened_by_the_configuration(tmp_path: Path) -> None:
    (clips,) = open_sinks(events_config({"clips": {"folder": str(tmp_path / "clips")}}))
    assert clips.name == "clips"
    clips.close(1.0)


class Made(bytes):
    """A packet of PyAV's, as far as the ring looks at it."""

    is_keyframe = False
    pts = dts = 0
    duration = 1
    time_base = Fraction(1, 25)


def fed(
    script: str, *, seconds: float = 3.0, most: int = 10_000, hold: float | None = None
) -> PacketRing:
    """Return a ring after one packet each second: `K` keyframe, `.` none, `|` new connection."""
    ring = PacketRing(seconds=seconds, most_bytes=most)
    ring.hold(hold)
    ring.restart(named("first"))
    at = 0
    for letter in script:
        if letter == "|":
            ring.restart(named("next"))
            continue
        packet = Made(10)
        packet.is_keyframe = letter == "K"
        ring.add(packet, float(at))
        at += 1
    return ring


def named(name: str) -> Template:
    template: Any = SimpleNamespace(name=name)
    return template  # type: ignore[no-any-return]


def times(ring: PacketRing, start: float, end: float) -> list[float]:
    return [packet.at for packet in ring.between(start, end)]


def test_a_clip_begins_at_the_keyframe_before() -> None:
    ring = fed("K..K..K..", seconds=100)
    assert times(ring, 4.5, 7) == [3, 4, 5, 6, 7]
    assert times(ring, 3.0, 4) == [3, 4]
    assert times(ring, -5.0, 1) == [0, 1]
    assert times(ring, 50.0, 60) == [6, 7, 8]  # the camera hangs since
    assert times(fed("..K.", seconds=100), 0.0, 9.0) == [2, 3]  # joined between two keyframes
    assert times(fed("....", seconds=100), 0.0, 9.0) == []


def test_a_clip_ends_where_the_connection_was_lost() -> None:
    ring = fed("K...|K...", seconds=100)
    assert times(ring, 1.0, 7.0) == [0, 1, 2, 3]
    assert times(ring, 5.0, 7.0) == [4, 5, 6, 7]
    # The action is behind the loss: it is what the clip has to show.
    assert [p.at for p in ring.between(2.0, 7.0, at=5.0)] == [4, 5, 6, 7]
    assert [p.at for p in fed("K...|K...", seconds=100, hold=0).between(-9, 99, at=99)] == [
        4,
        5,
        6,
        7,
    ]


def test_the_ring_forgets_whole_groups_that_are_too_old() -> None:
    assert times(fed("K..K..K..K.."), -9, 99) == [6, 7, 8, 9, 10, 11]
    assert times(fed("K..K..K..K..", hold=4.0), -9, 99) == list(range(3, 12))


def test_the_ring_is_bounded_in_bytes_whatever_is_held() -> None:
    ring = fed("K..K..K..K..", seconds=100, hold=0.0, most=75)
    assert times(ring, -9, 99) == [6, 7, 8, 9, 10, 11]
    assert times(fed("K" + "." * 50, most=75), -9, 99) == []  # no group fits


def test_packets_of_one_group_are_bounded_too() -> None:
    ring = fed("K" + "." * 500 + "K..", most=75)
    assert len(times(ring, -9, 9999)) == 3
