"""Motions and figures of the world; which actions only time tells apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edge.data.drawn import SyntheticClips
from edge.world import CLASS_NAMES, TIME_PAIRS
from edge.world.casting import ROLES, TWIN, Role, cast_actor, cast_inactive
from edge.world.dice import Dice
from edge.world.figure import draw_stature
from edge.world.render import render
from edge.world.skeleton import CHANNELS, ROWS, Ch, J, solve, standing
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=8, height=96, width=96, sampling_rate=4, fps=30.0)
WANTED = (np.arange(8, dtype=np.float64) - 4) * SHAPE.period_s
Matrix = npt.NDArray[np.float64]

paired = pytest.mark.parametrize(
    ("one", "other"), [pytest.param(*pair, id="/".join(pair)) for pair in TIME_PAIRS]
)


def poses(role: Role, t: Matrix) -> Matrix:
    """Return the poses of a role."""
    pose = standing(len(t))
    for motion in role.motions:
        motion.apply(pose, t)
    return pose


@paired
def test_the_twin_of_one_is_drawn_as_often_as_the_other(one: str, other: str) -> None:
    """The same dice give an action and the twin of its partner, so a keyframe fits both alike."""
    compared = 0
    for seed in range(60):
        a, b = (ROLES[name](Dice(seed, 3)) for name in (one, other))
        # Who waves on a walk also walks the other way in the twin; that coin is fair by itself.
        if len(a.labels) == 1:
            assert a.twin() == b
            assert b.twin() == a
            compared += 1
    assert compared > 30


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_twin_shares_the_keyframe_and_swaps_the_labels(name: str) -> None:
    for seed in range(12):
        role = ROLES[name](Dice(seed, 4))
        twin = role.twin()
        assert twin.labels == tuple(TWIN.get(label, label) for label in role.labels)
        assert twin.twin() == role
        now = np.zeros(1)
        np.testing.assert_array_equal(poses(role, now), poses(twin, now))
        if name in TWIN:
            assert np.abs(poses(role, WANTED) - poses(twin, WANTED)).max() > 0.02


def test_the_keyframe_of_a_twin_scene_is_the_same_to_the_pixel() -> None:
    dataset = SyntheticClips("val", SHAPE, length=400)
    compared: set[str] = set()
    for index in range(400):
        scene = dataset.scene(index)
        labels = {label for p in scene.people for label in p.role.labels if label in TWIN}
        if not labels - compared:
            continue
        a, b = render(scene, WANTED, 4), render(scene.twin(), WANTED, 4)
        np.testing.assert_array_equal(a.frames_rgb[4], b.frames_rgb[4])
        assert a.seen == b.seen
        if a.seen and {x for s in a.seen for x in scene.people[s.person].role.labels} & labels:
            assert (a.frames_rgb != b.frames_rgb).any()
            compared |= labels
        if compared == set(TWIN):
            return
    pytest.fail(f"not all pairs were met: {set(TWIN) - compared}")


def accuracy(features: Matrix, answers: Matrix) -> float:
    """Return how often ridge regression on the first half is right on the second half."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    features = np.concatenate([features, features**2, np.ones((len(features), 1))], axis=1)
    half = len(features) // 2
    train, test = features[:half], features[half:]
    system = train.T @ train + 5.0 * np.eye(features.shape[1])
    weights = np.linalg.solve(system, train.T @ (2 * answers[:half] - 1))
    return float(((test @ weights > 0) == (answers[half:] > 0.5)).mean())


@paired
def test_a_pose_tells_nothing_and_a_motion_everything(one: str, other: str) -> None:
    rng = np.random.default_rng(3)
    answers = rng.integers(0, 2, 1200)
    held, rows = [], []
    for seed, answer in enumerate(answers.tolist()):
        role = ROLES[(one, other)[answer]](Dice(seed, 5))
        pose = poses(role, WANTED)
        held.append(pose[4])
        # For a wave the amount of motion tells, for the other pairs its direction.
        way = pose[6] - pose[2]
        rows.append(np.concatenate([way, np.abs(np.diff(pose, axis=0)).sum(0)]))
    assert 0.42 < accuracy(np.array(held), answers.astype(float)) < 0.58
    assert accuracy(np.array(rows), answers.astype(float)) > 0.85


