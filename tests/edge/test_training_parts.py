"""What the loop is made of: order of clips, schedule, average, norms, pixels, state."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Container
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from edge.data.augment import AugmentConfig, Augmented
from edge.data.cache import MemoryCache
from edge.data.registry import open_dataset
from edge.data.samples import ClipSample
from edge.model.checkpoint import save_checkpoint
from edge.model.variants import build_model
from edge.training.config import TrainOptions
from edge.training.ema import AveragedModel
from edge.training.initial import load_weights
from edge.training.loader import Share, StepOrder, batches_by_step
from edge.training.logs import RunLog, read_log
from edge.training.norms import SharedBatchNorm2d, share_batch_norms
from edge.training.schedule import Schedule, optimizer_of
from edge.training.session import Session
from edge.training.setup import build_parts
from edge.training.state import Progress, load_state, save_state
from edge.training.targets import Normalize, collate, pack
from edge.training.validate import validate
from runtime.errors import ArtifactError, ArtifactMismatchError, CaptureError, ConfigError
from runtime.preprocess import normalize
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares

torch.set_num_threads(1)

SHAPE = ClipSpec(num_frames=4, height=32, width=48, sampling_rate=4, fps=30.0)
TINY = {
    "num_frames": 4,
    "height": 32,
    "width": 48,
    "stem_channels": 4,
    "channels": (8, 16),
    "depths": (1, 1),
    "head_channels": 8,
    "strides": (2,),
    "kv_strides": (4, 2),
}


# --- order of clips -----------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 40), batch=st.integers(1, 16), seed=st.integers(0, 99))
def test_each_pass_takes_every_clip_once(length: int, batch: int, seed: int) -> None:
    order = StepOrder(length, batch, seed)
    steps = -(-3 * length // batch)
    taken = [index for step in range(steps) for index in order(step)]
    for number in range(3):
        mine = sorted(taken[number * length : (number + 1) * length])
        assert mine == list(range(number * length, (number + 1) * length))


def test_the_order_of_a_step_does_not_depend_on_what_came_before() -> None:
    straight = StepOrder(10, 4, seed=3)
    before = [straight(step) for step in range(9)]
    assert [StepOrder(10, 4, seed=3)(step) for step in range(9)] == before
    assert [StepOrder(10, 4, seed=4)(step) for step in range(9)] != before


@pytest.mark.parametrize(
    ("world_size", "accumulate"),
    [pytest.param(2, 1, id="two"), pytest.param(1, 3, id="parts"), pytest.param(2, 3, id="both")],
)
def test_processes_and_parts_share_a_batch_without_overlap(
    world_size: int, accumulate: int
) -> None:
    batch = list(range(12))
    shares = [
        Share(batch=12, accumulate=accumulate, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    taken = [batch[part] for share in shares for part in share.slices()]
    assert sorted(index for part in taken for index in part) == batch
    # The first part of all processes is what one process would take first.
    first = [index for share in shares for index in batch[share.slices()[0]]]
    assert first == batch[: 12 // accumulate]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 6"):
        Share(batch=8, accumulate=3, world_size=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_change_nothing(workers: int) -> None:
    steps = batches_by_step(
        MovingSquares(SHAPE), Share(batch=4, accumulate=2), start=2, stop=4, seed=0,
        workers=workers, pin=False,
    )  # fmt: skip
    names = [[t["clip_id"] for part in parts for t in part.targets] for parts in steps]
    order = StepOrder(64, 4, 0)
    assert names == [[f"squares-0-{i}" for i in order(step)] for step in (2, 3)]


def test_clips_change_from_pass_to_pass_only_where_asked() -> None:
    plain = MovingSquares(SHAPE, length=4)
    changed = Augmented(plain, AugmentConfig(mosaic=0.0), seed=3)
    seen = {}
    for name, dataset in (("plain", plain), ("changed", changed)):
        steps = batches_by_step(
            dataset, Share(batch=4), start=0, stop=2, seed=0, workers=0, pin=False
        )
        passes = []
        for (part,) in steps:
            order = sorted(range(4), key=lambda i, p=part: p.targets[i]["clip_id"])
            passes.append(part.frames[order])
        seen[name] = bool((passes[0] == passes[1]).all())
    assert seen == {"plain": True, "changed": False}


# --- pixels -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        pytest.param((0.45, 0.45, 0.45), (0.225, 0.225, 0.225), id="alike"),
        pytest.param((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), id="per-channel"),
    ],
)
def test_pixels_are_normalised_to_the_bit_as_on_a_device(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    config = build_model("pico-scratch", num_classes=2, mean=mean, std=std, **TINY).config
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    mine = Normalize(config, torch.device("cpu"))(torch.from_numpy(frames)[None])
    preprocess = ClipSpec(
        num_frames=1, sampling_rate=1, fps=30.0, height=32, width=48, mean=mean, std=std
    )
    theirs = torch.from_numpy(normalize(frames, preprocess)).transpose(1, 2)
    assert mine.shape == (1, 3, 4, 32, 48)
    assert torch.equal(mine, theirs)


def test_samples_become_targets() -> None:
    samples = [MovingSquares(SHAPE)[index] for index in range(6)]
    batch = collate(samples)
    assert batch.frames.shape == (6, 4, 32, 48, 3)
    assert batch.frames.dtype == torch.uint8
    for sample, target in zip(samples, batch.targets, strict=True):
        x1, y1, x2, y2 = sample.boxes.T
        expected = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
        np.testing.assert_allclose(target["boxes"].numpy(), expected, atol=1e-6)
        assert target["clip_id"] == sample.clip_id


def test_ignored_people_become_padded_boxes_and_none_where_there_are_none() -> None:
    plain = [MovingSquares(SHAPE)[index] for index in range(3)]
    assert "ignored" not in collate(plain).targets[0]
    assert pack(collate(plain).targets, 2, torch.device("cpu")).ignored is None
    seen = np.array([[0.2, 0.2, 0.4, 0.8], [0.5, 0, 1, 1]], np.float32)
    batch = collate(
        [plain[0], replace(plain[1], ignored=seen), replace(plain[2], ignored=seen[:1])]
    )
    ignored = pack(batch.targets, 2, torch.device("cpu")).ignored
    assert ignored is not None
    want = [[[0] * 4] * 2, [[0.3, 0.5, 0.2, 0.6], [0.75, 0.5, 0.5, 1]],
            [[0.3, 0.5, 0.2, 0.6], [0] * 4]]  # fmt: skip
    np.testing.assert_allclose(ignored.numpy(), want, atol=1e-6)


def test_clips_of_a_validation_are_made_once_as_far_as_memory_goes() -> None:
    made: list[int] = []

    class Counting(MovingSquares):
        def __getitem__(self, index: int) -> ClipSample:
            made.append(index)
            return super().__getitem__(index)

    size = MovingSquares(SHAPE)[0].frames_rgb.nbytes
    kept = MemoryCache(Counting(SHAPE), limit_bytes=2 * size)
    for _ in range(2):
        for index in range(3):
            assert kept[index].clip_id == f"squares-0-{index}"
    assert made == [0, 1, 2, 2]


class Torn(MovingSquares):
    """Clips of which some cannot be decoded."""

    def __init__(self, lost: Container[int]) -> None:
        super().__init__(SHAPE, length=8)
        self.lost, self.read = lost, []

    def __getitem__(self, index: int) -> ClipSample:
        self.read.append(index)
        if index in self.lost:
            raise CaptureError(f"clip {index} is damaged")
        return super().__getitem__(index)


def test_a_validation_leaves_out_what_cannot_be_decoded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY).eval()
    run = partial(validate, model, model.config, limit=0, batch=3, device=torch.device("cpu"))
    torn = Torn([2, 7])
    kept = MemoryCache(torn)
    for _ in range(2):
        result = run(kept)
    assert (result["clips"], result["undecodable_clips"]) == (6, 2)
    said = "2 of 8 clips of the validation cannot be decoded and are left out; the first: clip 2 is"
    assert caplog.text.count(said) == 2
    assert torn.read == list(range(8)), "what is damaged is not tried again"
    nothing = run(Torn(range(8)))
    assert (nothing["clips"], nothing["frame_map"], nothing["undecodable_clips"]) == (0, None, 8)


# --- learning rate, decay, average --------------------------------------------------------------


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    schedule = Schedule(lr0=1.0, lr_final=0.1, warmup=4, steps=24)
    rates = [schedule(step) for step in range(30)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[14] == pytest.approx(0.55)
    assert all(a >= b for a, b in pairwise(rates[3:]))
    assert rates[24:] == [pytest.approx(0.1)] * 6


def test_the_rate_may_stay_before_it_falls() -> None:
    schedule = Schedule(lr0=1.0, lr_final=0.0, warmup=4, steps=24, hold=0.5)
    rates = [schedule(step) for step in range(25)]
    assert rates[4:15] == [1.0] * 11
    assert rates[19] == pytest.approx(0.5)
    assert rates[24] == pytest.approx(0.0)


def test_only_weights_of_convolutions_and_linears_decay() -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY)
    groups = optimizer_of(model, lr=1.0, weight_decay=0.1).param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    everything = {id(p) for g in groups for p in g["params"]}
    assert everything == {id(p) for p in model.parameters()}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert "heads.box.layers.0.weight" in names
    assert not any(".norm." in name or "bias" in name or "slice_" in name for name in names)


def test_the_average_follows_with_its_decay() -> None:
    model = nn.BatchNorm2d(2)
    average = AveragedModel(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.running_mean.fill_(5.0)
    model.num_batches_tracked.fill_(7)
    average.update(model, step=1000)
    torch.testing.assert_close(average.model.weight, torch.full((2,), 1.1))
    torch.testing.assert_close(average.model.running_mean, torch.full((2,), 0.5))
    assert int(average.model.num_batches_tracked) == 7
    assert not average.model.training
    average.update(model, step=0)  # an early step weighs nine tenths
    torch.testing.assert_close(average.model.weight, torch.full((2,), 1.91))


def test_shared_norms_are_ordinary_ones_in_one_process() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4))).train()
    shared = copy.deepcopy(model)
    share_batch_norms(shared)
    assert isinstance(shared[1][0], SharedBatchNorm2d)
    assert shared.state_dict().keys() == model.state_dict().keys()
    x = torch.randn(5, 3, 6, 6)
    torch.testing.assert_close(shared(x), model(x))
    torch.testing.assert_close(shared[1][0].running_var, model[1][0].running_var)


# --- state, log, session ------------------------------------------------------------------------


def stepped(seed: int) -> tuple[nn.Module, AveragedModel[nn.Module], torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = optimizer_of(model, lr=0.1, weight_decay=0.1)
    average = AveragedModel(model, 0.9)
    for step in range(3):
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(model, step)
    return model, average, optimizer


def test_a_loaded_state_goes_on_as_the_saved_one(tmp_path: Path) -> None:
    model, average, optimizer = stepped(0)
    progress = Progress(step=3, best=0.5, best_step=2, window={"loss": 1.5, "steps": 1.0})
    save_state(
        tmp_path / "state.pt", learner=model, average=average, optimizer=optimizer,
        progress=progress,
    )  # fmt: skip
    other, other_average, other_optimizer = stepped(1)
    loaded = load_state(
        tmp_path / "state.pt", learner=other, average=other_average, optimizer=other_optimizer
    )
    assert loaded == progress
    x = torch.randn(4, 3)
    for each, its in ((model, optimizer), (other, other_optimizer)):
        each(x).square().sum().backward()
        its.step()
    for mine, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model, average, optimizer = stepped(0)
    path = tmp_path / "state.pt"
    save_state(path, learner=model, average=average, optimizer=optimizer, progress=Progress())
    other = nn.Linear(5, 2)
    with pytest.raises(ArtifactMismatchError, match="does not fit the model of this run"):
        load_state(
            path, learner=other, average=AveragedModel(other, 0.9),
            optimizer=optimizer_of(other, lr=0.1, weight_decay=0.0),
        )  # fmt: skip
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"state\.pt"):
        load_state(path, learner=model, average=average, optimizer=optimizer)
    torch.save({"format": "other"}, path)
    with pytest.raises(ArtifactMismatchError, match="no training state"):
        load_state(path, learner=model, average=average, optimizer=optimizer)


def test_the_log_forgets_what_came_after_the_saved_step(tmp_path: Path) -> None:
    log = RunLog(tmp_path, step=0, tensorboard=False)
    for step in range(1, 6):
        log.write("train", step, {"loss": step * 0.5})
    log.close()
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"kind": "train", "st')  # cut short by a kill
    RunLog(tmp_path, step=3, tensorboard=False).close()
    assert [row["step"] for row in read_log(tmp_path)] == [1, 2, 3]
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == {"kind": "train", "step": 3, "loss": 1.5}


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    log = RunLog(tmp_path, step=0, tensorboard=True)
    log.write("val", 1, {"frame_map": 0.5, "ap": {"left": 0.25}, "note": "text"})
    log.close()
    content = b"".join(path.read_bytes() for path in (tmp_path / "tensorboard").iterdir())
    assert b"val/frame_map" in content
    assert b"val/ap/left" in content


def test_a_session_ends_at_its_limits() -> None:
    session = Session(limit_steps=2, max_minutes=None)
    wants = []
    for _ in range(2):
        session.stepped()
        wants.append(session.wants)
    assert wants == [None, "step limit"]
    assert Session(limit_steps=None, max_minutes=1e-9).wants == "time limit"


# --- flags --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "words", "size"),
    [
        ("pico-scratch", None, (128, 128)),
        ("pico-scratch", "64", (64, 64)),
        ("pico-scratch", "32,48", (32, 48)),
        ("pico", None, (192, 192)),
        ("pico", "32,96", (32, 96)),
    ],
)
def test_the_input_picture_may_be_another(
    model: str, words: str | None, size: tuple[int, int]
) -> None:
    stem = None if model.endswith("scratch") else "random"
    parts = build_parts(
        TrainOptions.of(model=model, data="synthetic-train:4", imgsz=words, stem_weights=stem)
    )
    config = parts.model.config
    assert (config.height, config.width) == size
    assert parts.data[0].frames_rgb.shape == (8, *size, 3)


def test_weights_go_to_another_picture(tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    small, data = build_model("pico-scratch", num_classes=18, seed=3), "synthetic-train:4"
    names = open_dataset(data, SHAPE).class_names
    save_checkpoint(path, small, class_names=names, trained=True)
    other = build_parts(
        TrainOptions.of(model="pico-scratch", data=data, init=str(path), imgsz="160")
    )
    assert other.model.config.height == 160
    mine, theirs = other.model.state_dict(), small.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("large", "--imgsz is 'large', expected a side in px or height,width"),
        ("1,2,3", "--imgsz is '1,2,3'"),
        ("0", "--imgsz is 0, expected sides above 0"),
        ("100", "height must be a multiple of 16, got 100"),
    ],
)
def test_an_impossible_picture_is_one_sentence(words: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        build_parts(TrainOptions.of(model="pico-scratch", data="synthetic-train:4", imgsz=words))


def test_weights_that_are_bound_to_their_picture_are_refused_at_another(tmp_path: Path) -> None:
    shape: dict[str, object] = {"num_frames": 4, "embed_dim": 8, "width": 64}
    small = build_model("small", num_classes=18, seed=0, height=64, **shape)
    path = tmp_path / "small.pt"
    names = open_dataset("synthetic-train:1", SHAPE).class_names
    save_checkpoint(path, small, class_names=names, trained=True)
    other = build_model("small", num_classes=18, height=96, **shape)
    with pytest.raises(ConfigError, match=r"pictures of 64x64 alone, .*96x64"):
        load_weights(other, str(path), names)
