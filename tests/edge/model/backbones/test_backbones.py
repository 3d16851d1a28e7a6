"""Every registered backbone keeps the protocol, is saved, and trains; a new file is a new row."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from edge.model import backbones
from edge.model.backbones import BACKBONES, FeatureBackbone
from edge.model.backbones.tsm import StemTSMConfig
from edge.model.backbones.x3d import X3DConfig
from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.checkpoint import config_from_dict, config_to_dict, load_checkpoint, save_checkpoint
from edge.model.complexity import count
from edge.model.variants import VARIANTS, build_model
from quantize.graph import export_graph
from runtime.errors import ConfigError

torch.set_num_threads(1)

TSM = StemTSMConfig(
    height=64, width=96, frame_channels=16, channels=(16, 24), depths=(1, 2), head_channels=8,
    kv_strides=(2, 2), strides=(2,),
)  # fmt: skip
X3D = X3DConfig(num_frames=4, height=64, width=64, depths=(1, 2, 1, 1), steps=2)
SMALL = {"tsm": TSM, "x3d": X3D}


def test_the_registry_has_the_families_of_the_documentation():
    assert list(BACKBONES) == ["stem-mvit", "compact", "mvit", "stem-tsm", "x3d"]
    assert set(VARIANTS) == {name for row in BACKBONES.values() for name in row.variants}


@pytest.mark.parametrize("name", list(VARIANTS))
def test_a_variant_is_saved_by_its_kind(name):
    config = VARIANTS[name]
    assert config.variant == name
    assert config_from_dict(config_to_dict(config)) == config


@pytest.mark.parametrize("name", list(VARIANTS))
def test_features_lie_on_the_grid_that_the_backbone_says(name):
    with torch.device("meta"):
        model = build_model(name, num_classes=2)
        backbone = model.backbone
        assert isinstance(backbone, FeatureBackbone)
        features = backbone.eval()(torch.empty(model.config.clip_shape))
    assert tuple(features.shape) == (1, backbone.out_channels, *backbone.out_grid)


@pytest.mark.parametrize("kind", list(SMALL))
def test_clips_of_a_batch_do_not_mix(kind):
    config = SMALL[kind]
    torch.manual_seed(0)
    model = config.build().eval()
    clips = torch.randn(2, 3, config.num_frames, config.height, config.width)
    with torch.no_grad():
        together = model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
        backward = model(clips.flip(2))
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3)
    assert (together - backward.flip(2)).abs().max() > 1e-3  # a shift to and fro is no mirror


@pytest.mark.parametrize("kind", list(SMALL))
def test_every_weight_gets_a_gradient(kind):
    config = SMALL[kind]
    torch.manual_seed(0)
    model = BMViT(BMViTConfig(variant="test", backbone=config, num_classes=3))
    clips = torch.randn(2, 3, config.num_frames, config.height, config.width)
    sum(value.square().sum() for value in model(clips).values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if name.endswith("weight")] == []


@pytest.mark.parametrize("kind", list(SMALL))
def test_a_checkpoint_gives_the_same_answers_and_the_export_takes_it(kind, tmp_path):
    config = SMALL[kind]
    torch.manual_seed(0)
    model = BMViT(BMViTConfig(variant="test", backbone=config, num_classes=2)).eval()
    save_checkpoint(tmp_path / "m.pt", model, class_names=("a", "b"), trained=False)
    again = load_checkpoint(tmp_path / "m.pt").model
    clip = torch.randn(1, 3, config.num_frames, config.height, config.width)
    with torch.no_grad():
        truth = model(clip)
        torch.testing.assert_close(again(clip), truth)
        graph = export_graph(model, clip.transpose(1, 2))
        for found, name in zip(graph(clip.transpose(1, 2)), truth, strict=True):
            torch.testing.assert_close(found, truth[name], rtol=1e-3, atol=1e-3)


def test_the_shift_moves_channels_between_steps():
    torch.manual_seed(0)
    block = TSM.build().blocks[0].eval()
    torch.nn.init.ones_(block.project.norm.weight)
    x = torch.randn(4, 16, 4, 6)
    changed = x.clone()
    changed[3] += 1.0
    with torch.no_grad():
        moved = (block(x, 1) - block(changed, 1)).abs().amax((1, 2, 3)) > 1e-6
        two_clips = (block(x, 2) - block(changed, 2)).abs().amax((1, 2, 3)) > 1e-6
    assert moved.tolist() == [False, False, True, True]
    assert two_clips.tolist() == [False, False, True, True]
    changed = x.clone()
    changed[2] += 1.0
    with torch.no_grad():
        across = (block(x, 2) - block(changed, 2)).abs().amax((1, 2, 3)) > 1e-6
    assert across.tolist() == [False, False, True, True]  # nothing reaches the other clip


def test_x3d_has_the_published_size():
    # Published: 3.76 M parameters and 1.96 G multiply-adds at 13 x 160 x 160, of which the
    # classifier that is left out here has 1.79 M and the last 1x1x1 convolution 0.03 G.
    whole = count(X3DConfig(num_frames=13, steps=1, out_stride=32).build(), (1, 3, 13, 160, 160))
    assert whole.params / 1e6 == pytest.approx(3.76 - 1.79, abs=0.02)
    assert whole.macs / 1e9 == pytest.approx(1.96 - 0.03, abs=0.02)


@pytest.mark.parametrize(
    ("config", "change", "words"),
    [
        pytest.param(TSM, {"shift": 0.0}, "shift must be above 0", id="shift"),
        pytest.param(TSM, {"strides": (2, 2)}, "strides must be 1", id="strides"),
        pytest.param(X3D, {"height": 48}, "multiples of 32", id="size"),
        pytest.param(X3D, {"steps": 3}, "multiple of steps", id="steps"),
        pytest.param(X3D, {"out_stride": 8}, "out_stride must be 16 or 32", id="stride"),
        pytest.param(X3D, {"depths": (1,)}, "four stages", id="stages"),
    ],
)
def test_values_that_do_not_fit_are_refused(config, change, words):
    with pytest.raises(ConfigError, match=words):
        replace(config, **change)


def test_a_file_in_the_folder_is_a_row(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from edge.model.backbones.protocol import Backbone\n"
        "from edge.model.backbones.x3d import X3DConfig\n"
        "@dataclass(frozen=True, slots=True, kw_only=True)\n"
        "class MineConfig(X3DConfig):\n"
        "    pass\n"
        "BACKBONE = Backbone(kind='mine', config=MineConfig, variants={})\n"
    )
    monkeypatch.setattr(backbones, "__path__", [*backbones.__path__, str(tmp_path)])
    try:
        assert backbones.find_rows()["mine"].config.__name__ == "MineConfig"
    finally:
        sys.modules.pop("edge.model.backbones.mine", None)
