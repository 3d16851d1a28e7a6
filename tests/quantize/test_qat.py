"""Training rounds as the export rounds, and what it learns survives the export."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx import GraphModule

from runtime.errors import ExportError
from runtime.types import ClipSpec

pytest.importorskip("executorch", reason="executorch is not installed")

from torchao.quantization.pt2e import HistogramObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from edge.model.bmvit import BMViT
from edge.model.checkpoint import load_checkpoint
from edge.model.variants import build_model
from edge.training.targets import Normalize, collate
from quantize import qat
from quantize.fake import FakeQuantizedActivation, FakeQuantizedPerChannelWeight
from quantize.folding import folded_weights
from quantize.graph import export_graph, head_output_layers, quiet_tools
from quantize.ptq import quantize_static
from quantize.qat import OUTPUTS, QatConfig, QatModel, QatWrapper, rounded_places
from quantize.relu6 import relu6_to_relu
from quantize.rewrite import rewrite_for_export
from quantize.schemes import XNNPACK_INT8, build_quantizer
from runtime.errors import ConfigError
from tests.edge.moving_squares import MovingSquares
from tests.export.conftest import stem_model

torch.set_num_threads(1)

CONFIG = QatConfig(freeze_ranges=0.5, freeze_norms=0.0)


@pytest.fixture(scope="module")
def clips() -> Tensor:
    """Return 200 clips (B, 3, T, H, W) of squares."""
    shape = ClipSpec(num_frames=4, height=64, width=64, sampling_rate=1, fps=10.0)
    data = MovingSquares(shape, length=200)
    normalize = Normalize(tiny_model().config, torch.device("cpu"))
    return normalize(collate([data[i] for i in range(len(data))]).frames)


def tiny_model() -> BMViT:
    """Return a compact model of two blocks for clips of 4 x 64 x 64."""
    return build_model(
        "nano-scratch", num_classes=2, seed=0, num_frames=4, height=64, width=64,
        channels=(16, 32), depths=(1, 1), head_channels=16, strides=(2,), kv_strides=(4, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(clips: Tensor) -> BMViT:
    """Return it with statistics of these clips, and MLPs whose weights int8 can hardly tell apart.

    The scale of a weight or activation has a floor, 2^-12: below 0.03 there are fewer than 255
    levels. The float network is the same with small hidden values and large weights behind them.
    """
    found = tiny_model().train()
    with torch.no_grad():
        for start in range(0, 160, 32):
            for _ in range(4):
                found(clips[start : start + 32])
        for head in (found.heads.box, found.heads.actor, found.heads.actions):
            head.last.weight.mul_(20)
        for block in found.backbone.blocks:
            first, _, second = block.mlp
            second.norm.weight.mul_(5)
            first.norm.weight.mul_(0.002)
            first.norm.bias.mul_(0.002)
            second.conv.weight.div_(0.002)
    return found.eval()


@pytest.fixture(scope="module")
def wrapped(model: BMViT) -> QatModel:
    return QatModel(copy.deepcopy(model), CONFIG)


@pytest.fixture
def trained(wrapped: QatModel) -> QatModel:
    return copy.deepcopy(wrapped)


def shipped(
    model: BMViT, clips: Tensor, calibration: Tensor, *, keep_means: bool = True
) -> list[Tensor]:
    """Return the answers of the graph that the export would lower, clip by clip."""
    one = clips[:1].transpose(1, 2)
    with quiet_tools(), torch.no_grad():
        graph = quantize_static(
            export_graph(model, one),
            (clip[None].transpose(1, 2) for clip in calibration),
            scheme=XNNPACK_INT8,
            float_names=head_output_layers(model),
            keep_means=keep_means,
        )
        return answers(graph, clips)


def answers(graph: torch.nn.Module, clips: Tensor) -> list[Tensor]:
    rows = [graph(clip[None].transpose(1, 2)) for clip in clips]
    return [torch.cat(output) for output in zip(*rows, strict=True)]


def errors(found: list[Tensor], truth: dict[str, Tensor]) -> list[float]:
    return [
        float((value - truth[name]).abs().mean())
        for name, value in zip(OUTPUTS, found, strict=True)
    ]


@pytest.mark.parametrize("axis", [0, 1], ids=["convolution", "transposed"])
@pytest.mark.parametrize("largest", [3.0, 0.01], ids=["ordinary", "below the smallest scale"])
def test_weights_are_rounded_as_by_the_exports_observer(largest: float, axis: int) -> None:
    spec = {"dtype": torch.int8, "quant_min": -127, "quant_max": 127, "eps": 2**-12}
    observer = PerChannelMinMaxObserver(qscheme=torch.per_channel_symmetric, ch_axis=axis, **spec)
    weight = torch.randn(6, 4, 3, 3) * largest / 3
    observer(weight)
    scale, zero = observer.calculate_qparams()
    expected = torch.fake_quantize_per_channel_affine(weight, scale, zero.int(), axis, -127, 127)
    fake = FakeQuantizedPerChannelWeight(qscheme=torch.per_channel_symmetric, ch_axis=axis, **spec)
    assert torch.equal(fake(weight), expected)


@pytest.mark.parametrize("shift", [-5.0, 0.0, 5.0], ids=["negative", "both", "positive"])
def test_activations_are_rounded_as_by_an_observer_of_their_range(shift: float) -> None:
    spec = {"dtype": torch.int8, "quant_min": -128, "quant_max": 127, "eps": 2**-12}
    x = torch.randn(4, 8, 6, 6) + shift
    observer = HistogramObserver(qscheme=torch.per_tensor_affine, **spec)
    observer.min_val, observer.max_val = torch.aminmax(x)
    scale, zero = observer._calculate_qparams(observer.min_val, observer.max_val)
    expected = torch.fake_quantize_per_tensor_affine(x, float(scale), int(zero), -128, 127)
    fake = FakeQuantizedActivation(qscheme=torch.per_tensor_affine, **spec)
    fake.observing = True
    assert torch.allclose(fake(x), expected, atol=1e-6)
    fake(10 * x)
    low, high = torch.aminmax(x)
    assert float(fake.high - fake.low) == pytest.approx(5.5 * float(high - low)), "the mean of both"
    fake.observing = False
    fake(100 * x)
    assert int(fake.seen) == 2


@pytest.mark.parametrize("count", [1, 5])
def test_without_rounding_it_is_the_float_model(
    trained: QatModel, model: BMViT, clips: Tensor, count: int
) -> None:
    for quantizer in trained.quantizers():
        quantizer.enabled = False
    with torch.no_grad():
        found, truth = trained.eval()(clips[:count]), model(clips[:count])
    for name in OUTPUTS:
        assert torch.allclose(found[name], truth[name], atol=1e-5), name


def test_with_the_ranges_of_the_export_it_is_the_exported_graph(
    trained: QatModel, model: BMViT, clips: Tensor
) -> None:
    quantizer = build_quantizer(XNNPACK_INT8, head_output_layers(model))
    held = clips[160:176]
    with quiet_tools(), torch.no_grad():
        prepared = prepare_pt2e(export_graph(model, held[:1].transpose(1, 2)), quantizer)
        answers(prepared, clips[:16])
        give_ranges(trained, prepared)
        expected = answers(convert_pt2e(prepared), held)
        found, truth = trained.eval()(held), model(held)
    lost = errors(expected, truth)
    for name, value, loss in zip(OUTPUTS, expected, lost, strict=True):
        # A sum in another order turns a rounding here and there; the rest is equal.
        difference = (found[name] - value).abs()
        assert float((difference < 1e-5).float().mean()) > 0.5, name
        assert float(difference.mean()) < 0.1 * loss, name


def give_ranges(trained: QatModel, prepared: GraphModule) -> None:
    """Copy the ranges that the export's observers found."""
    (mine, _), (theirs, _) = rounded_places(trained.graph), rounded_places(prepared)
    for one, other in zip(mine, theirs, strict=True):
        scale, zero = prepared.get_submodule(str(other.target)).calculate_qparams()
        fake = trained.graph.get_submodule(str(one.target))
        assert isinstance(fake, FakeQuantizedActivation)
        fake.low.copy_(((-128 - zero) * scale).squeeze())
        fake.high.copy_(((127 - zero) * scale).squeeze())


