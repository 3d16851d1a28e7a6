"""Boxes go where the pixels go: a rectangle is drawn, changed, and found where its box says."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edge.data.augment import AugmentConfig, Augmented
from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.data.transforms import (
    FILL,
    Colours,
    Window,
    crop,
    flip,
    mirror_pairs,
    mosaic,
    recolour,
    resize,
    shares_kept,
)
from runtime.errors import ConfigError
from runtime.preprocess import normalize, preprocess_reference, resize_reference
from runtime.types import ClipSpec
from tests.edge.partial_labels import KNOWN, SOMEBODY, UNKNOWN, codes, masks

ROWS, COLUMNS, FRAMES = 48, 64, 3
CLASSES = ("turn left", "turn right", "wave")
NOBODY = np.zeros((0, 4), np.float32)
WHOLE = Window(x=0, y=0, width=COLUMNS, height=ROWS)


def drawn(
    box_px: tuple[int, int, int, int], *, rows: int = ROWS, columns: int = COLUMNS,
    actor: bool = True, name: str = "drawn",
) -> ClipSample:  # fmt: skip
    """Return a black clip with one white rectangle, which stays where it is."""
    x0, y0, x1, y1 = box_px
    frames = np.zeros((FRAMES, rows, columns, 3), np.uint8)
    frames[:, y0:y1, x0:x1] = 255
    box = np.array([[x0 / columns, y0 / rows, x1 / columns, y1 / rows]], np.float32)
    labels = np.array([[1, 0, 1]], np.float32)
    return ClipSample(
        frames_rgb=frames, boxes=box if actor else NOBODY, labels=labels if actor else labels[:0],
        inactive_persons=NOBODY if actor else box, clip_id=name, size_wh=(640, 480),
    )  # fmt: skip


def found(frame: np.ndarray, threshold: float = 127.5) -> np.ndarray:
    """Return the box of what is bright, as shares; edges between pixels are interpolated."""
    sides = []
    for axis in (0, 1):
        line = frame[..., 0].max(axis=axis).astype(float)
        bright = np.flatnonzero(line > threshold)
        sides.append((bright[0] / len(line), (bright[-1] + 1) / len(line)))
    (x0, x1), (y0, y1) = sides
    return np.array([x0, y0, x1, y1])


boxes_px = st.tuples(
    st.integers(0, COLUMNS - 9), st.integers(0, ROWS - 9), st.integers(8, COLUMNS),
    st.integers(8, ROWS),
).map(lambda b: (b[0], b[1], min(COLUMNS, b[0] + b[2]), min(ROWS, b[1] + b[3])))  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(boxes_px, st.integers(20, 150), st.integers(20, 150))
def test_a_resize_to_a_fixed_square_leaves_shares_alone(
    box: tuple[int, int, int, int], height: int, width: int
) -> None:
    sample = resize(drawn(box), height, width)
    assert sample.frames_rgb.shape == (FRAMES, height, width, 3)
    limit = 1.0 / np.array([width, height] * 2) + 0.5 / np.array([COLUMNS, ROWS] * 2)
    assert (np.abs(found(sample.frames_rgb[0]) - sample.boxes[0]) <= limit).all()


@pytest.mark.parametrize("size", [(32, 32), (160, 160), (48, 64), (50, 31)], ids=str)
def test_a_resize_is_the_devices_to_the_bit(size: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (FRAMES, ROWS, COLUMNS, 3), dtype=np.uint8)
    sample = resize(replace(drawn((0, 0, 9, 9)), frames_rgb=frames), *size)
    config = ClipSpec(num_frames=1, sampling_rate=1, fps=30.0, height=size[0], width=size[1])
    clip = normalize(sample.frames_rgb, config)
    for index, frame in enumerate(frames):
        np.testing.assert_array_equal(sample.frames_rgb[index], resize_reference(frame, *size))
        bgr = np.ascontiguousarray(frame[:, :, ::-1])
        np.testing.assert_array_equal(clip[0, index], preprocess_reference(bgr, config))


@settings(max_examples=60, deadline=None)
@given(boxes_px)
def test_a_mirror_image_moves_boxes_exactly(box: tuple[int, int, int, int]) -> None:
    sample = drawn(box)
    turned = flip(sample, mirror_pairs(CLASSES))
    np.testing.assert_allclose(found(turned.frames_rgb[1]), turned.boxes[0], atol=1e-6)
    assert turned.labels.tolist() == [[0, 1, 1]]
    back = flip(turned, mirror_pairs(CLASSES))
    np.testing.assert_array_equal(back.frames_rgb, sample.frames_rgb)
    np.testing.assert_allclose(back.boxes, sample.boxes, atol=1e-6)
    np.testing.assert_array_equal(back.labels, sample.labels)
    assert (turned.boxes[:, 2:] > turned.boxes[:, :2]).all()


windows = st.builds(
    Window, x=st.integers(-40, COLUMNS - 4), y=st.integers(-40, ROWS - 4),
    width=st.integers(16, 120), height=st.integers(16, 120),
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(boxes_px, windows, st.floats(0.05, 1.0))
def test_a_window_moves_boxes_as_it_moves_pixels(
    box: tuple[int, int, int, int], window: Window, keep: float
) -> None:
    x0, y0, x1, y1 = box
    left, right = max(x0, window.x), min(x1, window.x + window.width)
    top, bottom = max(y0, window.y), min(y1, window.y + window.height)
    inside = max(0, right - left) * max(0, bottom - top)
    share = inside / ((x1 - x0) * (y1 - y0))
    assume(abs(share - keep) > 1e-6)
    sample = crop(drawn(box), window, keep=keep)
    assert len(sample.boxes) == len(sample.labels) == int(share >= keep and share > 0)
    if not len(sample.boxes):
        return
    size = np.array([window.width, window.height] * 2)
    corner = np.array([window.x, window.y] * 2)
    exact = (np.array([left, top, right, bottom]) - corner) / size
    np.testing.assert_allclose(sample.boxes[0], exact, atol=1e-6)
    # Grey outside of the frame is darker than the threshold; the white edge blurs by a pixel.
    wide = np.array([right - left, bottom - top]) / size[:2] * [COLUMNS, ROWS]
    assume((wide >= 3).all())
    limit = 1.01 / np.array([COLUMNS, ROWS] * 2) + 0.5 / size
    assert (np.abs(found(sample.frames_rgb[2], 190) - sample.boxes[0]) <= limit).all()


def test_bystanders_go_the_same_way_and_are_dropped_by_the_same_rule() -> None:
    sample = drawn((10, 10, 30, 30), actor=False)
    window = Window(x=20, y=0, width=44, height=48)
    assert crop(sample, window, keep=0.5).inactive_persons.tolist() == [
        pytest.approx([0, 10 / 48, 10 / 44, 30 / 48])
    ]
    assert len(crop(sample, window, keep=0.51).inactive_persons) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(lambda s: resize(s, 20, 30), [[0.25, 0.25, 0.5, 0.75]], id="resize"),
        pytest.param(flip, [[0.5, 0.25, 0.75, 0.75]], id="flip"),
        pytest.param(
            lambda s: crop(s, Window(x=28, y=0, width=32, height=48), keep=0.9),
            [[0, 0.25, 0.125, 0.75]],
            id="crop-keeps-any-part",
        ),
        pytest.param(
            lambda s: crop(s, Window(x=40, y=0, width=16, height=48), keep=0.1), [], id="crop-drops"
        ),
        pytest.param(
            lambda s: mosaic([s] * 4, [WHOLE] * 4, (32, 24), keep=0.5),
            [
                [0.125 + x, 0.125 + y, 0.25 + x, 0.375 + y]
                for x, y in ((0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5))
            ],
            id="mosaic",
        ),
        pytest.param(lambda s: recolour(s, Colours(brightness=0.5)), [[0.25, 0.25, 0.5, 0.75]],
                     id="colours"),
    ],
)  # fmt: skip
def test_ignored_people_go_the_same_way_and_stay_while_a_part_is_seen(
    change: Callable[[ClipSample], ClipSample], expected: list[list[float]]
) -> None:
    ignored = np.array([[0.25, 0.25, 0.5, 0.75]], np.float32)
    changed = change(replace(drawn((0, 0, 9, 9)), ignored=ignored))
    assert changed.ignored.dtype == np.float32
    np.testing.assert_allclose(changed.ignored, np.reshape(expected, (-1, 4)), atol=1e-6)


def test_what_lies_outside_of_the_frame_is_grey() -> None:
    window = Window(x=-COLUMNS, y=-ROWS, width=3 * COLUMNS, height=3 * ROWS)
    sample = crop(drawn((0, 0, COLUMNS, ROWS)), window, keep=0.5)
    assert (sample.frames_rgb[0, :10] == FILL).all()
    np.testing.assert_allclose(sample.boxes[0], [1 / 3, 1 / 3, 2 / 3, 2 / 3], atol=1e-6)
    far = crop(drawn((0, 0, 9, 9)), Window(x=500, y=500, width=20, height=20), keep=0.0)
    assert (far.frames_rgb == FILL).all()
    assert len(far.boxes) == 0


def test_shares_are_of_the_whole_box() -> None:
    boxes = np.array([[0, 0, 0.5, 1], [0.25, 0, 0.75, 1], [0.2, 0.2, 0.2, 0.9]], np.float32)
    window = Window(x=0, y=0, width=COLUMNS // 2, height=ROWS)
    assert shares_kept(boxes, window, (COLUMNS, ROWS)).tolist() == [1, 0.5, 0]


@settings(max_examples=40, deadline=None)
@given(st.lists(boxes_px, min_size=4, max_size=4), st.integers(24, 40), st.integers(18, 30))
def test_a_mosaic_shows_each_person_where_the_boxes_say(
    boxes: list[tuple[int, int, int, int]], x: int, y: int
) -> None:
    whole = Window(x=0, y=0, width=COLUMNS, height=ROWS)
    samples = [drawn(box, name=str(i)) for i, box in enumerate(boxes)]
    mixed = mosaic(samples, [whole] * 4, (x, y), keep=0.1)
    assert mixed.clip_id == "0+1+2+3"
    assert mixed.labels.tolist() == [[1, 0, 1]] * 4
    cells = [(0, 0, x, y), (x, 0, COLUMNS, y), (0, y, x, ROWS), (x, y, COLUMNS, ROWS)]
    for (x0, y0, x1, y1), box, px in zip(cells, mixed.boxes, boxes, strict=True):
        assume((px[2] - px[0]) * (x1 - x0) >= 3 * COLUMNS)
        assume((px[3] - px[1]) * (y1 - y0) >= 3 * ROWS)
        cell = found(mixed.frames_rgb[0, y0:y1, x0:x1])
        size = np.array([x1 - x0, y1 - y0] * 2)
        seen = (cell * size + [x0, y0] * 2) / ([COLUMNS, ROWS] * 2)
        assert (np.abs(seen - box) <= 1.01 / np.array([COLUMNS, ROWS] * 2)).all()


def test_a_mosaic_of_other_shapes_is_refused() -> None:
    whole = Window(x=0, y=0, width=COLUMNS, height=ROWS)
    sample = drawn((0, 0, 9, 9))
    with pytest.raises(ConfigError, match="of 3 clips"):
        mosaic([sample] * 3, [whole] * 3, (20, 20), keep=0.5)
    with pytest.raises(ConfigError, match="meet at"):
        mosaic([sample] * 4, [whole] * 4, (0, 20), keep=0.5)
    with pytest.raises(ConfigError, match="several shapes"):
        mosaic([sample] * 3 + [resize(sample, 20, 20)], [whole] * 4, (20, 20), keep=0.5)


@pytest.mark.parametrize(
    ("colours", "pixel", "expected"),
    [
        pytest.param(Colours(), (10, 20, 30), (10, 20, 30), id="nothing"),
        pytest.param(Colours(brightness=1.5), (10, 20, 250), (15, 30, 255), id="brightness"),
        pytest.param(Colours(contrast=0.0), (10, 20, 30), (128, 128, 128), id="no-contrast"),
        pytest.param(Colours(saturation=0.0), (100, 100, 200), (111, 111, 111), id="grey"),
        pytest.param(Colours(hue=1 / 3), (200, 0, 0), (0, 200, 0), id="red-to-green"),
        pytest.param(Colours(hue=0.1, saturation=2.0), (90, 90, 90), (90, 90, 90), id="grey-stays"),
    ],
)
def test_colours_change_as_named(
    colours: Colours, pixel: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    sample = drawn((0, 0, 9, 9))
    sample = replace(sample, frames_rgb=np.full_like(sample.frames_rgb, 0) + np.uint8(pixel))
    changed = recolour(sample, colours)
    assert np.abs(changed.frames_rgb.astype(int) - expected).max() <= 1
    assert (changed.frames_rgb == changed.frames_rgb[0, 0, 0]).all()


@pytest.mark.parametrize(
    ("names", "pairs"),
    [
        pytest.param(CLASSES, ((0, 1),), id="words"),
        pytest.param(("right-hand", "wave", "left hand"), ((2, 0),), id="marks"),
        pytest.param(("left", "leftover", "rightover"), (), id="whole-words-only"),
        pytest.param(("Kick (Left)", "kick (right)"), ((0, 1),), id="case"),
    ],
)
def test_classes_that_mirror_each_other_are_known_by_name(
    names: tuple[str, ...], pairs: tuple[tuple[int, int], ...]
) -> None:
    assert mirror_pairs(names) == pairs


class Rectangles(ClipDataset):
    """Clips of one rectangle each, at a place of its own."""

    class_names = CLASSES

    def __init__(self, length: int = 5) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> ClipSample:
        return drawn((4 + 3 * index, 6, 24 + 3 * index, 40), name=f"clip/{index}")


def same(a: ClipSample, b: ClipSample) -> bool:
    arrays = ("frames_rgb", "boxes", "labels", "inactive_persons")
    return all(np.array_equal(getattr(a, n), getattr(b, n)) for n in arrays) and (
        a.clip_id == b.clip_id
    )


def test_a_changed_clip_is_a_function_of_its_number() -> None:
    one, other = (Augmented(Rectangles(), AugmentConfig(mosaic=0.5), seed=3) for _ in range(2))
    order = [(2, 1), (0, 0), (3, 4), (2, 1), (4, 0), (2, 2)]
    first = [one.clip(*which) for which in order]
    again = {which: pickle.loads(pickle.dumps(other)).clip(*which) for which in sorted(set(order))}
    assert all(same(sample, again[which]) for sample, which in zip(first, order, strict=True))


def test_passes_differ_and_seeds_differ() -> None:
    clips = Augmented(Rectangles(), AugmentConfig(mosaic=0.0))
    assert len(clips) == 5
    assert clips[1].clip_id == "clip/1"
    again = clips.clip(1, 1)
    assert again.clip_id == "clip/1@1"
    assert not np.array_equal(clips[1].frames_rgb, again.frames_rgb)
    other = Augmented(Rectangles(), AugmentConfig(mosaic=0.0), seed=1)
    assert not np.array_equal(clips[1].frames_rgb, other[1].frames_rgb)


def test_no_change_is_no_change() -> None:
    plain, clips = Rectangles(), Augmented(Rectangles(), AugmentConfig.none())
    assert same(clips[2], plain[2])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4), st.integers(0, 2000), st.booleans())
def test_boxes_lie_in_the_frame_and_on_what_is_there(index: int, epoch: int, mixed: bool) -> None:
    config = AugmentConfig(brightness=0, contrast=0, saturation=0, hue=0, mosaic=float(mixed))
    sample = Augmented(Rectangles(), config, size_hw=(40, 40)).clip(index, epoch)
    assert sample.frames_rgb.shape == (FRAMES, 40, 40, 3)
    assert len(sample.boxes) == len(sample.labels) >= 1
    assert ((sample.boxes >= 0) & (sample.boxes <= 1)).all()
    assert (sample.boxes[:, 2:] > sample.boxes[:, :2]).all()
    for box in sample.boxes:
        x0, y0, x1, y1 = np.round(box * 40).astype(int)
        middle = sample.frames_rgb[0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1]
        assert middle.size == 0 or middle.mean() > 230


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"flip": 1.5}, "flip is 1.5", id="probability"),
        pytest.param({"scale_low": 2.0}, "scale_low is 2.0", id="order"),
        pytest.param({"scale_high": float("inf")}, "scale_high is inf", id="infinite"),
        pytest.param({"aspect": 0.5}, "aspect is 0.5", id="aspect"),
        pytest.param({"hue": 0.9}, "hue is 0.9", id="hue"),
        pytest.param({"keep": -0.1}, "keep is -0.1", id="keep"),
    ],
)
def test_impossible_changes_are_refused(changes: dict[str, float], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        AugmentConfig(**changes)


def test_pairs_to_flip_are_classes() -> None:
    with pytest.raises(ConfigError, match="jump"):
        Augmented(Rectangles(), AugmentConfig(flip_pairs=(("wave", "jump"),)))
    with pytest.raises(ConfigError, match="two pairs"):
        Augmented(Rectangles(), AugmentConfig(flip_pairs=(("wave", "turn left"),)))
    named = AugmentConfig(flip_pairs=(("turn right", "turn left"),))
    assert len(Augmented(Rectangles(), named)) == 5
    with pytest.raises(IndexError, match="clip -1"):
        Augmented(Rectangles(), named)[-1]


def doubtful(code: int, *boxes_px: tuple[int, int, int, int]) -> ClipSample:
    """Return a clip of people of whom the first class is not known."""
    scale = np.array([COLUMNS, ROWS] * 2)
    code_of = np.full((len(boxes_px), 3), KNOWN)
    code_of[:, 0] = code
    return replace(
        drawn(boxes_px[0]), boxes=(np.array(boxes_px) / scale).astype(np.float32),
        labels=np.zeros((len(boxes_px), 3), np.float32), **masks(code_of),
    )  # fmt: skip


def test_what_is_not_known_turns_with_its_class() -> None:
    turned = flip(doubtful(UNKNOWN, (4, 4, 20, 40)), ((0, 1),))
    assert codes(turned).tolist() == [[KNOWN, UNKNOWN, KNOWN]]


def test_who_leaves_may_have_been_the_one() -> None:
    both = doubtful(SOMEBODY, (4, 4, 20, 40), (40, 4, 60, 40))
    whole = crop(both, Window(x=0, y=0, width=64, height=48), keep=0.4)
    assert codes(whole)[:, 0].tolist() == [SOMEBODY] * 2
    left = crop(both, Window(x=0, y=0, width=32, height=48), keep=0.4)
    assert codes(left).tolist() == [[UNKNOWN, KNOWN, KNOWN]]
    two_bags = replace(both, **masks(codes(both), bag=[0, 1]))
    apart = crop(two_bags, Window(x=0, y=0, width=32, height=48), keep=0.4)
    assert codes(apart)[:, 0].tolist() == [SOMEBODY]


def test_bags_stay_with_the_people_of_their_clip() -> None:
    everything = Window(x=0, y=0, width=COLUMNS, height=ROWS)
    two = doubtful(SOMEBODY, (4, 4, 20, 40), (40, 4, 60, 40))
    known, one = drawn((8, 8, 30, 30)), doubtful(UNKNOWN, (8, 8, 30, 30))
    set_of_four = mosaic([two, known, two, one], [everything] * 4, (30, 20), keep=0.4)
    assert set_of_four.bag_id[:, 0].tolist() == [0, 0, -1, 1, 1, -1]
    assert codes(set_of_four)[:, 0].tolist() == [1, 1, 0, 1, 1, 2]
    again = mosaic([set_of_four, known, set_of_four, known], [everything] * 4, (30, 20), keep=0.4)
    ids = again.bag_id[:, 0].tolist()
    assert ids == [0, 0, -1, 1, 1, -1, -1, 2, 2, -1, 3, 3, -1, -1]
    plain = mosaic([known] * 4, [everything] * 4, (30, 20), keep=0.4)
    assert plain.label_mask.all()
    assert (plain.bag_id == -1).all()


def test_a_window_keeps_all_of_whom_somebody_does_it() -> None:
    class Two(ClipDataset):
        class_names = CLASSES

        def __len__(self) -> int:
            return 40

        def __getitem__(self, index: int) -> ClipSample:
            return doubtful(self.code, (4, 14, 20, 34), (34, 14, 50, 34))

        def __init__(self, code: int) -> None:
            self.code = code

    config = AugmentConfig(flip=0, mosaic=0, scale_low=1.1, scale_high=1.3)
    counts = [
        sum(len(Augmented(Two(code), config)[i].boxes) for i in range(40))
        for code in (SOMEBODY, UNKNOWN)
    ]
    assert counts[0] > counts[1]
