"""Our checkpoints: round trip, and every way a file can be wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from edge.model.bmvit import BMViT
from edge.model.checkpoint import config_from_dict, config_to_dict, load_checkpoint, save_checkpoint
from edge.model.variants import VARIANTS, build_model
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

NAMES = ["stand", "wave", "fall"]


@pytest.fixture(scope="module")
def model() -> BMViT:
    return build_model(
        "pico-scratch", num_classes=3, seed=0, height=32, width=48, token_selection="centre_mean"
    ).eval()


@pytest.fixture
def saved(model: BMViT, tmp_path: Path) -> Path:
    path = tmp_path / "sub" / "model.pt"
    save_checkpoint(path, model, class_names=NAMES, trained=False, note="random weights")
    return path


@pytest.mark.parametrize("variant", ["pico", "pico-scratch", "small"])
def test_round_trip_gives_the_same_model(variant: str, tmp_path: Path) -> None:
    extra: dict[str, Any] = {"depth": 2, "stage_starts": (1,), "q_pool_at": (1,)}
    overrides = {"height": 32, "width": 32, **(extra if variant == "small" else {})}
    model = build_model(variant, num_classes=3, seed=1, fps=25.0, **overrides).eval()
    path = tmp_path / "model.pt"
    save_checkpoint(path, model, class_names=NAMES, trained=True, note="n")
    loaded = load_checkpoint(path)
    assert loaded.config == model.config
    assert loaded.class_names == tuple(NAMES)
    assert (loaded.trained, loaded.note) == (True, "n")
    assert not loaded.model.training
    clip = torch.randn(model.config.clip_shape)
    with torch.no_grad():
        for key, value in model(clip).items():
            assert torch.equal(loaded.model(clip)[key], value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_configurations_survive_as_plain_values(variant: str) -> None:
    assert config_from_dict(config_to_dict(VARIANTS[variant])) == VARIANTS[variant]


def test_rounded_weights_are_loaded_as_floats(model: BMViT, tmp_path: Path) -> None:
    path, plain = tmp_path / "half.pt", tmp_path / "plain.pt"
    save_checkpoint(path, model, class_names=NAMES, trained=True, half=True)
    save_checkpoint(plain, model, class_names=NAMES, trained=True)
    assert path.stat().st_size < 0.65 * plain.stat().st_size
    for name, weight in load_checkpoint(path).model.state_dict().items():
        expected = model.state_dict()[name]
        assert weight.dtype == expected.dtype
        torch.testing.assert_close(weight, expected, rtol=1e-3, atol=1e-6)


def test_an_older_file_is_replaced_whole(saved: Path, model: BMViT) -> None:
    save_checkpoint(saved, model, class_names=NAMES, trained=True, note="second")
    assert load_checkpoint(saved).note == "second"
    assert [p.name for p in saved.parent.iterdir()] == ["model.pt"]


class Payload:
    """Would touch a file if it were unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.target),)


def test_code_in_a_file_never_runs(tmp_path: Path) -> None:
    target, path = tmp_path / "proof", tmp_path / "evil.pt"
    torch.save({"format": "bmvit-edge", "note": Payload(target)}, path)
    with pytest.raises(ArtifactError, match=r"evil\.pt asks to run code while it loads"):
        load_checkpoint(path)
    assert not target.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no checkpoint at", id="missing"),
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(b"epochs: 3\nlr: 0.1\n" * 20, "not a .*checkpoint", id="text"),
        pytest.param(b"PK\x03\x04" + b"\0" * 64, "not a whole checkpoint", id="broken-zip"),
        pytest.param(b"\x80\x02}q\x00(X\x01", "not a .*checkpoint", id="cut-pickle"),
    ],
)
def test_files_that_are_none_are_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        load_checkpoint(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ArtifactError, match="not a whole checkpoint"):
        load_checkpoint(saved)


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    payload = torch.load(path, weights_only=True)
    edit(payload)
    torch.save(payload, path)


@pytest.mark.parametrize(
    ("edit", "error", "message"),
    [
        pytest.param(
            lambda p: p.pop("format"), ArtifactMismatchError, "not a bmvit-edge", id="format"
        ),
        pytest.param(
            lambda p: p.update(schema_version=2),
            ArtifactMismatchError,
            "schema version 2",
            id="newer",
        ),
        pytest.param(
            lambda p: p.pop("state_dict"), ArtifactError, "no state_dict", id="no-weights"
        ),
        pytest.param(lambda p: p.pop("trained"), ArtifactError, "trained", id="no-trained"),
        pytest.param(
            lambda p: p.update(class_names="abc"), ArtifactError, "class names", id="names"
        ),
        pytest.param(
            lambda p: p.update(class_names=["a"]),
            ArtifactMismatchError,
            "3 action classes, got 1",
            id="too-few-names",
        ),
        pytest.param(
            lambda p: p["config"].update(colour="rgb"),
            ArtifactMismatchError,
            "colour",
            id="unknown-field",
        ),
        pytest.param(
            lambda p: p["config"]["backbone"].update(kind="resnet"),
            ArtifactMismatchError,
            "unknown backbone 'resnet'",
            id="backbone",
        ),
        pytest.param(
            lambda p: p["config"]["backbone"].update(channels=(96, 192, 384)),
            ArtifactMismatchError,
            r"does not fit this model: backbone.*, expected \(",
            id="other-widths",
        ),
        pytest.param(
            lambda p: p["state_dict"].pop("heads.actor.layers.0.bias"),
            ArtifactMismatchError,
            r"1 missing \(heads.actor.layers.0.bias\)",
            id="missing-key",
        ),
        pytest.param(
            lambda p: p["state_dict"].update(extra=torch.zeros(1)),
            ArtifactMismatchError,
            r"1 unknown \(extra\)",
            id="extra-key",
        ),
        pytest.param(
            lambda p: p["state_dict"]["heads.actor.layers.0.bias"].fill_(float("nan")),
            ArtifactError,
            "NaN or infinity in heads.actor.layers.0.bias",
            id="nan",
        ),
        pytest.param(
            lambda p: p["state_dict"].update(extra="text"),
            ArtifactError,
            "named tensors only",
            id="text",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(
    saved: Path, edit: Callable[[dict[str, Any]], object], error: type[Exception], message: str
) -> None:
    edited(saved, edit)
    with pytest.raises(error, match=message):
        load_checkpoint(saved)


def test_a_list_is_not_a_checkpoint(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    with pytest.raises(ArtifactError, match="holds a list, expected a dict"):
        load_checkpoint(tmp_path / "list.pt")


def test_names_must_fit_when_saving(model: BMViT, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="3 action classes, got 2"):
        save_checkpoint(tmp_path / "m.pt", model, class_names=["a", "b"], trained=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "words"),
    [(["a", "b", "a"], "twice"), (["a", "b", ""], "empty"), (["a", "b", "c\n"], "not printable")],
    ids=["twice", "empty", "line end"],
)
def test_names_that_no_bundle_takes_are_refused(
    names: list[str], words: str, model: BMViT, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        save_checkpoint(tmp_path / "m.pt", model, class_names=names, trained=False)


def test_a_place_that_cannot_be_written_is_one_sentence(model: BMViT, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ArtifactError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "m.pt", model, class_names=NAMES, trained=False)
