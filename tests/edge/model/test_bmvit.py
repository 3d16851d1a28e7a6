"""The assembled model, its variants and overrides."""

from __future__ import annotations

import pytest
import torch

from edge.model.bmvit import BMViT, BMViTConfig
from edge.model.mvit import MViTConfig
from edge.model.selection import TOKEN_SELECTIONS, TokenSelection
from edge.model.variants import VARIANTS, build_model, variant_config
from runtime.errors import ConfigError

SMALL_INPUT = {"height": 64, "width": 96, "num_frames": 8}
# With a pretrained stem a step is four frames, not two.
FOUR_STEPS = {"nano": {"num_frames": 16}}
FAMILIES = ("nano", "nano-scratch", "small")
TINY_MVIT = {"depth": 2, "embed_dim": 8, "stage_starts": (1,), "q_pool_at": (0, 1)}


def tiny(variant: str, **overrides: object) -> BMViT:
    """Build a variant on a small input, MViTv2 also with small widths."""
    extra = TINY_MVIT if variant == "small" else {}
    return build_model(
        variant,
        num_classes=5,
        seed=0,
        **{**SMALL_INPUT, **FOUR_STEPS.get(variant, {}), **extra, **overrides},
    ).eval()


@pytest.mark.parametrize("selection", TOKEN_SELECTIONS)
@pytest.mark.parametrize("variant", FAMILIES)
def test_every_token_is_a_triplet(variant: str, selection: TokenSelection) -> None:
    model = tiny(variant, token_selection=selection)
    time, rows, columns = model.out_grid
    assert (time, rows, columns) == (4, 4, 6)
    tokens = {"all": 4, "centre": 1, "centre_mean": 1, "halves": 2}[selection] * rows * columns
    with torch.no_grad():
        outputs = model(torch.randn(2, *model.config.clip_shape[1:]))
    assert {key: tuple(value.shape) for key, value in outputs.items()} == {
        "pred_boxes": (2, tokens, 4),
        "pred_actor": (2, tokens),
        "pred_actions": (2, tokens, 5),
    }
    assert model.num_tokens == tokens
    assert bool((outputs["pred_boxes"] >= 0).all())
    assert bool((outputs["pred_boxes"] <= 1).all())


@pytest.mark.parametrize("selection", TOKEN_SELECTIONS)
@pytest.mark.parametrize("variant", FAMILIES)
def test_a_clip_says_the_same_alone_and_in_a_batch(variant: str, selection: TokenSelection) -> None:
    model = tiny(variant, token_selection=selection)
    clips = torch.randn(3, *model.config.clip_shape[1:])
    with torch.no_grad():
        together = model(clips)
        for index in range(3):
            alone = model(clips[index : index + 1])
            for key, value in alone.items():
                torch.testing.assert_close(together[key][index], value[0], rtol=1e-4, atol=1e-5)


def test_token_index_is_slice_row_column() -> None:
    model = tiny("small")
    with torch.no_grad():
        for parameter in model.heads.box.parameters():
            parameter.zero_()
        boxes = model(torch.randn(1, 3, 8, 64, 96))["pred_boxes"][0]
    slice_, row, column = 1, 2, 5
    token = (slice_ * 4 + row) * 6 + column
    torch.testing.assert_close(boxes[token, :2], torch.tensor([(5 + 0.5) / 6, (2 + 0.5) / 4]))


@pytest.mark.parametrize("variant", FAMILIES)
def test_actions_see_the_whole_clip_in_halves(variant: str) -> None:
    """The first half's mean reads slices 0 and 1; its box and actor read slice 1 alone."""
    model = tiny(variant, token_selection="halves")
    slices = [torch.randn(1, model.backbone.out_channels, 4, 6) for _ in range(4)]
    model.backbone.forward_slices = lambda _: slices  # type: ignore[method-assign,assignment]
    clip = torch.zeros(model.config.clip_shape)
    with torch.no_grad():
        before = model(clip)
        slices[0] = slices[0] + 1.0
        after = model(clip)
    changed = {key: (before[key] != after[key]).reshape(2, 24, -1).any(-1) for key in before}
    assert not changed["pred_boxes"].any()
    assert not changed["pred_actor"].any()
    assert changed["pred_actions"][0].all()
    assert not changed["pred_actions"][1].any()


