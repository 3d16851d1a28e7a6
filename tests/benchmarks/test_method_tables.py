"""Tables of methods: labels, keyframes, one loop for all rows, counts, rows that are kept."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import _method_tables as tables  # noqa: E402
from benchmarks._method_cost import deployable, program, work_of, work_of_onnx  # noqa: E402
from benchmarks._method_data import (  # noqa: E402
    KeptTest,
    OwnClasses,
    SparseKeyframes,
    labelled_people,
    true_boxes,
)
from benchmarks._method_judging import judge, judge_program  # noqa: E402
from benchmarks._method_options import TableOptions  # noqa: E402
from benchmarks._method_report import front_of, points_of, scatter, table_of  # noqa: E402
from benchmarks._method_rows import PAPER, ROWS, TABLES, Row, rows_of  # noqa: E402
from benchmarks._method_training import Budget, jittered, train_row  # noqa: E402
from edge.data.annotations import ClipPlace, Tube  # noqa: E402
from edge.data.dataset import ClipDataset  # noqa: E402
from edge.data.samples import ClipSample  # noqa: E402
from edge.labelling.boxes import Boxes  # noqa: E402
from edge.labelling.store import LabelledVideo, write_video  # noqa: E402
from edge.model.baselines import DetrConfig  # noqa: E402
from edge.training.features import FeatureAbout, FeatureClips, write_block  # noqa: E402
from runtime._native import Engine  # noqa: E402
from runtime.errors import ConfigError  # noqa: E402

torch.set_num_threads(1)
NAMES = ("jump", "run")
SHAPE = (64, 64)
# The stem of `pico` at 64x64: strides 8 and 16.
ABOUT = FeatureAbout(
    stem_digest="", cut=17, num_frames=8, height=64, width=64,
    shapes=((32, 8, 8), (96, 4, 4)), scales=((0.02,) * 32, (0.02,) * 96), clips=12,
    class_names=("anything",), spec="jhmdb", data="test",
)  # fmt: skip


class Videos(ClipDataset):
    """Two videos of one person each, 12 labelled frames a video."""

    class_names = NAMES

    def __len__(self) -> int:
        return 24

    def where(self, index: int) -> ClipPlace:
        video, frame = divmod(index, 12)
        return ClipPlace(video=f"{NAMES[video]}/film_{video}", frame=frame, timestamp=frame / 30)

    def without_frames(self, index: int) -> ClipSample:
        place = self.where(index)
        labels = np.zeros((1, 2), np.float32)
        labels[0, index // 12] = 1
        return ClipSample(
            frames_rgb=np.zeros((8, *SHAPE, 3), np.uint8),
            boxes=np.array([[0.2, 0.1, 0.6, 0.9]], np.float32), labels=labels,
            inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"{place.video}/{place.frame:06d}", size_wh=(320, 240),
        )  # fmt: skip

    def __getitem__(self, index: int) -> ClipSample:
        return self.without_frames(index)

    def tubes(self) -> list[Tube]:
        box = np.array([[64, 24, 192, 216]] * 12, np.float32)
        frames = np.arange(12, dtype=np.int64)
        return [Tube(video=f"{n}/film_{v}", label=v, frames=frames, boxes=box)
                for v, n in enumerate(NAMES)]  # fmt: skip


def _features(folder, samples: list[ClipSample]) -> FeatureClips:
    random = np.random.default_rng(0)
    about = replace(ABOUT, clips=len(samples))
    folder.mkdir()
    about.save(folder)
    packed = random.integers(-90, 90, (len(samples), about.bytes_per_clip)).astype(np.int8)
    joint = [one.with_labels(np.ones((len(one.boxes), 1), np.float32)) for one in samples]
    write_block(folder, 0, packed, joint)
    return FeatureClips(folder)


@pytest.fixture
def kept(tmp_path) -> KeptTest:
    clips = SparseKeyframes(Videos(), 2)
    samples = [clips[index] for index in range(len(clips))]
    features = _features(tmp_path / "test", samples[::-1])  # in whatever order they were made
    return KeptTest(features, Videos())


@pytest.fixture
def data(tmp_path) -> OwnClasses:
    clips = Videos()
    mosaic = replace(clips[3], clip_id="jump/film_0/000003+run/film_1/000002@2")
    changed = replace(clips[13], clip_id="run/film_1/000001@4")
    features = _features(tmp_path / "train", [clips[0], mosaic, changed, clips[14], clips[5]])
    return OwnClasses(features, NAMES)


def test_keyframes_are_spread_over_every_video():
    found = SparseKeyframes(Videos(), 5)
    assert [found.where(i).frame for i in range(len(found))] == [2, 7, 2, 7]
    assert len(SparseKeyframes(Videos(), 100)) == 2  # at least one of each


def test_the_folder_of_a_video_is_its_class_and_mosaics_are_left_out(data):
    assert [data[i].clip_id for i in range(len(data))] == [
        "jump/film_0/000000", "run/film_1/000001@4", "run/film_1/000002", "jump/film_0/000005",
    ]  # fmt: skip
    assert [data[i].labels.tolist() for i in range(len(data))] == [
        [[1, 0]], [[0, 1]], [[0, 1]], [[1, 0]],
    ]  # fmt: skip
    assert all(data[i].label_mask.all() for i in range(len(data)))


def test_kept_test_clips_stand_where_they_are_in_their_videos(kept):
    frames = [1, 3, 5, 7, 9, 11]
    assert [kept.where(index).frame for index in range(len(kept))] == frames * 2
    assert [kept.place(index).frame for index in range(len(kept))] == [*range(6)] * 2
    assert [kept[index].clip_id for index in (0, 11)] == ["jump/film_0/000001", "run/film_1/000011"]
    assert kept[11].labels.tolist() == [[0, 1]]  # its own truth, not that of the features
    assert [tube.frames.tolist() for tube in kept.tubes()] == [[*range(6)]] * 2


def test_features_of_other_clips_are_no_test(tmp_path):
    strange = replace(Videos()[0], clip_id="jump/another/000001")
    with pytest.raises(ConfigError, match="jump/another/000001, which is no test clip"):
        KeptTest(_features(tmp_path / "f", [strange]), Videos())


def test_a_class_that_is_none_is_refused(tmp_path):
    strange = replace(Videos()[0], clip_id="swim/film/000001")
    with pytest.raises(ConfigError, match="swim is none of JHMDB's classes"):
        OwnClasses(_features(tmp_path / "f", [strange]), NAMES)


SMALL = {"channels": (16,), "head_channels": 8, "frame_channels": 8, "depths": (1,)}
KINDS = [
    pytest.param(Row(name="a", words="", overrides={**PAPER, **SMALL}), id="paper"),
    pytest.param(Row(name="b", words="", one_to_many=True, overrides=SMALL), id="one-to-many"),
    pytest.param(Row(name="c", words="", kind="detr", detr=DetrConfig(queries=4, heads=2),
                     overrides=SMALL), id="detr"),
    pytest.param(Row(name="d", words="", kind="two-stage", overrides=SMALL), id="two-stage"),
]  # fmt: skip


@pytest.mark.parametrize("row", KINDS)
def test_every_method_trains_and_is_judged_by_one_loop(row, data, kept):
    row = replace(row, picture_hw=SHAPE)
    budget = Budget(steps=3, batch=2, bf16=False)

    def trained():
        model = row.build(2, 0)
        first = {name: value.clone() for name, value in model.state_dict().items()}
        after, losses = train_row(row, model, data, data.dataset.about, budget, seed=0)
        return first, after, losses

    first, model, losses = trained()
    state = model.state_dict()
    moved = {name for name in first if not torch.equal(first[name], state[name])}
    assert not any(name.startswith("backbone.stem.") for name in moved)
    assert any(name.startswith("backbone.blocks.") for name in moved)
    assert len(losses) == 3
    assert trained()[2] == losses  # a function of the seed
    boxes = true_boxes(kept) if row.kind == "two-stage" else None
    found = judge(model, kept, kept.features.about, boxes=boxes)
    assert 0 <= found["frame_map"] <= 1
    assert 0 <= found["video_map"]["0.5"] <= 1
    if row.kind == "two-stage":
        assert found["actor_ap"] == pytest.approx(1.0)  # nobody but the true boxes


@pytest.mark.parametrize("row", KINDS[2:3])
def test_a_program_is_judged_by_the_frames_of_the_same_clips(row, kept, tmp_path):
    row = replace(row, picture_hw=SHAPE)
    torch.manual_seed(0)
    model = row.build(2, 0).eval()
    clips = [np.random.default_rng(i).standard_normal((1, 8, 3, *SHAPE)) for i in range(2)]
    path = program(model, [clip.astype(np.float32) for clip in clips], tmp_path / "p" / "a.pte")
    found = judge_program(path, kept, row.config(2).clip)
    assert found["clips"] == 12
    assert 0 <= found["frame_map"] <= 1
    assert Engine(str(path), 1, 2).shares_steps  # a live result computes its new frames alone


def test_two_stage_with_true_boxes_learns_what_the_features_say(tmp_path, kept):
    """Features that are plus in one class and minus in the other: all is told apart."""
    row = Row(name="d", words="", kind="two-stage", overrides=SMALL, picture_hw=SHAPE)
    for features in (kept.features,):
        block = np.load(features.folder / "00000.npy")
        for index in range(len(features)):
            sign = 40 if features[index].clip_id.startswith("jump") else -40
            block[index] = sign
        np.save(features.folder / "00000.npy", block)
    again = KeptTest(FeatureClips(kept.features.folder), Videos())
    train = OwnClasses(FeatureClips(kept.features.folder), NAMES)
    model, losses = train_row(
        row, row.build(2, 0), train, again.features.about,
        Budget(steps=40, batch=6, bf16=False), seed=0,
    )  # fmt: skip
    found = judge(model, again, again.features.about, boxes=true_boxes(again))
    assert losses[-1] < losses[0]
    assert found["frame_map"] == pytest.approx(1.0)
    assert found["video_map"]["0.5"] == pytest.approx(1.0)


def test_boxes_of_the_detector_are_those_nearest_to_the_keyframe(tmp_path):
    clips = SparseKeyframes(Videos(), 5)
    for video, name in enumerate(NAMES):
        samples = [
            Boxes(
                np.array([[number, 0, 32, 24]] * (video + 1), np.float32), np.full(video + 1, 0.5)
            )
            for number in range(6)
        ]
        write_video(tmp_path, LabelledVideo(
            video=f"{name}/film_{video}", file="", bytes=0, size_wh=(320, 240), every_s=2 / 30,
            samples=samples, tracks=(),
        ))  # fmt: skip
    found = labelled_people(clips, tmp_path)
    assert (found.scores > 0).sum(1).tolist() == [1, 1, 2, 2]
    # Frames 2 and 7 at 30 a second lie at samples 1 and 3.5 of every second frame.
    np.testing.assert_allclose(found.xyxy[:2, 0, 0] * 320, [1, 4], atol=1e-4)
    np.testing.assert_allclose(found.xyxy[0, 0, 2:], [0.1, 0.1], atol=1e-6)
    with pytest.raises(ConfigError, match="no labels of video"):
        labelled_people(clips, tmp_path / "elsewhere")


def test_jitter_stays_near_the_true_box():
    torch.manual_seed(0)
    boxes = jittered(torch.tensor([[[0.5, 0.5, 0.4, 0.6]]]).expand(50, 1, 4))
    assert ((boxes[..., 2:] - boxes[..., :2]) > 0.3).all()
    assert (boxes - torch.tensor([0.3, 0.2, 0.7, 0.8])).abs().max() <= 0.1
    assert boxes.std(0).min() > 0.005


def test_rows_are_of_their_tables():
    assert {name for names in TABLES.values() for name in names} == set(ROWS)
    with pytest.raises(ConfigError, match="table 2 has no row 'centre'"):
        rows_of("2", ("centre",))


def test_features_and_stem_of_a_row_are_options(tmp_path):
    flags = {field.name for field in fields(TableOptions)}
    assert {name for row in ROWS.values() for name in (row.features, row.stem_weights)} <= flags
    options = TableOptions(
        table="3", jhmdb="nowhere", features_efficientnet="nowhere", rows=("efficientnet",),
        latency=False, out=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="--features-efficientnet needs --efficientnet-weights"):
        tables.run(options)


@pytest.mark.parametrize("name", [name for name in ROWS if name != "yowov2"])
def test_a_row_is_built_and_counted(name):
    row = ROWS[name]
    work = work_of(deployable(row.build(21, 0).eval(), 6))
    assert 1e9 < work.macs < 4e9
    assert 0 < work.trunk_macs < work.macs


def test_multiply_adds_of_an_onnx_network(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = [
        helper.make_tensor("w", kind, (8, 3, 3, 3), np.zeros(216)),
        helper.make_tensor("d", kind, (8, 1, 3, 3), np.zeros(72)),
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["y", "d"], ["z"], group=8, pads=[1, 1, 1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, (1, 3, 16, 16))],
        [helper.make_tensor_value_info("z", kind, (1, 8, 8, 8))], weights,
    )  # fmt: skip
    onnx.save(helper.make_model(graph), str(tmp_path / "n.onnx"))
    work = work_of_onnx(tmp_path / "n.onnx")
    assert work.params == 216 + 72
    assert work.macs == 8 * 64 * 27 + 8 * 64 * 9


def _run(row: str, seed: int, value: float, **judged) -> dict:
    one = {"frame_map": value, "actor_ap": 0.5, "video_map": {"0.5": value / 2}, "clips": 9}
    kinds = {name: {**one, **more} for name, more in (judged or {"": {}}).items()}
    return {"row": row, "seed": seed, "train_clips": 7, "judged": kinds}


def test_what_is_done_is_kept_and_not_done_again(tmp_path):
    options = TableOptions(
        table="1", jhmdb="nowhere", features="nowhere", out=str(tmp_path), latency=False,
        rows=("halves", "centre"), seeds=2,
    )  # fmt: skip
    rows = tmp_path / "rows"
    rows.mkdir()
    for name in ("halves", "centre"):
        for seed in range(2):
            (rows / f"{name}-200x32-s{seed}.json").write_text(
                json.dumps(_run(name, seed, 0.1 + 0.2 * seed))
            )
    text = tables.run(options)  # reads neither features nor videos: there are none
    data = json.loads((tmp_path / "methods-1.json").read_text())
    assert [row[:2] for row in data["table"][1:]] == [
        [ROWS["centre"].words, "196"], [ROWS["halves"].words, "392"],
    ]  # fmt: skip
    assert data["table"][1][3] == "0.200±0.141"
    assert "200 steps of 32 clips for every row" in text


def test_what_is_not_trained_has_costs_and_no_accuracy(tmp_path):
    options = TableOptions(
        table="2", jhmdb="nowhere", features="nowhere", out=str(tmp_path), latency=False,
        train=False, rows=("ours", "two-stage"),
    )  # fmt: skip
    text = tables.run(options)
    data = json.loads((tmp_path / "methods-2.json").read_text())
    assert [row[1:3] for row in data["table"][1:]] == [["-", "-"]] * 3
    assert all(float(row[6]) > 1 for row in data["table"][1:])
    assert "No row is trained yet" in text


def test_a_detector_is_part_of_what_two_stages_cost():
    words = {"ours": "ours", "two-stage": "two-stage"}
    results = {
        "ours": [_run("ours", 0, 0.3)],
        "two-stage": [_run("two-stage", 0, 0.2, **{"true boxes": {"frame_map": 0.6},
                                                   "detector": {}})],
    }  # fmt: skip
    work = {"params": 1_000_000, "macs": 10**9}
    costs = {
        "ours": {**work, "rounds_ms": [2.0, 2.2], "live_ms": [1.0, 1.2], "bytes": 1_500_000},
        "two-stage": {**work, "rounds_ms": [1.9, 2.1], "live_ms": [1, 1], "bytes": 1_500_000},
        "detector": {"params": 3_000_000, "macs": 2 * 10**9},
        "onnxruntime-fp32": {"rounds_ms": [9.0, 9.0]},
        "onnxruntime-int8": {"rounds_ms": [5.0, 5.2]},
    }
    lines = {row[0]: row[1:] for row in table_of("2", words, results, costs)}
    assert lines["ours"][4:9] == ["1.00", "1.00", "1.50", "2.1", "1.1"]
    two = lines["two-stage, MoveNet MultiPose's boxes"]
    assert two[4:9] == ["4.00", "3.00", "1.50", "7.1", "6.1"]
    assert lines["two-stage, the true boxes (upper bound)"][0] == "0.600"
    points = points_of(words, results, costs)
    assert [(name, ms) for name, ms, _ in points] == [
        ("ours", 2.1), ("two-stage, MoveNet MultiPose's boxes", pytest.approx(7.1)),
    ]  # fmt: skip


def test_rows_are_held_against_the_first_by_seed():
    results = {
        "ours": [{**_run("ours", seed, 0.4 + seed / 100), "int8": {"frame_map": 0.39}}
                 for seed in range(3)],
        "detr": [_run("detr", seed, 0.3 + seed / 50) for seed in range(3)],
    }  # fmt: skip
    work = {"params": 1, "macs": 1}
    words = {"ours": "ours", "detr": "detr"}
    ours, detr = table_of("2", words, results, {"ours": work, "detr": work})[1:]
    assert ours[1:4] == ["0.410±0.010", "-", "0.390"]
    # Differences 0.10, 0.09, 0.08: deviation 0.01, and Student's t of two degrees is 4.303.
    assert detr[1:4] == ["0.320±0.020", "+0.090±0.025", "-"]


def test_the_front_has_what_nothing_beats(tmp_path):
    points = [("a", 2.0, 0.3), ("b", 3.0, 0.2), ("c", 4.0, 0.5), ("d", 1.0, 0.1), ("e", 2.0, 0.2)]
    assert [name for name, _, _ in front_of(points)] == ["d", "a", "c"]
    pytest.importorskip("matplotlib")
    scatter(points, tmp_path / "p.png", title="t")
    assert (tmp_path / "p.png").stat().st_size > 1000