def test_training_makes_up_for_what_int8_loses(
    trained: QatModel, model: BMViT, clips: Tensor
) -> None:
    """The task: to answer as the float network does, on clips that were not trained on."""
    steps, held, calibration = 80, clips[160:], clips[:32]
    with torch.no_grad():
        truth, goal = model(held), model(clips[:160])
    before = errors(shipped(model, held, calibration, keep_means=False), truth)
    corrected = errors(shipped(model, held, calibration), truth)
    form = QatWrapper(CONFIG)
    optimizer = torch.optim.Adam(trained.train().parameters(), lr=1e-4)
    for step, rows in zip(range(steps), batches(160), strict=False):
        form.at_step(trained, step, steps)
        optimizer.param_groups[0]["lr"] = 1e-4 * (1 - step / steps)
        found = trained(clips[rows])
        loss = sum(((found[n] - goal[n][rows]) / goal[n].std()).pow(2).mean() for n in OUTPUTS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = errors(shipped(trained.model, held, calibration, keep_means=False), truth)
    assert np.all(np.array(after) < 0.9 * np.array(before)), (before, after)
    # What costs no training is better than nothing, and training is better than that.
    assert np.all(np.array(corrected) < before), (before, corrected)
    assert np.all(np.array(after) < corrected), (corrected, after)


def batches(count: int) -> Iterator[Tensor]:
    random = torch.Generator().manual_seed(0)
    while True:
        yield torch.randperm(count, generator=random)[:16]


def test_ranges_and_statistics_freeze_when_they_are_due(trained: QatModel, clips: Tensor) -> None:
    form = QatWrapper(QatConfig(freeze_ranges=0.5, freeze_norms=0.25))
    norm = trained.model.backbone.neck.norm
    ranges = [q for q in trained.quantizers() if isinstance(q, FakeQuantizedActivation)]
    seen, means = [], []
    trained.train()
    for step in range(4):
        form.at_step(trained, step, 4)
        with torch.no_grad():
            trained(clips[:4])
        seen.append(int(ranges[0].seen))
        means.append(norm.running_mean.clone())
    assert seen == [1, 2, 2, 2]
    assert torch.equal(means[0], means[3])
    trained.eval()(clips[:4])
    assert int(ranges[0].seen) == 2


def test_statistics_follow_the_batches_until_then(trained: QatModel, clips: Tensor) -> None:
    before = trained.model.backbone.neck.norm.running_mean.clone()
    form = QatWrapper(QatConfig(freeze_norms=1.0))
    trained.train()
    form.at_step(trained, 0, 2)
    with torch.no_grad():
        trained(clips[:4])
    assert not torch.equal(before, trained.model.backbone.neck.norm.running_mean)
    assert not trained.model.backbone.neck.norm.training


def test_it_is_saved_as_an_ordinary_checkpoint(trained: QatModel, tmp_path: Path) -> None:
    form = QatWrapper(CONFIG)
    form.save(tmp_path / "q.pt", trained, class_names=("a", "b"), note="step 3")
    loaded = load_checkpoint(tmp_path / "q.pt")
    assert "xnnpack-int8" in loaded.note
    mine = trained.model.state_dict()
    assert all(torch.equal(mine[n], value) for n, value in loaded.model.state_dict().items())
    with pytest.raises(ConfigError, match="QatModel"):
        form.save(tmp_path / "p.pt", trained.model, class_names=("a", "b"), note="")


def test_the_folded_weights_are_those_of_the_export(model: BMViT) -> None:
    found, exported = folded_weights(model), rewrite_for_export(model)
    names = [name for name, _ in exported.named_parameters()]
    assert len(names) > 40
    for name, value in exported.named_parameters():
        assert torch.equal(found[name], value), name
    found["backbone.neck.conv.weight"].sum().backward()
    assert model.backbone.neck.norm.weight.grad is not None
    model.zero_grad()


# --- a model on a pretrained stem ---


@pytest.fixture(scope="module")
def on_stem() -> BMViT:
    return stem_model(num_classes=2)


@pytest.fixture(scope="module")
def stem_clips(on_stem: BMViT) -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn(12, *on_stem.config.clip_shape[1:], generator=random)


@pytest.fixture(scope="module")
def wrapped_stem(on_stem: BMViT) -> QatModel:
    return QatModel(copy.deepcopy(on_stem), CONFIG)


def test_the_folded_weights_of_a_stem_are_those_of_the_export(on_stem: BMViT) -> None:
    found, exported = folded_weights(on_stem), rewrite_for_export(on_stem)
    for name, value in exported.named_parameters():
        assert torch.equal(found[name], value), name
    wider = found["backbone.stem.first.conv.weight"]
    assert wider.shape[2:] == (4, 4)
    assert not wider[:, :, 0].any()
    wider.sum().backward()
    assert on_stem.backbone.stem.first.conv.weight.grad is not None
    on_stem.zero_grad()


def test_a_stem_rounds_in_training_where_the_export_rounds(
    on_stem: BMViT, wrapped_stem: QatModel, stem_clips: Tensor
) -> None:
    trained = copy.deepcopy(wrapped_stem)
    held = stem_clips[6:]
    quantizer = build_quantizer(XNNPACK_INT8, head_output_layers(on_stem))
    with quiet_tools(), torch.no_grad():
        for fake in trained.quantizers():
            fake.enabled = False
        plain, truth = trained.eval()(held), on_stem(held)
        for fake in trained.quantizers():
            fake.enabled = True
        prepared = prepare_pt2e(export_graph(on_stem, held[:1].transpose(1, 2)), quantizer)
        answers(prepared, stem_clips[:6])
        give_ranges(trained, prepared)
        converted = convert_pt2e(prepared)
        expected, found = answers(converted, held), [trained(clip[None]) for clip in held]
        assert relu6_to_relu(converted) == 34
        assert all(
            torch.equal(a, b) for a, b in zip(answers(converted, held), expected, strict=True)
        )
    for name, value, loss in zip(OUTPUTS, expected, errors(expected, truth), strict=True):
        assert torch.allclose(plain[name], truth[name], atol=1e-4), name
        difference = (torch.cat([one[name] for one in found]) - value).abs()
        # A sum in another order turns a rounding here and there, which grows through 70 layers;
        # clips without one are equal.
        assert float((difference.flatten(1).amax(1) < 1e-4).float().mean()) >= 0.5, name
        assert float(difference.mean()) < 0.5 * loss, name


def test_ranges_behind_a_relu6_end_at_six(wrapped_stem: QatModel, stem_clips: Tensor) -> None:
    trained = copy.deepcopy(wrapped_stem).train()
    with quiet_tools(), torch.no_grad():
        trained(stem_clips[:4])
    places, _ = rounded_places(trained.graph)
    behind = [place for place in places if "relu6" in str(place.args[0].target)]
    assert len(behind) == 34, "each ReLU6 of the stem"
    assert not any(
        user.target == torch.ops.aten.relu6.default for place in places for user in place.users
    ), "nothing is rounded before it"
    fakes = [trained.graph.get_submodule(str(place.target)) for place in behind]
    assert all(float(fake.low) == 0.0 for fake in fakes)
    assert all(0.0 < float(fake.high) <= 6.0 for fake in fakes)
    assert sum(float(fake.high) == 6.0 for fake in fakes) > 3, "the clips reach it"


def test_a_network_that_would_be_rounded_elsewhere_is_refused(
    model: BMViT, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Empty:
        graph = torch.fx.Graph()

    monkeypatch.setattr(qat, "rounded_places", lambda graph: ([], []) if graph is Empty else nodes)
    graph = torch.fx.Graph()
    nodes = ([graph.call_module("fake", (graph.placeholder("clip"),))], [])
    with pytest.raises(ExportError, match="in training the clip would be rounded, on the device n"):
        qat.round_alike(GraphModule({"fake": torch.nn.Identity()}, graph), Empty)


def test_only_compact_variants_are_trained() -> None:
    with pytest.raises(ConfigError, match="'small'"):
        QatModel(build_model("small", num_classes=2), CONFIG)


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_a_share_of_the_steps_is_between_zero_and_one(value: float) -> None:
    with pytest.raises(ConfigError, match="freeze_ranges"):
        QatConfig(freeze_ranges=value)


def test_ranges_of_training_are_refused() -> None:
    fake = FakeQuantizedActivation(
        dtype=torch.int8, quant_min=-128, quant_max=127, qscheme=torch.per_tensor_affine, eps=1e-6
    )
    with pytest.raises(ExportError, match="export the trained weights"):
        fake.calculate_qparams()