def test_figures_are_finite_and_keep_their_bones() -> None:
    t = np.linspace(-1.2, 1.2, 25)
    for seed in range(80):
        dice = Dice(seed, 6)
        role = cast_inactive(dice) if seed % 3 == 0 else cast_actor(dice)
        stature = draw_stature(dice, x=1.0, y=5.0, heading=0.3 * seed)
        rows = solve([stature], poses(role, t)[None])
        assert rows.shape == (1, 25, ROWS, 3)
        assert np.isfinite(rows).all()
        if "fall" in role.labels or (poses(role, t)[:, Ch.TILT] > 0).any():
            continue  # what falls is laid on the ground, which may bend a bone
        for a, b, share in ((J.R_HIP, J.R_KNEE, 0.245), (J.L_SHOULDER, J.L_ELBOW, 0.168)):
            length = np.linalg.norm(rows[0, :, a] - rows[0, :, b], axis=-1)
            wanted = share * stature.height * (stature.legs if a == J.R_HIP else 1.0)
            np.testing.assert_allclose(length, wanted, rtol=1e-6)
        assert (rows[0, :, : len(J), 2] > -0.12).all()
        assert rows[0, :, J.HEAD, 2].max() < 1.75 * stature.height


def test_people_stand_at_their_height() -> None:
    stature = replace(draw_stature(Dice(1, 7), x=0.0, y=4.0, heading=0.0), height=1.7, legs=1.0,
                      head=1.0)  # fmt: skip
    rows = solve([stature], standing(1)[None])[0, 0]
    assert rows[J.HEAD, 2] + 0.074 * 1.7 == pytest.approx(1.7, abs=0.06)
    assert rows[J.R_ANKLE, 2] == pytest.approx(0.07, abs=0.01)


def test_forward_is_where_the_face_looks_and_left_is_left() -> None:
    stature = replace(draw_stature(Dice(1, 7), x=0.0, y=4.0, heading=np.pi / 2), tilt_axis=0.0)
    t = np.array([-0.3, 0.3])
    walk = ROLES["walk forward"](Dice(2, 8))
    rows = solve([stature], poses(walk, t)[None])[0]
    assert rows[1, J.PELVIS, 1] - rows[0, J.PELVIS, 1] > 0.3
    turn = ROLES["turn left"](Dice(2, 8))
    assert poses(turn, t)[1, Ch.YAW] > poses(turn, t)[0, Ch.YAW]
    right_foot = solve([stature], standing(1)[None])[0, 0, J.R_ANKLE]
    assert right_foot[0] > 0.05  # looking along Y, the right hand is towards X


@pytest.mark.parametrize("seed", range(6))
def test_bystanders_hold_their_pose(seed: int) -> None:
    moved = [
        np.ptp(poses(cast_inactive(Dice(100 * seed + i, 9)), WANTED), axis=0) for i in range(40)
    ]
    everything = np.max(moved, axis=0)
    everything[Ch.HEAD_YAW] = 0.0  # they may look around
    assert everything.shape == (CHANNELS,)
    assert everything.max() < 0.08


def test_what_is_picked_up_goes_with_the_hand_and_what_is_put_down_stays() -> None:
    late = np.array([5.0])
    up = ROLES["pick up"](Dice(4, 10))
    down = up.twin()
    assert up.governs is not None
    assert down.governs is not None
    assert up.motions[up.governs].in_hand(late)[0] == 1.0
    assert down.motions[down.governs].in_hand(late)[0] == 0.0
