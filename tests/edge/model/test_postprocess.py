"""The torch post-process, and that the device's decode says exactly the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edge.model.postprocess import PostProcess
from runtime.decode import decode
from runtime.errors import ConfigError, DecodeError

SIZE = (641, 359)


def outputs_of(
    seed: int, batch: int = 2, tokens: int = 300, classes: int = 7
) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "pred_boxes": torch.rand(batch, tokens, 4, generator=generator) * 1.3,
        "pred_actor": torch.randn(batch, tokens, generator=generator) * 6,
        "pred_actions": torch.randn(batch, tokens, classes, generator=generator) * 6,
    }


@pytest.mark.parametrize("conf", [0.0, 0.05, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_equals_the_device_decode_bit_for_bit(seed: int, conf: float) -> None:
    outputs = outputs_of(seed)
    outputs["pred_actor"][:, 40:60] = outputs["pred_actor"][:, :1]  # ties
    outputs["pred_actor"][:, 60] = 0.0  # exactly one half
    for clip, result in enumerate(PostProcess(conf)(outputs, [SIZE, SIZE])):
        boxes, actor, actions = (
            outputs[key][clip].numpy() for key in ("pred_boxes", "pred_actor", "pred_actions")
        )
        device = decode(boxes, actor, actions, conf=conf, size_wh=SIZE)
        np.testing.assert_array_equal(result.token.numpy(), device.token)
        np.testing.assert_array_equal(result.xyxy.numpy(), device.xyxy)
        np.testing.assert_array_equal(result.actor.numpy(), device.actor)
        np.testing.assert_array_equal(result.actions.numpy(), device.actions)


def test_known_triplets_decode_to_known_detections() -> None:
    outputs = {
        "pred_boxes": torch.tensor([[[0.5, 0.5, 0.5, 1.0], [0.1, 0.1, 0.4, 0.4], [0.5] * 4]]),
        "pred_actor": torch.tensor([[0.0, 2.0, -5.0]]),
        "pred_actions": torch.tensor([[[0.0, 9.0], [-9.0, 0.0], [0.0, 0.0]]]),
    }
    (result,) = PostProcess(0.3)(outputs, [(200, 100)])
    assert result.token.tolist() == [1, 0]
    torch.testing.assert_close(
        result.xyxy, torch.tensor([[0.0, 0.0, 60.0, 30.0], [50.0, 0.0, 150.0, 100.0]])
    )
    torch.testing.assert_close(result.actor, torch.tensor([0.8807971, 0.5]))


def test_a_score_equal_to_the_threshold_is_not_kept() -> None:
    outputs = outputs_of(0, batch=1, tokens=1)
    outputs["pred_actor"][:] = 0.0
    assert len(PostProcess(0.5)(outputs, [SIZE])[0].token) == 0
    assert len(PostProcess(0.499)(outputs, [SIZE])[0].token) == 1


@pytest.mark.parametrize("key", ["pred_boxes", "pred_actor", "pred_actions"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=["nan", "inf"])
def test_broken_outputs_are_an_error(key: str, value: float) -> None:
    outputs = outputs_of(1)
    outputs[key].view(-1)[-1] = value
    with pytest.raises(DecodeError, match=key):
        PostProcess(0.3)(outputs, [SIZE, SIZE])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="conf"):
        PostProcess(7)
    with pytest.raises(ConfigError, match="2 clips need as many sizes"):
        PostProcess(0.5)(outputs_of(0), [SIZE])
