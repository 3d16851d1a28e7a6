"""The compact transformer on a pretrained stem: shapes, shared frames, folding, registry."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.checkpoint import config_from_dict, config_to_dict
from edge.model.stem_mvit import StemMViT, StemMViTConfig
from edge.model.variants import VARIANTS, build_model
from runtime.errors import ConfigError

torch.set_num_threads(1)

TINY = StemMViTConfig(
    height=64, width=96, frame_channels=16, channels=(32,), depths=(2,), head_channels=16,
    kv_strides=(2,),
)  # fmt: skip


@pytest.fixture
def settled() -> StemMViT:
    """Return a tiny backbone whose norms and branches are far from their starting values."""
    torch.manual_seed(0)
    model = TINY.build()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias)
            torch.nn.init.normal_(module.running_mean)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.randn(2, 3, 8, 64, 96, generator=torch.Generator().manual_seed(0))


def test_features_lie_on_the_grid_of_stride_16(settled, clips):
    with torch.no_grad():
        features = settled(clips)
    assert tuple(features.shape) == (2, 32, *TINY.out_grid) == (2, 32, 2, 4, 6)


@pytest.mark.parametrize("taps", [(8, 16), (16,), (16, 32), (8, 16, 32)])
def test_any_taps_that_have_the_grid_can_be_joined(taps, clips):
    model = replace(TINY, stem_taps=taps).build().eval()
    with torch.no_grad():
        assert tuple(model(clips).shape) == (2, 32, 2, 4, 6)


def test_frames_one_by_one_and_the_trunk_are_the_whole(settled, clips):
    with torch.no_grad():
        whole = settled(clips[:1])
        frames = clips[0].transpose(0, 1)
        steps = torch.cat([settled.steps(frame[None]) for frame in frames])
        parts = torch.stack(settled.slices(settled.trunk(steps, 1), 1), dim=2)
    torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-4)


def test_clips_of_a_batch_do_not_mix(settled, clips):
    with torch.no_grad():
        # In float64: kernels of other batch sizes round float32 in other ways.
        model, clips = copy.deepcopy(settled).double(), clips.double()
        together = model(clips)
        alone = torch.cat([model(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)


def test_the_order_of_frames_matters(settled, clips):
    with torch.no_grad():
        forward, backward = settled(clips), settled(clips.flip(2))
    assert (forward - backward).abs().max() > 0.01


def test_the_folded_copy_computes_the_same(settled, clips):
    folded = settled.folded()
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(clips), settled(clips), rtol=1e-3, atol=1e-3)


def test_every_weight_gets_a_gradient(clips):
    model = BMViT(BMViTConfig(variant="test", backbone=TINY, num_classes=3))
    found = model(clips)
    sum(value.square().sum() for value in found.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The last bias in front of a softmax or a norm may have none; a whole layer must not.
    assert [name for name in without if name.endswith("weight")] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"height": 48}, "height must be a multiple of 32, got 48", id="size"),
        pytest.param({"num_frames": 6}, "num_frames must be a multiple of 8", id="frames"),
        pytest.param({"stem": "resnet"}, "stem must be one of", id="stem"),
        pytest.param({"stem_taps": (8,)}, "stem_taps must have 16", id="taps"),
        pytest.param({"channels": (24,)}, "not a multiple of 16 per head", id="heads"),
        pytest.param({"depths": (1, 1)}, "1 channels need 1 depths", id="stages"),
        pytest.param({"kv_strides": (3,)}, "kv_strides must be of", id="kv"),
        pytest.param({"step_frames": 0}, "step_frames must be 1 or more", id="step"),
        pytest.param({"drop_path": 1.0}, "drop_path must be in", id="drop"),
    ],
)
def test_values_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        replace(TINY, **change)


@pytest.mark.parametrize("name", ["pico", "nano", "tiny"])
def test_the_named_variants_are_built_and_saved(name):
    config = VARIANTS[name]
    assert isinstance(config.backbone, StemMViTConfig)
    assert config_from_dict(config_to_dict(config)) == config
    assert config.mean == config.std == (0.5, 0.5, 0.5)


def test_the_former_variants_have_a_name_that_says_so():
    plain = config_to_dict(VARIANTS["pico-scratch"])
    plain["variant"] = "pico"  # as checkpoints of that time have it
    assert config_from_dict(plain) == VARIANTS["pico-scratch"]
    model = build_model("pico-scratch", num_classes=2, seed=0)
    assert type(model.backbone).__name__ == "CompactMViT"


def test_a_stage_may_halve_the_grid(clips):
    config = replace(TINY, channels=(32, 32), depths=(1, 1), kv_strides=(2, 2), strides=(2,))
    model = config.build().eval()
    with torch.no_grad():
        assert tuple(model(clips).shape) == (2, 32, *config.out_grid) == (2, 32, 2, 2, 3)
    with pytest.raises(ConfigError, match="strides must be 1, one for each stage"):
        replace(config, strides=(2, 2))
