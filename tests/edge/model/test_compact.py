"""The compact backbone: shapes, sizes, time, folding, training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from edge.model.compact import COMPACT_VARIANTS, CompactConfig, CompactMViT
from edge.model.compact_layers import PoolConv, shift_time
from runtime.errors import ConfigError

torch.set_num_threads(1)

TINY = CompactConfig(
    num_frames=8,
    height=32,
    width=48,
    channels=(16, 32),
    depths=(1, 1),
    head_channels=16,
    strides=(2,),
    kv_strides=(4, 2),
)


@pytest.fixture
def settled() -> CompactMViT:
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


@pytest.mark.parametrize(
    ("name", "gflop", "params", "grid"),
    [
        pytest.param("pico", (0.4, 0.5), (0.8e6, 1e6), (4, 8, 8), id="pico"),
        pytest.param("nano", (2.8, 3.2), (3.4e6, 4e6), (4, 10, 10), id="nano"),
        pytest.param("tiny", (9.5, 10.5), (6.5e6, 7.5e6), (4, 14, 14), id="tiny"),
    ],
)
def test_variants_have_the_size_they_are_named_for(
    name: str, gflop: tuple[float, float], params: tuple[float, float], grid: tuple[int, int, int]
) -> None:
    config = COMPACT_VARIANTS[name]
    model = config.build().eval()
    clip = torch.zeros(1, 3, config.num_frames, config.height, config.width)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        features = model(clip)
    assert features.shape == (1, model.out_channels, *grid)
    assert model.out_grid == grid
    assert gflop[0] < counter.get_total_flops() / 1e9 < gflop[1]
    assert params[0] < sum(p.numel() for p in model.parameters()) < params[1]


def test_a_batch_equals_its_clips(settled: CompactMViT) -> None:
    clips = torch.randn(3, 3, 8, 32, 48)
    with torch.no_grad():
        together = settled(clips)
        alone = torch.cat([settled(clip[None]) for clip in clips])
    assert torch.allclose(together, alone, atol=1e-4)


def test_slices_are_the_features(settled: CompactMViT) -> None:
    clips = torch.randn(2, 3, 8, 32, 48)
    with torch.no_grad():
        features = settled(clips)
        slices = settled.forward_slices(clips)
        single = settled.forward_slices(clips[:1])
    assert torch.equal(torch.stack(slices, dim=2), features)
    assert torch.allclose(torch.stack(single, dim=2), features[:1], atol=1e-4)


def test_folding_changes_nothing_but_the_modules(settled: CompactMViT) -> None:
    clip = torch.randn(1, 3, 8, 32, 48)
    folded = settled.folded()
    with torch.no_grad():
        assert torch.allclose(folded(clip), settled(clip), atol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.modules())
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in settled.modules())


def test_attention_joins_all_frames(settled: CompactMViT) -> None:
    """With convolutions over one frame only, a far frame can reach another by attention alone."""
    torch.manual_seed(0)
    config = CompactConfig(**{**_fields(TINY), "taps": 1})
    model = config.build().eval()
    clip = torch.randn(1, 3, 8, 32, 48)
    changed = clip.clone()
    changed[:, :, -2:] = 0
    with torch.no_grad():
        difference = (model(clip) - model(changed)).abs()
    assert float(difference[:, :, 0].max()) > 1e-4


def test_order_of_frames_matters(settled: CompactMViT) -> None:
    clip = torch.randn(1, 3, 8, 32, 48)
    with torch.no_grad():
        forward, backward = settled(clip), settled(clip.flip(2))
    assert not torch.allclose(forward, backward.flip(2), atol=1e-3)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize(
    ("steps", "expected"),
    [pytest.param(1, [0, 0, 1], id="later"), pytest.param(-1, [1, 2, 2], id="earlier")],
)
def test_a_shift_repeats_the_border_frame(batch: int, steps: int, expected: list[int]) -> None:
    frames = torch.arange(3.0).repeat(batch)[:, None, None, None]
    assert shift_time(frames, steps, batch).flatten().tolist() == expected * batch


def test_training_reaches_every_weight() -> None:
    torch.manual_seed(0)
    model = CompactConfig(**{**_fields(TINY), "drop_path": 0.2}).build().train()
    model(torch.randn(4, 3, 8, 32, 48)).square().mean().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_drop_path_drops_whole_clips_in_training_only() -> None:
    torch.manual_seed(0)
    model = CompactConfig(**{**_fields(TINY), "drop_path": 0.9}).build()
    block = model.blocks[1]
    assert block.drop_path == pytest.approx(0.9)
    ones = torch.ones(64 * 2, 3, 2, 2)
    block.train()
    dropped = block.drop(ones, 64).view(64, -1)
    assert set(dropped.unique().round(decimals=3).tolist()) == {0.0, 10.0}
    assert torch.equal(dropped.min(dim=1).values, dropped.max(dim=1).values)
    block.eval()
    assert torch.equal(block.drop(ones, 64), ones)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"height": 30}, "height", id="height"),
        pytest.param({"num_frames": 7}, "num_frames", id="odd-frames"),
        pytest.param({"depths": (1,)}, "depths", id="stages"),
        pytest.param({"channels": (16, 40)}, "40", id="heads"),
        pytest.param({"strides": (4,)}, "strides", id="stride"),
        pytest.param({"kv_strides": (4, 3)}, "kv_strides", id="kv-stride"),
        pytest.param({"kv_strides": (4, 8)}, "kv_strides", id="kv-stride-at-entry"),
        pytest.param({"taps": 2}, "taps", id="taps"),
        pytest.param({"drop_path": 1.0}, "drop_path", id="drop-path"),
    ],
)
def test_values_that_do_not_fit_are_refused(change: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CompactConfig(**{**_fields(TINY), **change})


def test_a_clip_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigError, match="8 frames of 32x48"):
        TINY.build()(torch.zeros(1, 3, 4, 32, 48))


def _fields(config: CompactConfig) -> dict[str, object]:
    return {name: getattr(config, name) for name in CompactConfig.__dataclass_fields__}


def test_steps_and_trunk_are_the_whole(settled: CompactMViT) -> None:
    clips = torch.randn(2, 3, 8, 32, 48)
    frames = clips.transpose(1, 2).reshape(16, 3, 32, 48)
    with torch.no_grad():
        steps = settled.steps(frames, 2)
        whole = settled(clips)
        features = settled.trunk(steps, 2).view(2, 4, *whole.shape[1:2], *whole.shape[3:])
    torch.testing.assert_close(features.transpose(1, 2), whole)


def test_a_step_sees_its_two_frames_only(settled: CompactMViT) -> None:
    frames = torch.randn(8, 3, 32, 48)
    other = frames.clone()
    other[4] += torch.randn(3, 32, 48)
    with torch.no_grad():
        before, after = settled.steps(frames), settled.steps(other)
        alone = settled.steps(frames[2:4])
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, False, True, False]
    torch.testing.assert_close(alone, before[1:2])


def test_behind_the_first_stage_a_token_sees_all_steps(settled: CompactMViT) -> None:
    clip = torch.randn(1, 3, 8, 32, 48)
    other = clip.clone()
    other[:, :, 0] += 1.0
    with torch.no_grad():
        moved = (settled(clip) - settled(other)).abs().amax(dim=(0, 1, 3, 4))
    assert moved.min() > 0


def test_drop_path_drops_a_clip_in_all_of_its_steps() -> None:
    torch.manual_seed(0)
    model = replace(TINY, depths=(2, 1), drop_path=0.9).build().train()
    block = model.blocks[1]
    ones = torch.ones(6 * 4, 16, 4, 6)
    dropped = block.drop(ones, 6).flatten(1).amax(1).view(6, 4)
    assert torch.equal(dropped, dropped[:, :1].expand(6, 4))
    assert 0 < int((dropped[:, 0] == 0).sum()) < 6


@pytest.mark.parametrize("stages", [-1, 2])
def test_the_last_stage_sees_the_whole_clip(stages: int) -> None:
    with pytest.raises(ConfigError, match="step_stages must be from 0 to 1"):
        replace(TINY, step_stages=stages)


def test_order_of_the_steps_matters_to_attention() -> None:
    """Without an embedding, and without temporal taps, attention could not tell them apart."""
    torch.manual_seed(0)
    plain = replace(TINY, taps=1, kv_pairs=False, local_kernel=0, step_embedding=False)
    steps = torch.randn(4, 16, 4, 6)
    for embedded in (False, True):
        model = replace(plain, step_embedding=embedded).build().eval()
        if model.step_embedding is not None:
            torch.nn.init.normal_(model.step_embedding)
        with torch.no_grad():
            found, turned = model.trunk(steps, 1), model.trunk(steps.flip(0), 1).flip(0)
        assert torch.allclose(found, turned, atol=1e-4) is not embedded


def test_a_batch_has_the_embedding_of_each_clip(settled: CompactMViT) -> None:
    assert settled.step_embedding is not None
    torch.nn.init.normal_(settled.step_embedding)
    clips = torch.randn(3, 3, 8, 32, 48)
    with torch.no_grad():
        singles = torch.cat([settled(clip[None]) for clip in clips])
        torch.testing.assert_close(settled(clips), singles, atol=1e-4, rtol=1e-4)


def test_local_kernel_is_checked() -> None:
    with pytest.raises(ConfigError, match="local_kernel must be 0, 3 or 5, got 4"):
        replace(TINY, local_kernel=4)


def test_pooling_stays_in_float32_in_mixed_precision_on_a_cpu() -> None:
    """The gradient of its depth-wise convolutions is 25 times as slow in bf16 there."""
    pool = PoolConv(8, 4, taps=3)
    seen: list[torch.dtype] = []
    pool.taps[0].register_forward_hook(lambda *call: seen.append(call[2].dtype))
    x = torch.randn(4, 8, 16, 16)
    plain = pool(x, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = pool(x.bfloat16(), 1)
    assert seen == [torch.float32] * 2
    torch.testing.assert_close(mixed, plain, atol=0.05, rtol=0.05)