def test_seed_decides_the_weights_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, again, other = (
        build_model("pico", num_classes=2, seed=seed).state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_take_pixels_as_their_weights_were_trained(variant: str) -> None:
    """With the convention of Kinetics, or, behind a pretrained stem, from -1 to 1."""
    config = variant_config(variant)
    stem = variant in ("pico", "nano", "tiny", "pico-tsm", "nano-tsm")
    assert config.mean == ((0.5,) * 3 if stem else (0.45,) * 3)
    assert config.std == ((0.5,) * 3 if stem else (0.225,) * 3)
    assert config.token_selection == ("centre_mean" if stem else "halves")
    assert config.clip_shape == (1, 3, config.num_frames, config.height, config.width)
    assert config.clip.period_s == pytest.approx(4 / 30)


def test_small_is_the_paper_s_model() -> None:
    with torch.device("meta"):
        model = build_model("small", num_classes=80)
    assert model.config.clip_shape == (1, 3, 16, 256, 256)
    assert model.out_grid == (8, 16, 16)
    assert model.num_tokens == 512


@pytest.mark.slow
def test_small_runs_at_full_size() -> None:
    model = build_model("small", num_classes=80, seed=0).eval()
    with torch.no_grad():
        outputs = model(torch.randn(model.config.clip_shape))
    assert outputs["pred_actions"].shape == (1, 512, 80)
    assert all(bool(torch.isfinite(value).all()) for value in outputs.values())
    # untrained: near its prior everywhere
    assert float(outputs["pred_actor"].sigmoid().max()) < 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param({"variant": "nanno"}, "Did you mean 'nano'", id="variant"),
        pytest.param({"num_classes": 0}, "num_classes", id="classes"),
        pytest.param({"heigth": 64}, "no option 'heigth'.*Did you mean 'height'", id="option"),
        pytest.param({"fps": 0.0}, "fps is", id="fps"),
        pytest.param({"fps": float("nan")}, "fps is", id="fps-nan"),
        pytest.param({"sampling_rate": 0}, "sampling_rate", id="rate"),
        pytest.param({"std": (0.2, 0.0, 0.2)}, "std is", id="std"),
        pytest.param({"token_selection": "half"}, "unknown token selection", id="selection"),
        pytest.param(
            {"num_frames": 6, "kv_pairs": False},
            "even number of temporal positions",
            id="odd-halves",
        ),
    ],
)
def test_bad_wishes_are_refused(call: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(**{"variant": "nano-scratch", "num_classes": 3, **call})  # type: ignore[arg-type]


@pytest.mark.parametrize("selection", TOKEN_SELECTIONS)
@pytest.mark.parametrize("variant", ["pico", "pico-scratch"])
def test_a_compact_model_exports_without_a_mean_or_a_fifth_dimension(
    variant: str, selection: TokenSelection
) -> None:
    """An int8 delegate leaves reductions over time and 5D tensors outside."""
    model = build_model(
        variant, num_classes=3, seed=0, height=32, width=32, token_selection=selection
    )
    program = torch.export.export(model.eval(), (torch.randn(model.config.clip_shape),))
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert not [node for node in calls if "mean" in str(node.target) or "sum" in str(node.target)]
    large = [node.name for node in calls if node.meta["val"].ndim > 4]
    assert len(large) <= 1  # the clip itself, put into the order of its frames


def test_overrides_reach_heads_and_backbone() -> None:
    model = build_model(
        "nano", num_classes=3, hidden_channels=24, box_reference="absolute", height=96, fps=25.0
    )
    assert model.config.heads.hidden_channels == 24
    assert model.config.height == 96
    assert model.config.fps == 25.0
    assert not model.heads.box_reference.any()


def test_configuration_asks_its_backbone_for_the_size() -> None:
    config = BMViTConfig(variant="x", backbone=MViTConfig(num_frames=4), num_classes=1)
    assert (config.num_frames, config.height, config.width) == (4, 256, 256)
