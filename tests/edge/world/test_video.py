"""A long video of the world with its truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edge.world import CLASS_NAMES
from edge.world.dice import Dice
from edge.world.figure import draw_stature
from edge.world.script import draw_idle, draw_script
from edge.world.skeleton import J, solve
from edge.world.video import VideoFrame, render_video
from runtime.errors import ConfigError


def test_a_video_shows_people_who_act_and_one_who_does_not() -> None:
    frames = list(render_video(3, 8.0, (160, 96), 10.0))
    assert len(frames) == 80
    assert [f.t for f in frames] == pytest.approx(np.arange(80) / 10)
    assert all(f.image_bgr.shape == (96, 160, 3) for f in frames)
    assert all(f.image_bgr.dtype == np.uint8 for f in frames)
    labels = {label for f in frames for _, names in f.actors for label in names}
    assert len(labels) >= 4
    assert labels <= set(CLASS_NAMES)
    assert np.mean([len(f.inactive_persons) >= 1 for f in frames]) > 0.8
    boxes = np.array([box for f in frames for box, _ in f.actors])
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_the_same_seed_gives_the_same_video() -> None:
    def first(seed: int, seconds: float) -> VideoFrame:
        return next(iter(render_video(seed, seconds, (128, 96), 10.0)))

    a, b, other = first(1, 6.0), first(1, 6.0), first(2, 6.0)
    np.testing.assert_array_equal(a.image_bgr, b.image_bgr)
    assert a.actors == b.actors
    assert (a.image_bgr != other.image_bgr).any()


@pytest.mark.parametrize("chair", [True, False], ids=["chair", "no-chair"])
def test_a_script_has_no_jumps(chair: bool) -> None:
    t = np.arange(0, 25, 1 / 60)
    for seed in range(12):
        script = draw_script(Dice(seed, 1), 25.0, chair=chair)
        stature = draw_stature(Dice(seed, 2), x=0.0, y=4.0, heading=0.4)
        rows = solve([stature], script.poses(t)[None])[0, :, : len(J)]
        speed = np.linalg.norm(np.diff(rows, axis=0), axis=-1) * 60
        assert np.isfinite(rows).all()
        assert speed[:, J.PELVIS].max() < 5.0
        assert speed.max() < 22.0
        # Every round ends where it began: nobody leaves the picture for good.
        assert np.abs(rows[:, J.PELVIS, :2] - rows[0, J.PELVIS, :2]).max() < 4.5
        beats = script.beats
        assert all(a.end_s <= b.start_s + 1e-9 for a, b in itertools.pairwise(beats))
        assert {label for x in t for label in script.labels(float(x))} <= set(CLASS_NAMES)


def test_a_thing_is_in_the_hands_between_picking_up_and_putting_down() -> None:
    scripts = (draw_script(Dice(seed, 1), 25.0, chair=False) for seed in range(40))
    script = next(s for s in scripts if s.events)
    taken, put = script.events[:2]
    times = np.array([taken - 0.1, 0.5 * (taken + put), put + 0.1])
    assert script.in_hand(times).tolist() == [0.0, 1.0, 0.0]
    assert script.labels(taken) == ("pick up",)
    assert script.labels(put) == ("put down",)


def test_a_bystander_does_nothing() -> None:
    assert draw_idle(Dice(1)).labels(2.0) == ()


@pytest.mark.parametrize(
    ("seed", "seconds", "size_wh", "fps", "says"),
    [
        pytest.param(-1, 1.0, (160, 96), 10.0, "seed", id="seed"),
        pytest.param(0, 0.0, (160, 96), 10.0, "seconds", id="no-time"),
        pytest.param(0, float("inf"), (160, 96), 10.0, "seconds", id="endless"),
        pytest.param(0, 1.0, (160, 96), float("nan"), "fps", id="fps"),
        pytest.param(0, 1.0, (10, 96), 10.0, "10x96", id="small"),
        pytest.param(0, 1.0, (160, 9000), 10.0, "160x9000", id="large"),
    ],
)
def test_impossible_videos_are_refused_at_once(
    seed: int, seconds: float, size_wh: tuple[int, int], fps: float, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        render_video(seed, seconds, size_wh, fps)
