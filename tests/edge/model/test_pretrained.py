"""Published Kinetics weights, in both namings: what loads, what is said, what is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from edge.model.attention import resize_table
from edge.model.mvit import MViT, MViTConfig
from edge.model.pretrained import load_pretrained
from edge.model.variants import build_model
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

TINY: dict[str, Any] = {
    "num_frames": 4,
    "height": 64,
    "width": 64,
    "depth": 3,
    "embed_dim": 8,
    "stage_starts": (1,),
    "q_pool_at": (1,),
    "kv_stride": (1, 2, 2),
    "cls_token": True,
}

NORMS = [f"{x}.{p}" for x in "qkv" for p in ("weight", "bias")]
COMMON = [
    *("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"),
    *("attn.qkv.weight", "attn.qkv.bias", "attn.rel_pos_h", "attn.rel_pos_w", "attn.rel_pos_t"),
]
OUTER = {
    "pyslowfast": ["cls_token", "patch_embed.proj.weight", "patch_embed.proj.bias"],
    "torchvision": ["pos_encoding.class_token", "conv_proj.weight", "conv_proj.bias"],
}
BLOCK = {
    "pyslowfast": [
        *COMMON,
        *(
            f"{layer}.{p}"
            for layer in ("attn.proj", "mlp.fc1", "mlp.fc2")
            for p in ("weight", "bias")
        ),
        *(f"attn.pool_{x}.weight" for x in "qkv"),
        *(f"attn.norm_{name}" for name in NORMS),
    ],
    "torchvision": [
        *COMMON,
        *(
            f"{layer}.{p}"
            for layer in ("attn.project.0", "mlp.0", "mlp.3")
            for p in ("weight", "bias")
        ),
        *(f"attn.pool_{x}.pool.weight" for x in "qkv"),
        *(f"attn.pool_{name[0]}.norm_act.0{name[1:]}" for name in NORMS),
    ],
}
WIDER = {"pyslowfast": "proj", "torchvision": "project"}
HEAD = {"pyslowfast": "head.projection", "torchvision": "head.1"}


def published_names(naming: str) -> set[str]:
    """Names in the published files, classifier included, written out from their layout."""
    last = [f"{layer}.{p}" for layer in ("norm", HEAD[naming]) for p in ("weight", "bias")]
    blocks = [f"blocks.{index}.{name}" for index in range(16) for name in BLOCK[naming]]
    wider = [f"blocks.{i}.{WIDER[naming]}.{p}" for i in (1, 3, 14) for p in ("weight", "bias")]
    return {*OUTER[naming], *blocks, *wider, *last}


def as_pyslowfast(model: MViT) -> dict[str, Tensor]:
    """Write a model's weights as PySlowFast would, with a classifier."""
    width = model.out_channels
    head = {
        "head.projection.weight": torch.randn(400, width),
        "head.projection.bias": torch.zeros(400),
    }
    return {**{name: value.clone() for name, value in model.state_dict().items()}, **head}


def as_torchvision(model: MViT) -> dict[str, Tensor]:
    """Write a model's weights as torchvision's `mvit_v2_s` would, with a classifier."""
    result: dict[str, Tensor] = {}
    for name, value in as_pyslowfast(model).items():
        if name == "cls_token":
            result["pos_encoding.class_token"] = value.flatten()
            continue
        name = name.replace("patch_embed.proj", "conv_proj").replace("head.projection", "head.1")
        name = name.replace("attn.proj.", "attn.project.0.")
        name = re.sub(r"^(blocks\.\d+)\.proj\.", r"\1.project.", name)
        name = re.sub(r"attn\.pool_([qkv])\.", r"attn.pool_\1.pool.", name)
        name = re.sub(r"attn\.norm_([qkv])\.", r"attn.pool_\1.norm_act.0.", name)
        name = name.replace("mlp.fc1.", "mlp.0.").replace("mlp.fc2.", "mlp.3.")
        result[name] = value
    return result


WRITERS: dict[str, Callable[[MViT], dict[str, Tensor]]] = {
    "pyslowfast": as_pyslowfast,
    "torchvision": as_torchvision,
}


def random_model(seed: int, **overrides: object) -> MViT:
    """Build a tiny MViTv2 whose every parameter matters."""
    torch.manual_seed(seed)
    model = MViTConfig(**{**TINY, **overrides}).build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def saved(tmp_path: Path, payload: Mapping[str, object]) -> Path:
    path = tmp_path / "weights.pyth"
    torch.save(dict(payload), path)
    return path


