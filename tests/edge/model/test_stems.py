"""Pretrained stems: the published network exactly, cut anywhere, and padded as engines pad."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edge.model.stem_weights import (
    StemFile,
    convert_onnx,
    convert_published,
    load_stem,
    read_stem,
    save_stem,
    stem_digest,
)
from edge.model.stems import TAP_STRIDES, FrameStem
from runtime.errors import ArtifactError, ArtifactMismatchError, ConfigError

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"
MOVENET = SHARED / "pretrained" / "movenet_lightning_192.onnx"
RELEASED = Path(__file__).resolve().parents[3] / "weights" / "stems"

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def random_stem() -> FrameStem:
    torch.manual_seed(0)
    return FrameStem("mobilenet_v2", taps=TAP_STRIDES).eval()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "channels"),
    [("mobilenet_v2", (32, 96, 320)), ("efficientnet_lite0", (40, 112, 320))],
)
def test_taps_have_the_strides_and_widths_of_the_published_network(name, channels):
    stem = FrameStem(name, taps=TAP_STRIDES).eval()
    with torch.no_grad():
        taps = stem(torch.zeros(1, 3, 64, 96))
    expected = [(1, c, 64 // s, 96 // s) for c, s in zip(channels, TAP_STRIDES, strict=True)]
    assert [tuple(tap.shape) for tap in taps] == expected


def test_blocks_behind_the_last_tap_are_not_built():
    short, whole = (FrameStem("mobilenet_v2", taps=taps) for taps in ((8, 16), TAP_STRIDES))
    assert len(short.blocks) == 13
    assert len(whole.blocks) == 17
    assert set(short.state_dict()) < set(whole.state_dict())


@pytest.mark.parametrize("cut", [1, 6, 10, 13, 16, 17])
def test_lower_and_upper_part_are_the_whole(random_stem, frames, cut):
    with torch.no_grad():
        whole = random_stem(frames)
        parts = random_stem.upper(random_stem.lower(frames, cut), cut)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_even_padding_gives_the_same_features(frames):
    torch.manual_seed(1)
    stem = FrameStem("mobilenet_v2", taps=TAP_STRIDES).eval()
    with torch.no_grad():
        before = stem(frames)
        stem.fold_()
        after = stem(frames)
    assert not any(isinstance(m, torch.nn.Conv2d) and m.padding == (0, 0) and m.stride == (2, 2)
                   for m in stem.modules())  # fmt: skip
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "taps", "words"),
    [
        pytest.param("mobilenet_v3", (8, 16), "unknown stem 'mobilenet_v3'", id="name"),
        pytest.param("mobilenet_v2", (16, 8), "rising", id="order"),
        pytest.param("mobilenet_v2", (4,), r"of \(8, 16, 32\)", id="stride"),
    ],
)
def test_what_is_not_known_is_refused(name, taps, words):
    with pytest.raises(ConfigError, match=words):
        FrameStem(name, taps=taps)


def _file(stem: FrameStem) -> StemFile:
    return StemFile(
        name=stem.name, width=stem.width, source="test", licence="none", weights=stem.state_dict()
    )


def test_a_saved_stem_is_loaded_to_float16s_precision(tmp_path, random_stem):
    path = tmp_path / "stem.pt"
    save_stem(path, _file(random_stem))
    other = FrameStem("mobilenet_v2", taps=TAP_STRIDES)
    found = load_stem(other, path)
    assert (found.source, found.licence) == ("test", "none")
    for name, weight in other.state_dict().items():
        expected = random_stem.state_dict()[name].half().float()
        torch.testing.assert_close(weight, expected, rtol=0, atol=0)


def test_a_stem_of_another_width_is_refused(tmp_path, random_stem):
    path = tmp_path / "stem.pt"
    save_stem(path, _file(random_stem))
    wide = FrameStem("mobilenet_v2", width=1.5, taps=(8, 16))
    before = stem_digest(wide, 13)
    with pytest.raises(ArtifactMismatchError, match=r"width 1; the model has .* width 1\.5"):
        load_stem(wide, path)
    assert stem_digest(wide, 13) == before


def test_files_that_are_no_stem_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="no checkpoint"):
        read_stem(tmp_path / "nothing.pt")
    path = tmp_path / "other.pt"
    torch.save({"format": "something", "schema_version": 1}, path)
    with pytest.raises(ArtifactMismatchError, match="is no stem of this program"):
        read_stem(path)


def test_the_digest_is_of_the_weights_before_the_cut():
    torch.manual_seed(0)
    stem = FrameStem("mobilenet_v2", taps=(8, 16))
    before = stem_digest(stem, 10)
    with torch.no_grad():
        stem.blocks[10].project.conv.bias += 1
    assert stem_digest(stem, 10) == before
    with torch.no_grad():
        stem.blocks[0].project.conv.bias[0] = 0.0
        zero = stem_digest(stem, 10)
        stem.blocks[0].project.conv.bias[0] = -0.0
    assert stem_digest(stem, 10) == zero
    with torch.no_grad():
        stem.blocks[9].project.conv.bias += 1
    assert stem_digest(stem, 10) != zero


def test_an_onnx_file_without_such_layers_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    node = helper.make_node("Relu", ["x"], ["y"])
    value = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    model = helper.make_model(helper.make_graph([node], "g", value[:1], value[1:]))
    onnx.save(model, str(tmp_path / "m.onnx"))
    with pytest.raises(ArtifactMismatchError, match="no layers named as Keras"):
        convert_onnx(tmp_path / "m.onnx", licence="none")
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 100)
    with pytest.raises(ArtifactError, match="no ONNX file"):
        convert_onnx(tmp_path / "broken.onnx", licence="none")


@pytest.mark.skipif(not MOVENET.is_file(), reason="../shared/data/pretrained is not here")
def test_the_stem_is_the_published_network_on_real_frames():
    onnxruntime = pytest.importorskip("onnxruntime")
    import cv2

    stem = FrameStem("mobilenet_v2", taps=TAP_STRIDES).eval()
    stem.load_state_dict(convert_onnx(MOVENET, licence="Apache-2.0").weights)
    folded = FrameStem("mobilenet_v2", taps=TAP_STRIDES).eval()
    folded.load_state_dict(stem.state_dict())
    folded.fold_()
    session = onnxruntime.InferenceSession(str(MOVENET), providers=["CPUExecutionProvider"])
    names = ["block_5_add", "block_12_add", "block_16_project_BN"]
    capture = cv2.VideoCapture(str(SHARED / "videos" / "juggle.mp4"))
    for _ in range(2):
        _, frame_bgr = capture.read()
        image = cv2.resize(frame_bgr[..., ::-1], (192, 192)).astype(np.float32)
        image = np.ascontiguousarray(image.transpose(2, 0, 1)[None])
        expected = session.run(names, {"image": image})
        scaled = torch.from_numpy(image) / 127.5 - 1
        with torch.no_grad():
            for model in (stem, folded):
                for one, other in zip(model(scaled), expected, strict=True):
                    torch.testing.assert_close(one, torch.from_numpy(other), rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(not MOVENET.is_file(), reason="../shared/data/pretrained is not here")
def test_the_released_stem_is_the_published_file_in_float16():
    released = read_stem(RELEASED / "mobilenet_v2-movenet-lightning.pt")
    published = convert_onnx(MOVENET, licence="Apache-2.0")
    assert released.source == published.source
    assert released.licence == "Apache-2.0"
    assert released.weights.keys() == published.weights.keys()
    for name, weight in published.weights.items():
        torch.testing.assert_close(released.weights[name], weight.half().float(), rtol=0, atol=0)


def lite0_state() -> dict[str, torch.Tensor]:
    """Return a state dict with EfficientNet-Lite0's names and random numbers."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {"_fc.weight": torch.zeros(2, 2)}
    for name, conv in FrameStem("efficientnet_lite0", taps=TAP_STRIDES).convolutions():
        block, layer = name.split(".")[1:3] if name.startswith("blocks") else ("", "")
        norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}.get(layer, "_bn0")
        start = f"_blocks.{block}." if block else ""
        state[f"{start}_{layer}_conv.weight" if block else "_conv_stem.weight"] = torch.randn(
            conv.weight.shape, generator=generator
        )
        for part in ("weight", "bias", "running_mean", "running_var"):
            value = torch.rand(conv.out_channels, generator=generator) + 0.5
            state[f"{start}{norm}.{part}"] = value
    return state


