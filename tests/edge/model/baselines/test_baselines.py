"""Two-stage and DETR on our backbones: the outputs of `BMViT`, gradients, the same lowering."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.model.baselines import Detr, DetrConfig, TwoStage, TwoStageWithBoxes
from edge.model.bmvit import BMViTConfig
from edge.model.stem_mvit import StemMViTConfig
from quantize.rewrite import rewrite_for_export
from runtime.errors import ConfigError

torch.set_num_threads(1)

BACKBONE = StemMViTConfig(
    height=64, width=64, frame_channels=16, channels=(32,), depths=(1,), head_channels=16,
    kv_strides=(2,),
)  # fmt: skip
CONFIG = BMViTConfig(variant="test", backbone=BACKBONE, num_classes=3)
BOXES = torch.tensor([[0.1, 0.1, 0.6, 0.9], [0.4, 0.2, 0.9, 0.8]])


@pytest.fixture
def clips() -> torch.Tensor:
    return torch.randn(2, 3, 8, 64, 64, generator=torch.Generator().manual_seed(0))


def _detr(**changes) -> Detr:
    torch.manual_seed(0)
    return Detr(CONFIG, DetrConfig(**{"queries": 9, "heads": 2, **changes}))


def _two_stage() -> TwoStage:
    torch.manual_seed(0)
    return TwoStage(CONFIG)


@pytest.mark.parametrize("anchors", [True, False])
def test_each_query_gives_a_triplet(clips, anchors):
    found = _detr(anchors=anchors).eval()(clips)
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        "pred_boxes": (2, 9, 4),
        "pred_actor": (2, 9),
        "pred_actions": (2, 9, 3),
    }
    assert ((found["pred_boxes"] > 0) & (found["pred_boxes"] < 1)).all()


def test_anchors_begin_spread_over_the_frame(clips):
    boxes = _detr().eval()(clips)["pred_boxes"][0]
    centres = torch.cdist(boxes[:, :2], boxes[:, :2]) + torch.eye(9)
    assert centres.min() > 0.2


def test_every_weight_of_the_decoder_learns(clips):
    model = _detr().train()
    # The branches begin near zero; a layer behind them is seen at a usual scale only.
    for module in model.decoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    sum(value.square().sum() for value in model(clips).values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if name.endswith("weight")] == []


def test_queries_tell_tokens_apart_by_time_and_place(clips):
    model = _detr().eval()
    for module in model.decoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    with torch.no_grad():
        slices = list(model.backbone(clips).unbind(2))
        plain = model.decoder(slices)
        backward = model.decoder(slices[::-1])
        mirrored = model.decoder([one.flip(3) for one in slices])
    assert (plain - backward).abs().max() > 1e-3
    assert (plain - mirrored).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"queries": 0}, "queries must be at least 1", id="none"),
        pytest.param({"queries": 10}, "square grid", id="no grid"),
        pytest.param({"heads": 3}, "3 heads do not divide a width of 32", id="heads"),
    ],
)
def test_decoders_that_do_not_fit_are_refused(change, words):
    with pytest.raises(ConfigError, match=words):
        _detr(**change)


def test_boxes_give_their_own_actions(clips):
    model = _two_stage().eval()
    boxes = BOXES.expand(2, 2, 4)
    with torch.no_grad():
        found = model(clips, boxes, torch.tensor([[0.9, 0.0], [0.5, 0.2]]))
        swapped = model(clips, boxes.flip(1), torch.zeros(2, 2))
    assert tuple(found["pred_actions"].shape) == (2, 2, 3)
    torch.testing.assert_close(found["pred_actions"], swapped["pred_actions"].flip(1))
    assert (found["pred_actions"][:, 0] - found["pred_actions"][:, 1]).abs().max() > 0
    torch.testing.assert_close(found["pred_actor"].sigmoid()[1], torch.tensor([0.5, 0.2]))
    torch.testing.assert_close(found["pred_boxes"][0, 0], torch.tensor([0.35, 0.5, 0.5, 0.8]))


def test_the_two_stage_head_and_trunk_learn(clips):
    model = _two_stage().train()
    model(clips, BOXES.expand(2, 2, 4), torch.ones(2, 2))["pred_actions"].square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [name for name in without if name.endswith("weight")] == []


@pytest.mark.parametrize("kind", ["detr", "two-stage"])
def test_the_folded_copy_computes_the_same(clips, kind):
    model: torch.nn.Module = _detr() if kind == "detr" else TwoStageWithBoxes(
        _two_stage(), BOXES[None]
    )  # fmt: skip
    model.train()(clips[:1] if kind == "two-stage" else clips)  # norms leave their first values
    model.eval()
    folded = rewrite_for_export(model)
    if kind == "detr":
        assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in folded.decoder.modules())
    with torch.no_grad():
        for name, value in model(clips[:1]).items():
            torch.testing.assert_close(folded(clips[:1])[name], value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["detr", "two-stage"])
def test_xnnpack_takes_them_by_the_same_lowering(clips, kind):
    pytest.importorskip("executorch")
    from export.registry import get_target

    model = _detr() if kind == "detr" else TwoStageWithBoxes(_two_stage(), BOXES[None])
    model.eval()
    clip = np.ascontiguousarray(clips[:1].transpose(1, 2).numpy())
    exporter = get_target("xnnpack-fp32")
    artifact = exporter.lower(model, [clip])
    with exporter.open(artifact.program) as run, torch.no_grad():
        found, truth = run(clip), model(clips[:1])
    for name, value in truth.items():
        np.testing.assert_allclose(getattr(found, name), value.numpy(), rtol=1e-3, atol=1e-3)