@pytest.mark.parametrize("naming", WRITERS)
def test_written_names_are_the_published_ones(naming: str) -> None:
    with torch.device("meta"):
        model = MViTConfig.published().build()
        assert set(WRITERS[naming](model)) == published_names(naming)
    assert len(published_names(naming)) == 397


@pytest.mark.parametrize(
    "nest",
    [
        pytest.param(lambda w: w, id="plain"),
        pytest.param(
            lambda w: {"epoch": 200, "cfg": "TRAIN: ...", "model_state": w}, id="model_state"
        ),
        pytest.param(lambda w: {"state_dict": w}, id="state_dict"),
        pytest.param(lambda w: {"model": w, "scaler": None}, id="model"),
        pytest.param(lambda w: {f"module.{k}": v for k, v in w.items()}, id="data-parallel"),
    ],
)
@pytest.mark.parametrize("naming", WRITERS)
def test_both_namings_give_the_same_features(
    naming: str, nest: Callable[[dict[str, Tensor]], dict[str, object]], tmp_path: Path
) -> None:
    source, target = random_model(1), random_model(2)
    report = load_pretrained(target, saved(tmp_path, nest(WRITERS[naming](source))))
    clip = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(
            target.forward_tokens(clip), source.forward_tokens(clip), strict=True
        ):
            assert ours is not None
            assert theirs is not None
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert report.naming == naming
    assert report.loaded == len(source.state_dict())
    assert report.interpolated == ()
    head = "head.projection" if naming == "pyslowfast" else "head.1"
    assert set(report.dropped) >= {head + ".weight", head + ".bias"}
    assert f"dropped {head}.weight, {head}.bias" in str(report)


@pytest.mark.parametrize("naming", WRITERS)
def test_weights_arrive_unchanged(naming: str, tmp_path: Path) -> None:
    source, target = random_model(1), random_model(2)
    load_pretrained(target, saved(tmp_path, WRITERS[naming](source)))
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name


@pytest.mark.parametrize("naming", WRITERS)
def test_detector_drops_the_class_token_and_says_so(naming: str, tmp_path: Path) -> None:
    source, target = random_model(1), random_model(2, cls_token=False)
    report = load_pretrained(target, saved(tmp_path, WRITERS[naming](source)))
    assert "cls_token" in report.dropped
    assert torch.equal(target.patch_embed.proj.weight, source.patch_embed.proj.weight)


def test_position_tables_are_dropped_where_the_model_has_none(tmp_path: Path) -> None:
    source = random_model(1)
    target = random_model(2, rel_pos_spatial=False, rel_pos_temporal=False)
    report = load_pretrained(target, saved(tmp_path, as_pyslowfast(source)))
    assert sum("rel_pos" in name for name in report.dropped) == 9


def test_position_tables_follow_another_input_size(tmp_path: Path) -> None:
    source, target = random_model(1), random_model(2, height=96, width=128, num_frames=8)
    report = load_pretrained(target, saved(tmp_path, as_torchvision(source)))
    assert len(report.interpolated) == 9
    assert "9 position tables interpolated" in str(report)
    for name in report.interpolated:
        table = target.state_dict()[name]
        expected = resize_table(source.state_dict()[name], table.shape[0])
        assert table.shape[0] > source.state_dict()[name].shape[0]
        torch.testing.assert_close(table, expected)


def test_separate_projections_are_joined(tmp_path: Path) -> None:
    source, target = random_model(1), random_model(2)
    weights = as_pyslowfast(source)
    for index in range(3):
        for kind in ("weight", "bias"):
            name = f"blocks.{index}.attn.qkv.{kind}"
            for part, value in zip("qkv", weights.pop(name).chunk(3), strict=True):
                weights[f"blocks.{index}.attn.{part}.{kind}"] = value.clone()
    load_pretrained(target, saved(tmp_path, {"model_state": weights}))
    assert torch.equal(target.state_dict()["blocks.1.attn.qkv.weight"],
                       source.state_dict()["blocks.1.attn.qkv.weight"])  # fmt: skip


