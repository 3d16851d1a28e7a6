"""Whole runs on moving squares: learning, resuming, ending, a teacher, what is refused."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edge.data.augment import Augmented
from edge.data.samples import ClipSample
from edge.model.bmvit import BMViT, with_overrides
from edge.model.checkpoint import load_checkpoint, save_checkpoint
from edge.model.variants import VARIANTS, build_model
from edge.training import data as training_data
from edge.training.aux_heads import AuxiliaryHeads
from edge.training.config import TrainOptions
from edge.training.logs import Callback, read_log
from edge.training.loop import Outcome, Trainer
from edge.training.run_folder import check_same_run, clear_folder, kept_flags, read_run
from runtime.errors import ArtifactError, ConfigError, TrainingError
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares
from tests.edge.partial_labels import KNOWN, SOMEBODY, masks
from tests.edge.tiny import TINY

torch.set_num_threads(1)

LOSSES = ("loss", "actor", "bbox", "giou", "action", "grad_norm")


class Jumping(MovingSquares):
    """The same squares, of whom one action is known elsewhere and one is said of clips."""

    class_names = ("right", "jumps")

    def __getitem__(self, index: int) -> ClipSample:
        sample = super().__getitem__(index)
        labels = np.stack([sample.labels[:, 1], 0 * sample.labels[:, 1]], axis=1)
        codes = np.tile([KNOWN, (SOMEBODY, KNOWN)[index % 2]], (len(labels), 1))
        return replace(sample, labels=labels, **masks(codes))


class OneAction(MovingSquares):
    """The same squares, known by one action only."""

    class_names = ("moves",)

    def __getitem__(self, index: int) -> ClipSample:
        sample = super().__getitem__(index)
        return sample.with_labels(sample.labels[:, :1] * 0 + 1)


@pytest.fixture(autouse=True)
def tiny_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a tiny network behind the name `pico-scratch`, and squares behind the data sets."""
    monkeypatch.setitem(VARIANTS, "pico-scratch", with_overrides(VARIANTS["pico-scratch"], **TINY))

    def open_squares(
        spec: str, shape: ClipSpec, *, seed: int = 0, limit: int | None = None, part: str = "val"
    ) -> MovingSquares:
        kind = {"one-action": OneAction, "jumping": Jumping}.get(spec, MovingSquares)
        return kind(shape, length=24 if "val" in spec else 64, seed=99 if "val" in spec else seed)

    monkeypatch.setattr(training_data, "open_dataset", open_squares)


def options_of(out: Path, **changes: Any) -> TrainOptions:
    fields: dict[str, Any] = {
        "model": "pico-scratch", "data": "squares", "out": str(out), "batch": 8, "steps": 12,
        "workers": 0, "log_every": 2, "save_every": 5, "device": "cpu", "tensorboard": False,
        "drop_path": 0.2, "augment": "off",
    }  # fmt: skip
    return TrainOptions.of(**{**fields, **changes})


def losses_of(folder: Path) -> list[tuple[int, tuple[float, ...]]]:
    return [
        (row["step"], tuple(row[name] for name in LOSSES))
        for row in read_log(folder)
        if row["kind"] == "train"
    ]


