"""Parts of a run from its flags: the input picture and first weights."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from edge.data.registry import open_dataset
from edge.model.bmvit import BMViTConfig
from edge.model.checkpoint import save_checkpoint
from edge.model.mvit import MViTConfig
from edge.model.stem_mvit import StemMViT
from edge.model.stem_weights import StemFile, save_stem
from edge.model.stems import TAP_STRIDES, FrameStem
from edge.model.variants import build_model, from_config
from edge.training.config import TrainOptions
from edge.training.initial import load_weights
from edge.training.loop import schedule_of
from edge.training.setup import build_parts, model_config
from runtime.errors import ConfigError
from tests.edge.tiny import SHAPE

torch.set_num_threads(1)


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


@pytest.mark.parametrize("model", ["pico", "pico-tsm"])
def test_the_stem_is_the_network_of_its_weights(model: str, tmp_path: Path) -> None:
    stem = FrameStem("efficientnet_lite0", taps=TAP_STRIDES)
    path = tmp_path / "lite0.pt"
    save_stem(path, StemFile(name=stem.name, width=1.0, source="a test", licence="none",
                             weights=stem.state_dict()))  # fmt: skip
    options = TrainOptions.of(model=model, data="synthetic-train:4", stem_weights=str(path))
    mine = build_parts(options).model.backbone
    assert isinstance(mine, StemMViT)
    assert mine.stem.name == "efficientnet_lite0"
    weight = mine.stem.state_dict()["blocks.3.expand.conv.weight"]
    assert torch.equal(weight, stem.state_dict()["blocks.3.expand.conv.weight"].half().float())


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


def test_published_weights_go_into_the_backbone_by_init(tmp_path: Path) -> None:
    shape = MViTConfig(
        num_frames=4, height=32, width=32, depth=2, embed_dim=8, stage_starts=(1,), q_pool_at=(1,)
    )
    torch.manual_seed(1)
    published = shape.build().state_dict()
    head = {"head.projection.weight": torch.zeros(400, 16), "head.projection.bias": torch.ones(400)}
    torch.save({"model_state": {**published, **head}}, tmp_path / "k400.pyth")
    model = from_config(BMViTConfig(variant="small", backbone=shape, num_classes=2), seed=0)
    heads = {name: value.clone() for name, value in model.heads.state_dict().items()}
    load_weights(model, str(tmp_path / "k400.pyth"), ("a", "b"))
    mine = model.backbone.state_dict()
    assert all(torch.equal(mine[name], published[name]) for name in published)
    assert all(torch.equal(model.heads.state_dict()[name], heads[name]) for name in heads)
    # The model of a run does not come from such a file, as it does from a checkpoint.
    options = TrainOptions.of(model="small", data="synthetic-train:4", init="nowhere.pyth")
    assert model_config(options).variant == "small"


def test_without_a_variant_the_model_is_that_of_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "mine.pt"
    save_checkpoint(
        path, build_model("pico-scratch", num_classes=1), class_names=("a",), trained=True
    )
    data = "synthetic-train:4"
    options = TrainOptions.of(data=data, init=str(path))
    assert model_config(options).variant == "pico-scratch"
    assert options.folder == Path("runs/train/mine")
    larger = TrainOptions.of(data=data, init=str(path), model="nano-scratch")
    assert model_config(larger).variant == "nano-scratch"
    assert model_config(TrainOptions.of(data=data, init="k400.pyth")).variant == "small"
    assert model_config(TrainOptions.of(data=data)).variant == "nano"


@pytest.mark.parametrize(
    ("clips", "steps"),
    [pytest.param(100, 169, id="few"), pytest.param(1000, 281, id="a thousand"),
     pytest.param(200_000, 25_156, id="many")],
)  # fmt: skip
def test_the_schedule_follows_the_number_of_clips(clips: int, steps: int) -> None:
    options = TrainOptions.of(data="synthetic-train")
    assert schedule_of(options, clips).steps == steps
    assert schedule_of(options.with_flags(epochs=2.0), clips).steps == round(2 * clips / 32)
    assert schedule_of(options.with_flags(steps=7), clips).steps == 7