def test_heads_of_a_detector_are_left_alone(tmp_path: Path) -> None:
    tiny = {key: value for key, value in TINY.items() if key != "cls_token"}
    detector = build_model("small", num_classes=3, seed=0, **tiny)
    before = {name: value.clone() for name, value in detector.heads.state_dict().items()}
    load_pretrained(detector, saved(tmp_path, as_pyslowfast(random_model(1))))
    assert all(torch.equal(detector.heads.state_dict()[name], before[name]) for name in before)


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda weights: weights.pop(name)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        pytest.param(
            without("blocks.2.mlp.fc1.bias"), ArtifactMismatchError,
            r"1 missing \(blocks.2.mlp.fc1.bias\)", id="missing",
        ),
        pytest.param(
            without("cls_token"), ArtifactMismatchError, r"1 missing \(cls_token\)", id="no-cls"
        ),
        pytest.param(
            lambda w: w.update(pos_embed_spatial=torch.zeros(1, 4, 8)), ArtifactMismatchError,
            r"1 unknown \(pos_embed_spatial\)", id="mvit-v1",
        ),
        pytest.param(
            lambda w: w.update({"norm.weight": torch.zeros(9)}), ArtifactMismatchError,
            r"norm.weight is \(9,\), expected \(16,\)", id="shape",
        ),
        pytest.param(
            lambda w: w.update({"norm.weight": torch.zeros(16, dtype=torch.int64)}),
            ArtifactMismatchError, "norm.weight is .*int64", id="integers",
        ),
        pytest.param(
            lambda w: w.update({"blocks.0.attn.rel_pos_h": torch.zeros(5, 7)}),
            ArtifactMismatchError, "rel_pos_h is", id="table-of-another-width",
        ),
        pytest.param(
            lambda w: w.update({"blocks.0.attn.rel_pos_h": torch.zeros(0, 8)}),
            ArtifactMismatchError, "rel_pos_h is", id="empty-table",
        ),
        pytest.param(
            lambda w: w["norm.bias"].fill_(float("inf")), ArtifactError,
            "NaN or infinity in norm.bias", id="infinite",
        ),
        pytest.param(
            without("patch_embed.proj.weight"), ArtifactMismatchError,
            "not a published MViTv2.*first names are", id="other-network",
        ),
        pytest.param(lambda w: w.update(x=3), ArtifactError, "named tensors only", id="number"),
        pytest.param(lambda w: w.clear(), ArtifactError, "no weights", id="no-weights"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_and_nothing_is_copied(
    edit: Callable[[dict[str, Any]], object], error: type[Exception], message: str, tmp_path: Path
) -> None:
    target = random_model(2)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    weights = as_pyslowfast(random_model(1))
    edit(weights)
    with pytest.raises(error, match=message):
        load_pretrained(target, saved(tmp_path, {"model_state": weights}))
    assert all(torch.equal(target.state_dict()[name], before[name]) for name in before)


class Payload:
    """Would make a folder if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    weights = as_pyslowfast(random_model(1))
    path = saved(tmp_path, {"model_state": weights, "cfg": Payload(proof)})
    with pytest.raises(ArtifactError, match="asks to run code while it loads"):
        load_pretrained(random_model(2), path)
    assert not proof.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"<html>404 not found</html>", "not a .*checkpoint", id="a-web-page"),
        pytest.param(None, "no checkpoint at", id="missing"),
    ],
)
def test_files_that_are_none_are_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        load_pretrained(random_model(2), path)


def test_our_own_checkpoint_is_sent_to_its_own_loader(tmp_path: Path) -> None:
    path = saved(tmp_path, {"format": "bmvit-edge", "state_dict_of": "x"})
    with pytest.raises(ArtifactMismatchError, match="load_checkpoint"):
        load_pretrained(random_model(2), path)


def test_compact_variants_have_no_published_weights(tmp_path: Path) -> None:
    path = saved(tmp_path, as_pyslowfast(random_model(1)))
    with pytest.raises(ConfigError, match="variant 'small'"):
        load_pretrained(build_model("pico", num_classes=2, seed=0), path)


@pytest.mark.slow
def test_features_equal_torchvision_s(tmp_path: Path) -> None:
    try:
        from torchvision.models.video import mvit_v2_s
    except (ImportError, RuntimeError) as error:  # RuntimeError: built for another torch
        pytest.skip(f"torchvision cannot be imported here: {error}")
    torch.manual_seed(0)
    reference = mvit_v2_s(weights=None).eval()
    path = tmp_path / "mvit_v2_s.pth"
    torch.save(reference.state_dict(), path)
    normed: list[Tensor] = []
    reference.norm.register_forward_hook(lambda _m, _i, out: normed.append(out))
    model = MViTConfig.published().build().eval()
    load_pretrained(model, path)
    clip = torch.randn(1, 3, 16, 224, 224)
    with torch.no_grad():
        reference(clip)
        tokens, cls_token = model.forward_tokens(clip)
    torch.testing.assert_close(tokens, normed[0][:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(cls_token, normed[0][:, 0], rtol=0, atol=1e-4)