def test_a_run_learns_and_leaves_its_files(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Watching(Callback):
        def begin(self, step: int, steps: int) -> None:
            seen.append(("begin", steps))

        def stepped(self, step: int, row: Mapping[str, float]) -> None:
            seen.append(("step", step))

        def validated(self, step: int, result: Mapping[str, Any]) -> None:
            seen.append(("val", step))

    options = options_of(
        tmp_path, steps=100, lr0=3e-3, ema=0.9, val_data="squares-val", val_every=50, log_every=10
    )
    outcome = Trainer(options, callback=Watching()).run()
    rows = losses_of(tmp_path)
    assert [step for step, _ in rows] == list(range(10, 101, 10))
    assert rows[-1][1][0] < 0.7 * rows[0][1][0]
    checks = [row for row in read_log(tmp_path) if row["kind"] == "val"]
    assert [row["step"] for row in checks] == [50, 100]
    assert outcome == Outcome(
        step=100, steps=100, reason="finished", rank=0, folder=tmp_path,
        best=max(row["frame_map"] for row in checks),
    )  # fmt: skip
    assert checks[-1]["actor_ap"] > 0.03
    assert seen[0] == ("begin", 100)
    assert ("val", 50) in seen
    best = load_checkpoint(tmp_path / "best.pt")
    assert best.trained
    assert best.class_names == ("left", "right")
    assert "of 100 on squares; frame-mAP@0.5" in best.note
    assert json.loads((tmp_path / "config.json").read_text())["lr0"] == 3e-3


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "ema": 0.0}], ids=["plain", "parts"])
def test_a_resumed_run_has_the_same_losses(tmp_path: Path, changes: dict[str, Any]) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    Trainer(options_of(straight, **changes)).run()
    # It ends between two lines of the log, whose sums must go on, too.
    outcome = Trainer(options_of(broken, limit_steps=7, **changes)).run()
    assert (outcome.step, outcome.reason) == (7, "step limit")
    outcome = Trainer(options_of(broken, resume=str(broken), **changes)).run()
    assert outcome.reason == "finished"
    assert losses_of(broken) == losses_of(straight)
    ours, theirs = (load_checkpoint(f / "last.pt").model.state_dict() for f in (broken, straight))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_run_killed_behind_its_last_save_repeats_those_steps(tmp_path: Path) -> None:
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    Trainer(options_of(straight)).run()

    class KilledError(Exception):
        pass

    class Killing(Callback):
        def begin(self, step: int, steps: int) -> None: ...
        def validated(self, step: int, result: Mapping[str, Any]) -> None: ...
        def stepped(self, step: int, row: Mapping[str, float]) -> None:
            if step == 8:
                raise KilledError

    with pytest.raises(KilledError):
        Trainer(options_of(killed), callback=Killing()).run()
    assert [step for step, _ in losses_of(killed)] == [2, 4, 6, 8]
    Trainer(options_of(killed, resume=str(killed))).run()
    assert losses_of(killed) == losses_of(straight)