def test_efficientnet_lite0s_norms_and_pixels_are_folded(tmp_path):
    state = lite0_state()
    torch.save(state, tmp_path / "lite0.pth")
    stem = FrameStem("efficientnet_lite0", taps=TAP_STRIDES).eval()
    stem.load_state_dict(convert_published(tmp_path / "lite0.pth", licence="x").weights)
    pixels = torch.randint(0, 256, (1, 3, 32, 32)).float()

    def normed(value: torch.Tensor, name: str) -> torch.Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.nn.functional.batch_norm(value, mean, variance, weight, bias, eps=1e-3)

    published = torch.nn.functional.conv2d(
        torch.nn.functional.pad((pixels - 127) / 128, (0, 1, 0, 1)),
        state["_conv_stem.weight"], stride=2,
    )  # fmt: skip
    published = normed(published, "_bn0")
    mine = stem.first(pixels / 127.5 - 1)
    # The last row and column see the border, which is 127 there and 127.5 here.
    torch.testing.assert_close(mine[..., :-1, :-1], published[..., :-1, :-1], rtol=1e-4, atol=1e-4)
    x = torch.randn(1, 32, 8, 8)
    block = stem.blocks[0]
    depthwise = torch.nn.functional.conv2d(
        x, state["_blocks.0._depthwise_conv.weight"], padding=1, groups=32
    )
    hidden = torch.nn.functional.relu6(normed(depthwise, "_blocks.0._bn1"))
    expected = normed(
        torch.nn.functional.conv2d(hidden, state["_blocks.0._project_conv.weight"]),
        "_blocks.0._bn2",
    )
    torch.testing.assert_close(block(x), expected, rtol=1e-3, atol=1e-3)


def test_a_state_dict_that_lacks_a_layer_is_refused(tmp_path):
    state = lite0_state()
    del state["_blocks.7._bn1.bias"]
    torch.save(state, tmp_path / "lite0.pth")
    with pytest.raises(ArtifactMismatchError, match=r"has no _blocks\.7\._bn1\.bias"):
        convert_published(tmp_path / "lite0.pth", licence="x")
