"""YOWOv2's own training: who learns whom, losses that fall, a run resumed, boxes, its row."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks import _method_peer as peer  # noqa: E402
from benchmarks import _method_tables as tables  # noqa: E402
from benchmarks import _yowov2_training as training  # noqa: E402
from benchmarks._method_clips import EndingClips, changed  # noqa: E402
from benchmarks._method_data import NumberedKeyframes  # noqa: E402
from benchmarks._method_options import TableOptions  # noqa: E402
from benchmarks._method_report import points_of, table_of  # noqa: E402
from benchmarks._method_rows import ROWS  # noqa: E402
from benchmarks._pipelines import Boxes  # noqa: E402
from benchmarks._yowov2_training import (  # noqa: E402
    Cells,
    PeerBudget,
    PlanePool,
    assign,
    clip_of,
    fresh_yowov2,
    losses,
    train_yowov2,
)
from edge.data.annotations import ClipPlace, Tube  # noqa: E402
from edge.data.dataset import ClipDataset  # noqa: E402
from edge.data.media import open_media  # noqa: E402
from edge.data.samples import ClipSample  # noqa: E402
from edge.training.targets import collate  # noqa: E402
from runtime.errors import ConfigError, TrainingError  # noqa: E402

torch.set_num_threads(1)
SIZE = 64
CELLS = Cells(SIZE)
NAMES = ("red", "green")


class Squares(ClipDataset):
    """Two clips of one coloured square each, before grey; its colour is the class."""

    class_names = NAMES

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> ClipSample:
        frames = np.full((16, SIZE, SIZE, 3), 100, np.uint8)
        x = 8 + 24 * index
        frames[:, 16:56, x : x + 24] = np.eye(3, dtype=np.uint8)[index] * 255
        labels = np.zeros((1, 2), np.float32)
        labels[0, index] = 1
        return ClipSample(
            frames_rgb=frames, boxes=np.array([[x, 16, x + 24, 56]], np.float32) / SIZE,
            labels=labels, inactive_persons=np.zeros((0, 4), np.float32),
            clip_id=f"{NAMES[index]}/film/{index:06d}", size_wh=(SIZE, SIZE),
        )  # fmt: skip

    def without_frames(self, index: int) -> ClipSample:
        sample = self[index]
        return replace(sample, frames_rgb=np.zeros_like(sample.frames_rgb))

    def where(self, index: int) -> ClipPlace:
        return ClipPlace(video=f"{NAMES[index]}/film", frame=3, timestamp=0.1)

    def tubes(self) -> list[Tube]:
        return [Tube(video=f"{NAMES[i]}/film", label=i, frames=np.array([3]),
                     boxes=self[i].boxes * SIZE) for i in range(2)]  # fmt: skip


def _boxes(*rows: tuple[int, tuple[float, float, float, float]]):
    """Return boxes of all cells: far away but of the given cells."""
    boxes = torch.tensor([[-30.0, -30.0, -20.0, -20.0]]).repeat(len(CELLS.centre), 1)
    for cell, box in rows:
        boxes[cell] = torch.tensor(box)
    return boxes


def _flat(classes: int = 2):
    return torch.zeros(len(CELLS.centre)), torch.zeros(len(CELLS.centre), classes)


def test_as_many_cells_learn_as_its_best_boxes_make_whole_ones():
    true = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    # Cells 18, 19 and 27 of stride 8 lie around (24, 24): overlaps 1, 1 and 0.5, together 2.
    half = (8.0, 8.0, 40.0, 24.0)
    boxes = _boxes((18, (8, 8, 40, 40)), (19, (8, 8, 40, 40)), (27, half))
    found = assign(*_flat(), boxes, true, torch.tensor([[1.0, 0.0]]), CELLS)
    assert found.cell.tolist() == [18, 19]
    assert found.person.tolist() == [0, 0]
    assert found.iou.tolist() == pytest.approx([1.0, 1.0])


def test_at_least_one_cell_learns_and_it_is_near_the_centre_and_inside():
    # Of equal boxes those far from the centre cost more: the person is 64 px wide, the radius of
    # stride 8 reaches 20 px.
    true = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    found = assign(*_flat(), _boxes(), true, torch.tensor([[1.0, 0.0]]), CELLS)
    (cell,) = found.cell.tolist()
    away = (CELLS.centre[cell] - 32).abs().max()
    assert away < training.RADIUS * float(CELLS.stride[cell])


def test_the_better_class_decides_between_equal_boxes():
    conf, classes = _flat()
    classes[19] = torch.tensor([6.0, -6.0])
    box = (8.0, 8.0, 40.0, 24.0)  # half of the person: one cell learns
    boxes = _boxes((18, box), (19, box))
    true = torch.tensor([[8.0, 8.0, 40.0, 40.0]])
    found = assign(conf, classes, boxes, true, torch.tensor([[1.0, 0.0]]), CELLS)
    assert found.cell.tolist() == [19]


def test_a_cell_learns_one_person_the_one_that_costs_less():
    true = torch.tensor([[8.0, 8.0, 40.0, 40.0], [8.0, 8.0, 40.0, 44.0]])
    boxes = _boxes((18, (8, 8, 40, 40)))
    found = assign(*_flat(), boxes, true, torch.eye(2), CELLS)
    assert dict(zip(found.cell.tolist(), found.person.tolist(), strict=True))[18] == 0
    assert len(set(found.cell.tolist())) == len(found.cell)


def test_losses_of_what_is_right_are_small_and_of_nobody_have_no_box():
    sample = Squares()[0]
    batch = collate([sample, sample.with_people(np.zeros(1, bool))])
    conf = torch.full((2, len(CELLS.centre)), -12.0)
    classes = torch.full((2, len(CELLS.centre), 2), -12.0)
    offsets = torch.full((2, len(CELLS.centre), 4), -3.0)
    cell = 34  # its centre (20, 36) is that of the person, 24 x 40 px
    conf[0, cell], classes[0, cell, 0] = 12.0, 12.0
    offsets[0, cell] = torch.tensor([0.0, 0.0, np.log(3.0), np.log(5.0)])
    found = losses((conf, classes, offsets), batch, CELLS)
    assert sum(found.values()) < 0.1
    conf[0, cell] = -12.0
    assert losses((conf, classes, offsets), batch, CELLS)["conf"] > 5
    nobody = batch.targets[1:]
    alone = losses((conf[1:], classes[1:], offsets[1:]), batch._replace(targets=nobody), CELLS)
    assert float(alone["box"]) == float(alone["classes"]) == 0.0


def test_pooling_by_planes_is_torchs_own_with_its_gradient():
    torch.manual_seed(0)
    x = torch.rand(2, 3, 8, 14, 14).requires_grad_()
    expected, found = torch.nn.MaxPool3d(3, stride=2, padding=1)(x), PlanePool()(x)
    assert torch.equal(found, expected)
    weights = torch.rand_like(found)
    gradients = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (expected, found)]
    torch.testing.assert_close(*gradients)


def test_a_fresh_network_says_nobody_and_passes_the_map_unattended():
    model = fresh_yowov2(2, 0).eval()
    with torch.no_grad():
        conf, _, _ = model(clip_of(collate([Squares()[0]]).frames))
    assert conf.sigmoid().mean() == pytest.approx(training.RARE, rel=0.5)
    gains = [m.gain for m in model.modules() if isinstance(m, training.ChannelAttention)]
    assert len(gains) == 6
    assert not any(gain.detach().any() for gain in gains)


def take_statistics(model: torch.nn.Module, batch: torch.Tensor) -> None:
    """Give the norms the statistics of a batch, as they used them while they learned from it.

    The deepest maps of two clips have eight values a channel: their running variances, without
    bias, are a seventh too large, layer upon layer.
    """

    def take(norm, inputs):
        (x,) = inputs
        dims = [0, *range(2, x.ndim)]
        norm.running_mean.copy_(x.mean(dims))
        norm.running_var.copy_(x.var(dims, unbiased=False))

    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    hooks = [norm.register_forward_pre_hook(take) for norm in norms]
    with torch.no_grad():
        model(batch)  # in eval mode: each norm uses what it has just been given
    for hook in hooks:
        hook.remove()


def test_it_learns_two_clips_by_heart_and_is_judged_so(tmp_path):
    data = Squares()
    budget = PeerBudget(steps=80, batch=2, lr=5e-3)
    model, course, cpu_s = train_yowov2(
        fresh_yowov2(2, 0), data, budget, seed=0, kept=tmp_path / "s.pt"
    )
    assert np.mean(course[-5:]) < 0.4 * np.mean(course[:5])
    assert cpu_s > 0
    take_statistics(model, clip_of(collate([data[0], data[1]]).frames))

    def run(clip):
        with torch.no_grad():
            return [output.numpy() for output in model(torch.from_numpy(clip))]

    found = peer.judge_peer(run, NumberedKeyframes(data, [0, 1]))
    assert found["clips"] == 2
    assert found["frame_map"] == pytest.approx(1.0)
    assert found["video_map"]["0.5"] == pytest.approx(1.0)


class Small(Squares):
    """The same at a quarter of the area."""

    def __getitem__(self, index: int) -> ClipSample:
        sample = super().__getitem__(index)
        return replace(sample, frames_rgb=np.ascontiguousarray(sample.frames_rgb[:, ::2, ::2]))


def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "KEPT_EVERY", 2)
    budget = PeerBudget(steps=4, batch=2)

    def trained(name, progress=None):
        return train_yowov2(
            fresh_yowov2(2, 0), Small(), budget, seed=0, kept=tmp_path / name, progress=progress
        )  # fmt: skip

    def stop(_, done, count):
        assert count == 4
        if done == 3:
            raise KeyboardInterrupt

    model, course, _ = trained("whole.pt")
    with pytest.raises(KeyboardInterrupt):
        trained("parts.pt", stop)
    again, rest, _ = trained("parts.pt")
    assert rest == course
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_a_loss_that_is_no_number_ends_the_run(tmp_path):
    model = fresh_yowov2(2, 0)
    torch.nn.init.constant_(model.conf[0].bias, float("nan"))
    with pytest.raises(TrainingError, match="step 0 of row yowov2 is nan"):
        train_yowov2(model, Small(), PeerBudget(steps=1, batch=2), seed=0, kept=tmp_path / "s.pt")


class Film(Squares):
    """Six frames of 40 x 30 px, each of one grey; every frame is a keyframe."""

    def __init__(self, folder) -> None:
        cv2 = pytest.importorskip("cv2")
        for number in range(6):
            frame = np.full((30, 40, 3), 40 * number, np.uint8)
            cv2.imwrite(str(folder / f"{number:05d}.png"), frame)
        self.media = {"red/film": open_media(folder)}

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> ClipSample:
        return replace(super().__getitem__(0), clip_id=f"red/film/{index}")

    def where(self, index: int) -> ClipPlace:
        return ClipPlace(video="red/film", frame=index, timestamp=index / 30)


def test_a_clip_ends_at_its_keyframe_and_the_first_frame_repeats(tmp_path):
    clips = EndingClips(Film(tmp_path), 4, 32)
    greys = [clips[index].frames_rgb[:, 0, 0, 0].tolist() for index in (0, 2, 5)]
    assert greys == [[0, 0, 0, 0], [0, 0, 40, 80], [80, 120, 160, 200]]
    assert clips[5].frames_rgb.shape == (4, 32, 32, 3)


def test_training_clips_differ_by_pass_and_step_over_frames(tmp_path):
    clips = EndingClips(Film(tmp_path), 3, 32, augment=True, seed=1)
    passes = [clips.clip(5, epoch).frames_rgb for epoch in range(12)]
    assert np.array_equal(passes[3], clips.clip(5, 3).frames_rgb)
    assert not np.array_equal(passes[0], passes[1])
    # The brightness of the whole clip changes alike: one step is a fifth of it, two are two.
    middle = [one[:, 16, 16, 0].astype(float) for one in passes]
    steps = {round(5 * (one[2] - one[1]) / one[2]) for one in middle if one[2] < 250}
    assert steps == {1, 2}


@pytest.mark.parametrize("seed", range(6))
def test_boxes_move_with_the_picture(seed):
    sample = changed(Squares()[0], 128, np.random.default_rng(seed))
    frame = sample.frames_rgb[-1].astype(int)
    y, x = np.nonzero(frame.max(-1) - frame.min(-1) > 30)  # the square has a colour, the rest none
    found = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 128
    np.testing.assert_allclose(sample.boxes[0], found, atol=0.03)


def test_a_box_has_the_scores_of_its_classes():
    box, other = [0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.9, 0.9]
    found = peer.tokens_of_boxes(Boxes(
        xyxy=np.array([box, other, box], np.float32), score=np.array([0.3, 0.8, 0.6], np.float32),
        label=np.array([0, 1, 1]), candidates=3,
    ), 2)  # fmt: skip
    np.testing.assert_allclose(found.xyxy, [other, box])
    np.testing.assert_allclose(found.actions * found.actor[:, None], [[0, 0.8], [0.3, 0.6]])
    assert len(peer.tokens_of_boxes(None, 2)) == 0


def test_an_engine_is_measured_alone(tmp_path):
    from benchmarks._worker import EngineAlone, subject_of

    program = torch.export.export(torch.nn.Conv2d(3, 1, 1), (torch.zeros(1, 3, 4, 4),))
    torch.export.save(program, tmp_path / "network.pt2")
    job = {"kind": "engine", "engine": "torch-fp32", "path": str(tmp_path / "network.pt2"),
           "threads": 1, "shape": [1, 3, 4, 4], "clock": "processor"}  # fmt: skip
    subject = subject_of(job)
    assert isinstance(subject, EngineAlone)
    assert subject.run()[0] >= 0


def _run(row: str, value: float) -> dict:
    one = {"frame_map": value, "actor_ap": 0.5, "video_map": {"0.5": value / 2}, "clips": 9}
    return {"row": row, "seed": 0, "train_clips": 7, "judged": {"": one}}


WORK = {"params": 1_000_000, "macs": 10**9}


def test_the_row_costs_what_its_fastest_engine_takes(tmp_path):
    (tmp_path / "network.xml").write_bytes(b"12")
    (tmp_path / "network.bin").write_bytes(b"3456")
    (tmp_path / "network.onnx").write_bytes(b"1")
    programs = {"openvino-int8": tmp_path / "network.xml", "broken": tmp_path,
                "onnxruntime-fp32": tmp_path / "network.onnx"}  # fmt: skip
    cost = peer.cost_of_peer(
        {"openvino-int8": [3.0, 5.0], "onnxruntime-fp32": [6.0, 7.0], "broken": None}, programs
    )
    assert (cost["engine"], cost["bytes"]) == ("openvino-int8", 6)
    assert cost["rounds_ms"] == cost["live_ms"] == [3.0, 5.0]
    assert peer.cost_of_peer({"broken": None}, programs) == {}


def test_a_row_is_added_to_a_report_of_another_machine(tmp_path):
    base = {"command": "c", "date": "d", "host": {"processor": "other"}, "table": [],
            "rows": {"ours": [_run("ours", 0.3)]},
            "costs": {"ours": {**WORK, "rounds_ms": [2.0], "live_ms": [1.0]}}}  # fmt: skip
    (tmp_path / "base.json").write_text(json.dumps(base))
    options = TableOptions(
        table="2", jhmdb="nowhere", out=str(tmp_path), base=str(tmp_path / "base.json"),
        rows=("ours", "yowov2"), train=False, steps=200,
    )  # fmt: skip
    (tmp_path / "rows").mkdir()
    options.result_file(ROWS["yowov2"], 0).write_text(
        json.dumps({**_run("yowov2", 0.2), "engine": "openvino-bf16"})
    )
    kept = {"ours": {"rounds_ms": [4.0], "live_ms": [3.0]},
            "yowov2": {"rounds_ms": [5.0], "live_ms": [5.0], "bytes": 2 * 10**6,
                       "engine": "openvino-bf16"}}  # fmt: skip
    (tmp_path / "latency-ours-yowov2.json").write_text(json.dumps(kept))
    text = tables.run(options)
    found = json.loads((tmp_path / "methods-2.json").read_text())
    assert found["rows"]["ours"] == base["rows"]["ours"]
    assert found["costs"]["ours"] == base["costs"]["ours"]
    assert (found["host"], found["date"]) == (base["host"], "d")
    assert "processor" in found["costs"]["yowov2"]["host"]
    ours, added = found["table"][1:]
    assert ours[8:10] == ["2.0", "1.0"]
    assert added[:4] == ["YOWOv2-Nano, from random weights", "0.200", "-", "-"]
    assert added[7:] == ["2.00", "5.0 (first: 4.0)", "5.0 (first: 3.0)", "1"]
    assert float(added[5]) > 3
    assert "YOWOv2-Nano, from random weights" in text
    words = {"ours": "ours", "yowov2": "y"}
    points = points_of(words, found["rows"], found["costs"])
    assert [name for name, _, _ in points] == ["ours"]  # a picture is of one machine
    assert len(table_of("2", words, found["rows"], found["costs"])) == 3


def test_a_report_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--base needs --rows"):
        TableOptions(table="2", jhmdb="nowhere", base="x")
    options = TableOptions(
        table="2", jhmdb="nowhere", base=str(tmp_path / "none.json"), rows=("ours",), train=False,
        latency=False, out=str(tmp_path),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="no report of a table"):
        tables.run(options)


def test_its_budget_may_be_another():
    options = TableOptions(table="2", jhmdb="nowhere", steps=400, yowov2_steps=100)
    assert options.result_file(ROWS["yowov2"], 1).name == "yowov2-100x32-s1.json"
    assert options.result_file(ROWS["ours"], 1).name == "ours-400x32-s1.json"