def test_parts_of_a_batch_share_one_number_of_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without norms, which see one part at a time, parts change nothing at all."""
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: x * 1.0)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    Trainer(options_of(whole, steps=2, log_every=1, drop_path=0.0)).run()
    Trainer(options_of(parts, steps=2, log_every=1, drop_path=0.0, accumulate=4)).run()
    for (_, one), (_, other) in zip(losses_of(whole), losses_of(parts), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_step_finish_and_saves(tmp_path: Path, number: int) -> None:
    class Signalling(Callback):
        def begin(self, step: int, steps: int) -> None: ...
        def validated(self, step: int, result: Mapping[str, Any]) -> None: ...
        def stepped(self, step: int, row: Mapping[str, float]) -> None:
            if step == 4:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    outcome = Trainer(options_of(tmp_path), callback=Signalling()).run()
    assert outcome.reason == "interrupted"
    assert outcome.step in (4, 5)
    assert signal.getsignal(number) == before
    finished = Trainer(options_of(tmp_path, resume=str(tmp_path))).run()
    assert finished.reason == "finished"


def test_a_finished_run_has_nothing_to_go_on_with(tmp_path: Path) -> None:
    Trainer(options_of(tmp_path, steps=2)).run()
    outcome = Trainer(options_of(tmp_path, steps=2, resume=str(tmp_path))).run()
    assert (outcome.step, outcome.reason) == (2, "finished")


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path) -> None:
    trainer = Trainer(options_of(tmp_path, lr0=1e30, clip_norm=0.0, save_every=1))
    with pytest.raises(TrainingError, match="squares-0-"):
        trainer.run()
    saved = load_checkpoint(tmp_path / "last.pt").model
    assert all(bool(torch.isfinite(p).all()) for p in saved.parameters())


def teacher_file(path: Path, **overrides: Any) -> str:
    model = build_model("pico-scratch", num_classes=2, seed=7, **overrides)
    save_checkpoint(path, model, class_names=("left", "right"), trained=True)
    return str(path)


def test_a_student_moves_towards_its_teacher(tmp_path: Path) -> None:
    wider = {"height": 64, "width": 64, "channels": (8, 32)}
    teacher = teacher_file(tmp_path / "teacher.pt", **wider)
    run = tmp_path / "run"
    flags = {"teacher": teacher, "steps": 80, "lr0": 3e-3, "log_every": 10, "loss_one_to_many": 0.0}
    Trainer(options_of(run, **flags)).run()
    rows = [row for row in read_log(run) if row["kind"] == "train"]
    for name in ("distill_boxes", "distill_features"):
        assert rows[-1][name] < rows[0][name]
    # The projection of the features is the student's business and in no file a user loads.
    assert not any(
        "project" in name for name in load_checkpoint(run / "last.pt").model.state_dict()
    )
    assert Trainer(options_of(run, resume=str(run), **flags)).run().reason == "finished"


def test_early_heads_learn_and_are_not_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three = {
        "channels": (8, 16, 16),
        "depths": (1, 1, 1),
        "strides": (2, 1),
        "kv_strides": (4, 2, 2),
    }
    monkeypatch.setitem(VARIANTS, "pico-scratch", with_overrides(VARIANTS["pico-scratch"], **three))
    Trainer(options_of(tmp_path, loss_aux=0.5, steps=30, lr0=3e-3, log_every=10)).run()
    rows = [row for row in read_log(tmp_path) if row["kind"] == "train"]
    assert rows[-1]["early"] < 0.95 * rows[0]["early"]
    names = load_checkpoint(tmp_path / "last.pt").model.state_dict()
    assert not any("early" in name for name in names)


def test_early_heads_of_a_single_stage_listen_before_its_last_block() -> None:
    shape = {"height": 32, "width": 32, "stem_width": 0.25, "frame_channels": 16,
             "channels": (32,), "head_channels": 16, "kv_strides": (2,)}  # fmt: skip
    model = build_model("pico", num_classes=2, seed=0, depths=(3,), **shape)
    seen: list[torch.Tensor] = []
    model.backbone.blocks[1].register_forward_hook(lambda m, i, output: seen.append(output))
    heads = AuxiliaryHeads(model)
    found = model(torch.randn(2, *model.config.clip_shape[1:]))
    assert heads.tap.kept is seen[0]
    assert {name: value.shape for name, value in heads(2).items()} == {
        name: value.shape for name, value in found.items()
    }
    with pytest.raises(ConfigError, match="a block before it; pico has none"):
        AuxiliaryHeads(build_model("pico", num_classes=2, depths=(1,), **shape))


def test_early_heads_need_a_place_of_the_same_grid(tmp_path: Path) -> None:
    # As `tiny_world` makes it, the last stage halves the grid.
    with pytest.raises(ConfigError, match="--loss-aux"):
        Trainer(options_of(tmp_path, loss_aux=0.5))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        pytest.param({"num_frames": 8}, "8 frames", id="frames"),
        pytest.param({"sampling_rate": 2}, "0.067 s apart", id="time"),
    ],
)
def test_a_teacher_who_sees_other_moments_is_refused(
    tmp_path: Path, overrides: dict[str, Any], words: str
) -> None:
    teacher = teacher_file(tmp_path / "teacher.pt", **overrides)
    with pytest.raises(ConfigError, match=words):
        Trainer(options_of(tmp_path / "run", teacher=teacher))


def test_a_teacher_of_other_actions_is_refused(tmp_path: Path) -> None:
    teacher = teacher_file(tmp_path / "teacher.pt")
    with pytest.raises(ConfigError, match="moves"):
        Trainer(options_of(tmp_path / "run", data="one-action", teacher=teacher))


def test_weights_to_start_from(tmp_path: Path) -> None:
    first = teacher_file(tmp_path / "first.pt", drop_path=0.0)
    weights = load_checkpoint(first).model.state_dict()
    same = Trainer(options_of(tmp_path / "a", init=first)).parts.model
    assert all(torch.equal(weights[n], v) for n, v in same.state_dict().items())
    assert same.config.backbone.drop_path == 0.2  # the flag of this run, not the one of before
    other = Trainer(options_of(tmp_path / "b", init=first, data="one-action")).parts.model
    changed = {
        n
        for n, v in other.state_dict().items()
        if v.shape != weights[n].shape or not torch.equal(weights[n], v)
    }
    assert changed == {"heads.actions.layers.2.weight", "heads.actions.layers.2.bias"}


@pytest.mark.parametrize(
    ("changes", "anew", "said"),
    [
        pytest.param({"token_selection": "centre"}, set(), "slices apart begins anew", id="one"),
        pytest.param(
            {"token_selection": "all"}, {"slice_where", "slice_what"}, "slices apart", id="all"
        ),
        pytest.param(
            {"box_reference": "absolute"}, {"box"}, "the box head begins anew", id="absolute"
        ),
    ],
)
def test_weights_with_other_tokens_or_boxes_begin_anew_where_they_must(
    tmp_path: Path, changes: dict[str, str], anew: set[str], said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    first = teacher_file(tmp_path / "first.pt")
    weights = load_checkpoint(first).model.state_dict()
    model = Trainer(options_of(tmp_path / "a", init=first, **changes)).parts.model
    changed = {
        name
        for name, value in model.state_dict().items()
        if name not in weights
        or value.shape != weights[name].shape
        or not torch.equal(value, weights[name])
    }
    assert {name.split(".")[1] for name in changed} == anew
    assert said in caplog.text


def test_weights_of_another_form_are_refused(tmp_path: Path) -> None:
    first = teacher_file(tmp_path / "first.pt")
    with pytest.raises(ConfigError, match="a nano-scratch cannot be grown from a pico-scratch"):
        Trainer(options_of(tmp_path, model="nano-scratch", init=first))


def test_a_larger_variant_is_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = teacher_file(tmp_path / "first.pt")
    before = load_checkpoint(first).config.backbone
    wide = {
        "stem_channels": 2 * before.stem_channels,
        "channels": tuple(2 * c for c in before.channels),
        "head_channels": 2 * before.head_channels,
    }
    wider = with_overrides(VARIANTS["pico-scratch"], variant="nano-scratch", **wide)
    monkeypatch.setitem(VARIANTS, "nano-scratch", wider)
    of = {"model": "nano-scratch", "init": first}
    model = Trainer(options_of(tmp_path / "a", **of)).parts.model
    clip = torch.randn(2, *model.config.clip_shape[1:])
    with torch.no_grad():
        small, large = load_checkpoint(first).model.eval()(clip), model.eval()(clip)
    torch.testing.assert_close(large["pred_boxes"], small["pred_boxes"], atol=1e-5, rtol=1e-4)
    yielding = Trainer(options_of(tmp_path / "c", suppression_strength=2.0, **of)).parts.model
    assert yielding.config.heads.suppression_strength == 2.0
    with torch.no_grad():
        assert torch.equal(yielding.eval()(clip)["pred_boxes"], large["pred_boxes"])
    with pytest.raises(ConfigError, match="cannot be grown"):
        Trainer(options_of(tmp_path / "b", model="tiny-scratch", init=first))


def test_another_form_of_the_model_is_trained_and_saved_by_its_own_means(tmp_path: Path) -> None:
    class Doubled(nn.Module):
        def __init__(self, model: BMViT) -> None:
            super().__init__()
            self.inner = model

        def forward(self, clip: torch.Tensor) -> dict[str, torch.Tensor]:
            outputs: dict[str, torch.Tensor] = self.inner(clip)
            return outputs

    steps: list[int] = []

    class Form:
        def wrap(self, model: BMViT) -> nn.Module:
            return Doubled(model)

        def at_step(self, trained: nn.Module, step: int, steps_in_all: int) -> None:
            assert isinstance(trained, Doubled)
            steps.append(step)

        def save(
            self, path: Path, trained: nn.Module, *, class_names: Sequence[str], note: str
        ) -> None:
            assert isinstance(trained, Doubled)
            save_checkpoint(path, trained.inner, class_names=class_names, trained=True, note=note)

    Trainer(options_of(tmp_path, steps=3, loss_one_to_many=0.0), wrapper=Form()).run()
    assert steps == [0, 1, 2]
    assert load_checkpoint(tmp_path / "last.pt").trained


def test_real_clips_are_changed_in_each_pass_unless_refused(tmp_path: Path) -> None:
    flags: dict[str, Any] = {"flip": 0.25, "mosaic": 0.1, "augment": "auto"}
    data = Trainer(options_of(tmp_path / "a", **flags)).parts.data
    assert isinstance(data, Augmented)
    assert (data.config.flip, data.config.mosaic) == (0.25, 0.1)
    plain = Trainer(options_of(tmp_path / "b", augment="off")).parts.data
    assert isinstance(plain, MovingSquares)
    world = Trainer(options_of(tmp_path / "c", augment="auto", data="synthetic-train:8")).parts.data
    assert isinstance(world, MovingSquares)


def test_a_run_goes_on_as_it_began(tmp_path: Path) -> None:
    options = options_of(tmp_path, steps=2)
    Trainer(options).run()
    begun = read_run(tmp_path)
    resumed = options.with_flags(resume=str(tmp_path), max_minutes=3.0, workers=1)
    check_same_run(resumed, begun)
    with pytest.raises(ConfigError, match=r"--lr0 is 0\.5, but the run .* began with 0\.002"):
        check_same_run(resumed.with_flags(lr0=0.5), begun)


def test_a_run_is_not_lost_by_another(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    clear_folder(tmp_path, overwrite=False)  # no run there yet
    Trainer(options_of(tmp_path, steps=2)).run()
    with pytest.raises(ConfigError, match="--resume"):
        clear_folder(tmp_path, overwrite=False)
    clear_folder(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(ArtifactError, match="no run to resume"):
        read_run(tmp_path)


@pytest.mark.parametrize("weak", ["mil", "copy"])
def test_several_data_sets_are_learned_from_together(tmp_path: Path, weak: str) -> None:
    options = options_of(
        tmp_path / "a", data="squares+jumping*2", val_data="squares-val", augment="on",
        weak_loss=weak, cache=str(tmp_path / "kept"), read_scale=1.5, steps=14,
    )  # fmt: skip
    assert kept_flags(options)["augment"] == "on"
    trainer = Trainer(options)
    assert len(trainer.parts.data) == 64 + 2 * 64
    assert trainer.parts.model.config.num_classes == 3
    assert trainer.parts.validation is not None
    assert trainer.parts.validation.class_names == ("left", "right")
    outcome = trainer.run()
    assert outcome.best is not None
    best = load_checkpoint(tmp_path / "a" / "best.pt")
    assert best.class_names == ("left", "right", "jumps")
    row = [row for row in read_log(tmp_path / "a") if row["kind"] == "val"][-1]
    assert list(row["ap"]) == ["left", "right"]
    shape = trainer.parts.model.config.height
    abouts = [json.loads(path.read_text()) for path in (tmp_path / "kept").glob("*/about.json")]
    assert sorted(about["spec"] for about in abouts) == ["jumping (seed 0)", "squares (seed 0)"]
    assert {about["shape"][1] for about in abouts} == {round(1.5 * shape)}


def test_a_mixed_run_that_is_resumed_has_the_same_losses(tmp_path: Path) -> None:
    changes = {"data": "squares+jumping*2", "augment": "on", "class_balance": 0.5}
    Trainer(options_of(tmp_path / "straight", **changes)).run()
    broken = tmp_path / "broken"
    Trainer(options_of(broken, limit_steps=7, **changes)).run()
    Trainer(options_of(broken, resume=str(broken), **changes)).run()
    assert losses_of(broken) == losses_of(tmp_path / "straight")


def test_classes_known_by_the_same_name_are_kept(tmp_path: Path) -> None:
    first = teacher_file(tmp_path / "first.pt")
    before = load_checkpoint(first).model.heads.actions.last
    model = Trainer(options_of(tmp_path / "a", init=first, data="jumping")).parts.model
    after = model.heads.actions.last
    assert torch.equal(after.weight[0], before.weight[1])
    assert torch.equal(after.bias[0], before.bias[1])
    assert not torch.equal(after.weight[1], before.weight[0])
    fresh = Trainer(options_of(tmp_path / "b", data="jumping")).parts.model.heads.actions.last
    assert torch.equal(after.weight[1], fresh.weight[1])


def test_a_class_of_the_validation_that_is_not_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other classes than --data squares: jumps"):
        Trainer(options_of(tmp_path, val_data="jumping"))
