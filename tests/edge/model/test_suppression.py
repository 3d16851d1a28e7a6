"""Suppression between all tokens: which, by how much, and by which; one graph."""

from __future__ import annotations

import pytest
import torch

from edge.model.heads import HeadConfig
from edge.model.suppression import MOST_FALL, MOST_IN_TRAINING, PairSuppression, least_of
from edge.model.variants import build_model
from runtime.errors import ConfigError

torch.set_num_threads(1)


def reference(boxes: torch.Tensor, actor: torch.Tensor, strength: float) -> torch.Tensor:
    """Return the same by loops over pairs."""
    result = actor.clone()
    for clip in range(actor.shape[0]):
        corners = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                   for x, y, w, h in boxes[clip].tolist()]  # fmt: skip
        for i, (a, b, c, d) in enumerate(corners):
            fall = 0.0
            for j, (e, f, g, k) in enumerate(corners):
                wide, high = max(0.0, min(c, g) - max(a, e)), max(0.0, min(d, k) - max(b, f))
                union = (c - a) * (d - b) + (g - e) * (k - f) - wide * high
                same = min(1.0, max(0.0, (wide * high / (union + 1e-6) - 0.5) / 0.2))
                more = max(0.0, float(actor[clip, j] - actor[clip, i]))
                fall = max(fall, same * min(more * strength, MOST_FALL))
            result[clip, i] -= fall
    return result


@pytest.mark.parametrize("tokens", [1, 7, 12, 49])
def test_it_is_the_greatest_fall_over_all_pairs(tokens):
    generator = torch.Generator().manual_seed(tokens)
    boxes = torch.rand(2, tokens, 4, generator=generator) * 0.3 + 0.3
    actor = torch.randn(2, tokens, generator=generator)
    found = PairSuppression(3.0)(boxes, actor)
    torch.testing.assert_close(found, reference(boxes, actor, 3.0), rtol=1e-4, atol=1e-4)


def test_tokens_far_apart_in_the_grid_yield_where_their_boxes_agree():
    boxes = torch.tensor([[[0.5, 0.5, 0.6, 0.8], [0.1, 0.1, 0.1, 0.1], [0.52, 0.5, 0.6, 0.8]]])
    actor = torch.tensor([[2.0, 1.0, 1.0]])
    found = PairSuppression(8.0)(boxes, actor)
    assert found[0, :2].tolist() == [2.0, 1.0]
    assert found[0, 2] == pytest.approx(1.0 - 8.0)


def test_training_takes_no_strength_above_its_most():
    boxes = torch.full((1, 5, 4), 0.5)
    actor = torch.randn(1, 5, generator=torch.Generator().manual_seed(0))
    strong = PairSuppression(64.0)
    most = PairSuppression(MOST_IN_TRAINING).eval()(boxes, actor)
    assert torch.equal(strong.train()(boxes, actor), most)
    expected = reference(boxes, actor, 64.0)
    torch.testing.assert_close(strong.eval()(boxes, actor), expected, rtol=1e-3, atol=1e-3)


def test_the_gradient_reaches_logits_and_not_boxes():
    boxes = torch.full((1, 4, 4), 0.5, requires_grad=True)
    actor = torch.randn(1, 4, requires_grad=True)
    PairSuppression(2.0).train()(boxes, actor).sum().backward()
    assert boxes.grad is None
    assert actor.grad is not None


@pytest.mark.parametrize("size", [1, 2, 3, 14, 49, 392])
def test_the_minimum_by_parts_is_the_minimum(size):
    table = torch.randn(2, 3, size)
    torch.testing.assert_close(least_of(table), table.amin(2, keepdim=True), rtol=0, atol=0)


def test_a_model_has_it_where_its_heads_say_so():
    sizes = {"num_classes": 2, "seed": 0, "height": 64, "width": 64}
    assert isinstance(build_model("pico", **sizes).suppression, PairSuppression)
    assert build_model("pico", suppression_strength=0.0, **sizes).suppression is None
    assert not isinstance(build_model("pico", suppression="neighbours", **sizes).suppression,
                          PairSuppression)  # fmt: skip
    with pytest.raises(ConfigError, match="suppression must be"):
        HeadConfig(suppression="some")
