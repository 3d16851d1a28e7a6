"""The benchmark world as a data set."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.data.drawn import SyntheticClips
from edge.data.registry import DEFAULT_LENGTH, open_dataset
from edge.data.samples import ClipSample
from edge.world import CLASS_NAMES, TIME_PAIRS, WORLD_VERSION
from edge.world.camera import CameraPath, Degradation
from edge.world.dice import Dice, clip_seed
from edge.world.render import MAX_HEIGHT, MIN_HEIGHT, MIN_VISIBLE, render, sample_times
from edge.world.scene import FrameTiming, Scene
from runtime.errors import ConfigError
from runtime.types import ClipSpec

SHAPE = ClipSpec(num_frames=8, height=96, width=96, sampling_rate=4, fps=30.0)
KEY = SHAPE.keyframe_index
WANTED = (np.arange(8, dtype=np.float64) - KEY) * SHAPE.period_s
ROOT = Path(__file__).resolve().parents[3]


def digest(sample: ClipSample) -> str:
    """Return one hash of everything in a sample."""
    parts = (sample.frames_rgb, sample.boxes, sample.labels, sample.inactive_persons)
    content = b"".join(p.tobytes() for p in parts) + sample.clip_id.encode()
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def clips() -> list[ClipSample]:
    dataset = open_dataset("synthetic-val", SHAPE)
    return [dataset[i] for i in range(60)]


def test_a_clip_does_not_depend_on_order_or_process() -> None:
    dataset = open_dataset("synthetic-train", SHAPE, seed=5)
    order = (11, 2, 7)
    here = {i: digest(dataset[i]) for i in order}
    assert {i: digest(dataset[i]) for i in reversed(order)} == here
    code = (
        "import sys; sys.path.insert(0, 'tests/edge/data'); from test_drawn import *\n"
        "d = open_dataset('synthetic-train', SHAPE, seed=5)\n"
        f"print(*(digest(d[i]) for i in {sorted(order)}))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert there.stdout.split() == [here[i] for i in sorted(order)]


def test_a_clip_does_not_depend_on_the_length_of_the_data_set() -> None:
    assert digest(open_dataset("synthetic-val:3", SHAPE)[2]) == digest(
        open_dataset("synthetic-val:90000", SHAPE)[2]
    )


def test_no_two_clips_of_all_splits_and_seeds_share_a_seed() -> None:
    wide = (0, 1, 2, (1 << 48) - 1)
    seeds = [
        clip_seed(split, seed, index)
        for split in ("train", "val", "video")
        for seed in (0, 1, (1 << 64) - 1)
        for index in wide
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("synthetic-train", 0), ("synthetic-val", 0), id="splits"),
        pytest.param(("synthetic-train", 0), ("synthetic-train", 1), id="seeds"),
    ],
)
def test_other_splits_and_seeds_show_other_clips(
    one: tuple[str, int], other: tuple[str, int]
) -> None:
    a, b = (open_dataset(spec, SHAPE, seed=seed) for spec, seed in (one, other))
    assert not {digest(a[i]) for i in range(3)} & {digest(b[i]) for i in range(3)}


def test_samples_are_what_the_contract_says(clips: list[ClipSample]) -> None:
    assert len({c.clip_id for c in clips}) == len(clips)
    for clip in clips:
        assert clip.frames_rgb.shape == (8, 96, 96, 3)
        assert clip.frames_rgb.dtype == np.uint8
        assert clip.boxes.dtype == clip.labels.dtype == clip.inactive_persons.dtype == np.float32
        assert clip.labels.shape == (len(clip.boxes), len(CLASS_NAMES))
        assert clip.inactive_persons.shape[1:] == clip.boxes.shape[1:] == (4,)
        assert set(np.unique(clip.labels)) <= {0.0, 1.0}
        assert (clip.labels.sum(axis=1) >= 1).all()
        boxes = np.concatenate([clip.boxes, clip.inactive_persons])
        assert ((boxes >= 0) & (boxes <= 1)).all()
        tall = boxes[:, 3] - boxes[:, 1]
        assert ((tall >= MIN_HEIGHT - 1e-6) & (tall <= MAX_HEIGHT + 1e-6)).all()
        assert (boxes[:, 2] > boxes[:, 0]).all()
        assert min(clip.size_wh) >= 360
        assert f"world{WORLD_VERSION}/val" in clip.clip_id


def test_scenes_hold_none_to_six_people_small_and_large(clips: list[ClipSample]) -> None:
    counts = [len(c.boxes) + len(c.inactive_persons) for c in clips]
    assert min(counts) == 0
    assert max(counts) >= 4
    assert max(counts) <= 6
    boxes = np.concatenate([np.concatenate([c.boxes, c.inactive_persons]) for c in clips])
    tall = boxes[:, 3] - boxes[:, 1]
    assert tall.min() < 0.16
    assert tall.max() > 0.7


def test_frames_change_and_are_no_flat_pictures(clips: list[ClipSample]) -> None:
    moving = [c for c in clips if len(c.boxes)]
    assert all((c.frames_rgb[0] != c.frames_rgb[-1]).any() for c in moving)
    assert np.median([c.frames_rgb[KEY].std() for c in clips]) > 20


def test_classes_and_roles_are_balanced() -> None:
    dataset = SyntheticClips("train", SHAPE, length=3000)
    labels: Counter[str] = Counter()
    people = inactive_persons = 0
    for index in range(len(dataset)):
        for person in dataset.scene(index).people:
            people += 1
            inactive_persons += not person.role.labels
            labels.update(person.role.labels)
    total = sum(labels.values())
    assert set(labels) == set(CLASS_NAMES)
    assert len(CLASS_NAMES) >= 12
    assert len(TIME_PAIRS) >= 4
    for name in CLASS_NAMES:
        assert 0.035 < labels[name] / total < 0.085, name
    for a, b in TIME_PAIRS:
        assert labels[a] == pytest.approx(labels[b], rel=0.2)
    assert 0.25 < inactive_persons / people < 0.35


def alone(scene: Scene, person: int) -> tuple[Scene, Scene]:
    """Return a clean scene with nothing but one person, and the same without anybody."""
    clean = replace(
        scene, props=(), shadow=0.0, degradation=Degradation(), people=(), tone=scene.tone
    )
    only = replace(scene.people[person], role=replace(scene.people[person].role, held=None))
    return replace(clean, people=(only,)), clean


def test_boxes_are_those_of_the_pixels_that_a_figure_covers() -> None:
    side = 320
    dataset = SyntheticClips("val", replace(SHAPE, height=side, width=side), length=400)
    off: list[float] = []
    for index in range(30):
        scene = replace(dataset.scene(index), degradation=Degradation())
        for one in render(scene, WANTED[KEY:], 0).seen[:2]:
            pictures = (render(s, WANTED[KEY:], 0).frames_rgb[0] for s in alone(scene, one.person))
            picture, empty = (p.astype(int) for p in pictures)
            changed = np.abs(picture - empty).max(axis=2) > 12
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
            wider = (np.array(one.box) * side - found) * (1, 1, -1, -1)
            # A pixel that is covered in part counts whole: less than 1 px, and 1 px of smoothing.
            assert wider.max() < 2.0, (index, one, found)
            off.append(np.abs(wider).max())
    # Where a figure looks like what is behind it, its edge is not found.
    assert len(off) > 30
    assert np.mean(np.array(off) < 2.0) > 0.85


def test_who_counts_is_seen_well_enough() -> None:
    dataset = SyntheticClips("val", SHAPE, length=200)
    left_out = 0
    for index in range(60):
        scene = dataset.scene(index)
        seen = render(scene, WANTED, KEY).seen
        left_out += len(scene.people) - len(seen)
        assert all(MIN_VISIBLE <= s.visible <= 1.0 + 1e-9 for s in seen)
    assert left_out > 0


def test_who_does_not_count_is_not_in_the_picture() -> None:
    dataset = SyntheticClips("val", SHAPE, length=200)
    for index in range(200):
        scene = dataset.scene(index)
        if not scene.people:
            continue
        # Far below the frame: nobody can be seen.
        sunk = [replace(p, stature=replace(p.stature, x=500.0)) for p in scene.people]
        gone = render(replace(scene, people=tuple(sunk)), WANTED, KEY)
        without = [p for p in scene.props if getattr(p, "owner", -1) == -1]
        empty = render(replace(scene, people=(), props=tuple(without)), WANTED, KEY)
        assert gone.seen == ()
        np.testing.assert_array_equal(gone.frames_rgb, empty.frames_rgb)
        return
    pytest.fail("no scene with people")


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            FrameTiming(fps=30.0, phase=0.3, jitter=0.0, dropped=0.0, seed=1), id="30-fps"
        ),
        pytest.param(
            FrameTiming(fps=10.0, phase=0.9, jitter=0.2, dropped=0.0, seed=2), id="10-fps"
        ),
        pytest.param(
            FrameTiming(fps=10.0, phase=0.1, jitter=0.1, dropped=0.5, seed=3), id="dropping"
        ),
    ],
)
def test_samples_are_the_nearest_frames_of_the_camera(source: FrameTiming) -> None:
    times = sample_times(source, WANTED, KEY)
    assert times[KEY] == 0.0
    assert (np.diff(times) >= 0).all()
    slack = (0.5 if source.dropped == 0 else 4.0) * 1.5 / source.fps
    assert np.abs(times - WANTED).max() <= 2 * slack


def test_a_slow_camera_repeats_frames() -> None:
    source = FrameTiming(fps=10.0, phase=0.1, jitter=0.0, dropped=0.6, seed=4)
    assert len(np.unique(sample_times(source, WANTED, KEY))) < len(WANTED)


def test_a_moving_camera_moves_people_and_place_alike() -> None:
    dataset = SyntheticClips("val", replace(SHAPE, height=160, width=160), length=99)
    scene = next(s for s in map(dataset.scene, range(99)) if not s.people)
    plain = replace(scene, props=(), degradation=Degradation(), path=CameraPath())
    pan = replace(plain, path=CameraPath(pan=(0.1 * scene.camera.aspect, 0.0), pan_phase=0.0))
    still, moved = (render(s, WANTED, KEY).frames_rgb.astype(int) for s in (plain, pan))
    assert (still[0] == still[-1]).all()
    slide = pan.path.at(np.array([WANTED[-1]]))[0, 0, 2] * scene.camera.px[0]
    assert slide > 3
    shift = round(float(slide))
    a, b = moved[-1][:, shift:], moved[KEY][:, : 160 - shift]
    assert np.abs(a - b).mean() < 0.5 * np.abs(moved[-1] - moved[KEY]).mean()


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(replace(SHAPE, num_frames=1), id="one-frame"),
        pytest.param(replace(SHAPE, num_frames=16, height=64, width=48), id="long-narrow"),
        pytest.param(replace(SHAPE, height=32, width=32), id="smallest"),
        pytest.param(replace(SHAPE, num_frames=3, height=640, width=544), id="larger-than-bank"),
    ],
)
def test_other_shapes(shape: ClipSpec) -> None:
    dataset = open_dataset("synthetic-val", shape)
    for index in range(4):
        frames = dataset[index].frames_rgb
        assert frames.shape == (shape.num_frames, shape.height, shape.width, 3)


@pytest.mark.parametrize("index", [-1, 2, 1 << 50])
def test_there_is_no_clip_outside_of_the_data_set(index: int) -> None:
    with pytest.raises(IndexError, match="expected 0 to 1"):
        open_dataset("synthetic-val:2", SHAPE)[index]


def test_the_registry_counts() -> None:
    assert len(open_dataset("synthetic-val", SHAPE)) == DEFAULT_LENGTH == 2000
    assert len(open_dataset("synthetic-train:12", SHAPE)) == 12
    assert len(open_dataset("synthetic-train:12", SHAPE, limit=5)) == 5
    assert len(open_dataset("synthetic-train:12", SHAPE, limit=50)) == 12


@pytest.mark.parametrize(
    ("spec", "options", "says"),
    [
        pytest.param("synthetic-vall", {}, "Did you mean 'synthetic-val'", id="misspelt"),
        pytest.param("", {}, "not known", id="empty"),
        pytest.param("/", {}, "has no classes.txt", id="folder"),
        pytest.param("synthetic-val:", {}, "number of clips", id="no-number"),
        pytest.param("synthetic-val:-3", {}, "number of clips", id="negative"),
        pytest.param("synthetic-val:1e3", {}, "number of clips", id="no-whole-number"),
        pytest.param("synthetic-val:0", {}, "expected 1", id="none"),
        pytest.param("synthetic-val:" + "9" * 30, {}, "expected 1", id="endless"),
        pytest.param("synthetic-val:²", {}, "number of clips", id="no-ascii-digit"),
        pytest.param("synthetic-val:5:turn lft", {}, "Did you mean 'turn left'", id="no-action"),
        pytest.param("synthetic-val:turn left,", {}, "no action ''", id="empty-action"),
        pytest.param("synthetic-val:5:", {}, "no action ''", id="empty-actions"),
        pytest.param("synthetic-val:3x:clap", {}, "number of clips", id="no-number-but-action"),
        pytest.param("synthetic-val", {"limit": 0}, "limit", id="limit"),
        pytest.param("synthetic-val", {"seed": -1}, "seed", id="seed"),
        pytest.param("synthetic-val", {"seed": 1 << 64}, "seed", id="large-seed"),
        pytest.param("x" * 5000, {}, "not known", id="long"),
        pytest.param("\0", {}, "not known", id="nul"),
    ],
)
def test_bad_words_are_refused(spec: str, options: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_dataset(spec, SHAPE, **options)


@pytest.mark.parametrize(
    "spec", ["synthetic-train:40:turn left,phone", "synthetic-train: phone ,turn left"]
)
def test_people_do_the_actions_that_a_word_names(spec: str) -> None:
    dataset = open_dataset(spec, SHAPE, limit=40)
    labels = [set(p.role.labels) for index in range(40) for p in dataset.scene(index).people]
    assert set() in labels, "bystanders stay"
    # A phone call may come with a walk, as everywhere in the world.
    walks = {"walk forward", "walk backward"}
    assert {label for one in labels for label in one - walks} == {"turn left", "phone"}
    assert all(one - walks for one in labels if one)
    assert dataset.class_names == CLASS_NAMES
    assert dataset[0].clip_id != open_dataset("synthetic-train:40", SHAPE)[0].clip_id


def test_a_world_of_all_actions_is_the_world() -> None:
    named = open_dataset(f"synthetic-val:6:{','.join(CLASS_NAMES)}", SHAPE)
    plain = open_dataset("synthetic-val:6", SHAPE)
    for index in range(6):
        assert np.array_equal(named[index].frames_rgb, plain[index].frames_rgb)
        assert np.array_equal(named[index].labels, plain[index].labels)


@pytest.mark.parametrize("side", [31, 1025])
def test_sizes_that_cannot_be_drawn_are_refused(side: int) -> None:
    with pytest.raises(ConfigError, match="height 32 to 1024"):
        open_dataset("synthetic-val", replace(SHAPE, height=side))


def test_dice_of_two_streams_differ_and_stay_in_range() -> None:
    one, two = Dice(9, 1), Dice(9, 2)
    assert [one.unit() for _ in range(4)] != [two.unit() for _ in range(4)]
    assert all(abs(one.bell(0.0, 2.0)) <= 3.0 for _ in range(200))
    assert all(0.1 <= one.log_uniform(0.1, 0.9) <= 0.9 for _ in range(200))
    picked = Counter(two.weighted((1, 0, 3)) for _ in range(2000))
    assert picked[1] == 0
    assert picked[2] / picked[0] == pytest.approx(3, rel=0.25)
