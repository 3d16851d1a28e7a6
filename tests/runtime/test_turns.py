"""Streams that share one engine: turns in order, newest clip, own thresholds."""

from __future__ import annotations

import gc
import threading
import weakref
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.errors import CameraLostError, ConfigError
from runtime.results import KeyframeResult
from runtime.runner import ClipRunner
from runtime.sources import SourceConfig
from runtime.tubes import PersonTracks
from runtime.turns import Turns
from tests.runtime.fake_camera import FakeCamera, steady


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 21 images of noise."""
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(21):
        picture = np.random.default_rng(i).integers(0, 255, (36, 48, 3), np.uint8)
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


def test_who_waits_longest_is_next() -> None:
    turns, order, ready = Turns(), [], threading.Semaphore(0)

    def work(name: str) -> None:
        for _ in range(3):
            ready.release()
            with turns:
                order.append(name)

    with turns:
        assert turns.held_s >= 0
        threads = []
        for name in "abc":
            threads.append(threading.Thread(target=work, args=(name,)))
            threads[-1].start()
            ready.acquire()
            while turns.waiting < len(threads):  # it says so before it waits
                pass
    for thread in threads:
        thread.join()
    assert order[:3] == ["a", "b", "c"]
    assert sorted(order) == list("aaabbbccc")
    assert turns.held_s == 0
    assert turns.waiting == 0


def test_a_failing_turn_is_over() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="mine"), turns:
        raise ValueError("mine")
    with turns:
        pass


def test_siblings_at_the_same_time_say_what_each_alone_says(make_bundle: Any, images: Path) -> None:
    found: dict[int, list[KeyframeResult]] = {}
    with ClipRunner(make_bundle(), conf=0.0, num_threads=1) as runner:
        tested = runner.engine.program.stem_runs
        alone = list(runner.stream(images))
        alone_runs = runner.engine.program.stem_runs - tested
        turns = Turns()
        siblings = [runner.sibling(turns) for _ in range(3)]

        def work(index: int) -> None:
            found[index] = list(siblings[index].stream(images))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        # Each stream's own steps are computed once, and known again among those of the others.
        stem_runs = runner.engine.program.stem_runs - tested - alone_runs
        assert runner.engine.program.shares_steps
        assert stem_runs == 3 * alone_runs
    assert len(alone) == 4
    for results in found.values():
        assert [r.frame for r in results] == [r.frame for r in alone]
        for one, other in zip(results, alone, strict=True):
            np.testing.assert_array_equal(one.detections.xyxy, other.detections.xyxy)
            np.testing.assert_array_equal(one.detections.actions, other.detections.actions)


def test_a_live_stream_that_waited_for_its_turn_decides_about_the_newest_clip(
    make_bundle: Any,
) -> None:
    camera = FakeCamera(steady(60, (48, 36), fps=60.0), fps=60.0)
    config = SourceConfig(read_timeout_s=1, reconnect_attempts=0, live_queue=60)
    with ClipRunner(make_bundle(), num_threads=1) as runner:
        turns = Turns()
        sibling = runner.sibling(turns)
        results: list[KeyframeResult] = []

        def work() -> None:
            stream = sibling.stream("rtsp://host/fake", config=config, opener=camera)
            with closing(stream):
                results.extend(islice(stream, 1))

        thread = threading.Thread(target=work)
        with turns:  # somebody else's, while frames come in
            thread.start()
            while turns.waiting < 1:
                pass
            source = sibling.source
            assert source is not None
            while source.waiting_samples < 3:
                pass
            grabbed = source.grabbed
        thread.join()
    # The newest of the samples that waited; each is two frames, and one more may come between.
    assert results[0].frame >= grabbed - 3


def test_thresholds_of_siblings_are_their_own_and_move_while_they_run(
    make_bundle: Any, images: Path
) -> None:
    with ClipRunner(make_bundle(), conf=0.0, num_threads=1) as runner:
        sibling = runner.sibling(Turns())
        counts = []
        with closing(sibling.stream(images)) as stream:
            for result in stream:
                counts.append(len(result.detections))
                sibling.set_thresholds(conf=1.0)
        assert counts == [4, 0, 0, 0]
        assert runner.config.conf == 0.0
        with pytest.raises(ConfigError, match=r"conf is 1\.5"):
            sibling.set_thresholds(conf=1.5)


def test_frames_that_no_clip_wants_come_once_they_are_asked_for(
    make_bundle: Any, tmp_path: Path
) -> None:
    picture = np.zeros((36, 48, 3), np.uint8)
    for i in range(60):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), picture)
    seen: list[int] = []
    with ClipRunner(make_bundle(), num_threads=1) as runner:
        stream = runner.stream(
            tmp_path, on_frame=lambda frame, _: seen.append(frame.index), every_frame=False
        )
        for _ in stream:
            assert runner.source is not None
            runner.source.keep_all = True
    assert seen[:4] == [0, 2, 4, 6]
    assert seen[-20:] == list(range(40, 60))


def test_numbers_of_people_go_on_from_stream_to_stream(make_bundle: Any, images: Path) -> None:
    with ClipRunner(make_bundle(), conf=0.0, num_threads=1) as runner:
        tracks = PersonTracks()
        first = [r.people for r in runner.stream(images, track=tracks)]
        second = [r.people for r in runner.stream(images, track=tracks)]
    most = max(number for people in first if people for number in people)
    assert min(number for people in second if people for number in people if number >= 0) > most


def test_a_lost_stream_leaves_nothing_for_the_collector(make_bundle: Any) -> None:
    config = SourceConfig(read_timeout_s=1, reconnect_attempts=0)
    left = []
    gc.collect()
    gc.disable()
    try:
        with ClipRunner(make_bundle(), num_threads=1) as runner:
            for _ in range(2):
                camera = FakeCamera(steady(20, (48, 36), fps=30.0), fps=30.0)
                try:
                    for _ in runner.stream(0, config=config, opener=camera):
                        left += [weakref.ref(runner.source), weakref.ref(camera.captures[-1])]
                except CameraLostError:
                    pass
                del camera
    finally:
        gc.enable()
    assert left
    assert not [ref() for ref in left if ref() is not None]
