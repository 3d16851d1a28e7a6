"""Tokens that neighbours suppress: by which, how far, and what training learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model.neighbour_suppression import FIRST_OVERLAP, FULL_OVERLAP, NeighbourSuppression
from edge.model.variants import build_model

torch.set_num_threads(1)


def suppressed(boxes: torch.Tensor, actor: torch.Tensor, strength: float) -> torch.Tensor:
    """Return what (B, 1, H, W) logits become, by boxes (B, 4, H, W)."""
    tokens = boxes.permute(0, 2, 3, 1).flatten(1, 2), actor.flatten(1)
    shape = actor.shape[2:]
    found: torch.Tensor = NeighbourSuppression(strength, (shape[0], shape[1]))(*tokens)
    return found.view(actor.shape)


def apart(rows: int, columns: int) -> torch.Tensor:
    """Return boxes (1, 4, rows, columns) that overlap nothing, each in its own cell."""
    boxes = torch.full((1, 4, rows, columns), 0.5 / max(rows, columns))
    boxes[0, 0] = ((torch.arange(columns) + 0.5) / columns)[None, :]
    boxes[0, 1] = ((torch.arange(rows) + 0.5) / rows)[:, None]
    return boxes


def test_a_token_yields_to_a_neighbour_on_the_same_person() -> None:
    boxes, actor = apart(4, 4), torch.full((1, 1, 4, 4), -5.0)
    boxes[0, :, 1, 1] = boxes[0, :, 1, 2] = torch.tensor([0.45, 0.4, 0.1, 0.3])
    actor[0, 0, 1, 1], actor[0, 0, 1, 2] = 1.0, 0.25
    wanted = actor.clone()
    wanted[0, 0, 1, 2] = 0.25 - 4.0 * (1.0 - 0.25)
    torch.testing.assert_close(suppressed(boxes, actor, 4.0), wanted)


@pytest.mark.parametrize(
    ("place", "box"),
    [
        pytest.param((1, 3), (0.45, 0.4, 0.1, 0.3), id="not a neighbour"),
        pytest.param((1, 2), (0.51, 0.4, 0.1, 0.3), id="another person"),
        pytest.param((2, 2), (0.45, 0.4, 0.1, 0.14), id="half of the person"),
    ],
)
def test_it_yields_to_no_other(
    place: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    boxes, actor = apart(4, 4), torch.full((1, 1, 4, 4), -5.0)
    boxes[0, :, 1, 1] = torch.tensor([0.45, 0.4, 0.1, 0.3])
    boxes[0, :, place[0], place[1]] = torch.tensor(box)
    actor[0, 0, 1, 1], actor[0, 0, place[0], place[1]] = 1.0, 0.25
    assert torch.equal(suppressed(boxes, actor, 4.0), actor)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    low = np.maximum(first[:2] - first[2:] / 2, second[:2] - second[2:] / 2)
    high = np.minimum(first[:2] + first[2:] / 2, second[:2] + second[2:] / 2)
    common = np.clip(high - low, 0, None).prod()
    return float(common / (first[2:].prod() + second[2:].prod() - common + 1e-6))


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**31 - 1),
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    strength=st.floats(0.1, 8),
)
def test_by_another_way_of_counting(seed: int, rows: int, columns: int, strength: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = 0.5 + 0.2 * torch.rand(2, 4, rows, columns, generator=generator)
    actor = torch.randn(2, 1, rows, columns, generator=generator)
    found = suppressed(boxes, actor, strength)
    for clip in range(2):
        for y in range(rows):
            for x in range(columns):
                most = 0.0
                for i in range(max(0, y - 1), min(rows, y + 2)):
                    for j in range(max(0, x - 1), min(columns, x + 2)):
                        pair = boxes[clip, :, y, x].numpy(), boxes[clip, :, i, j].numpy()
                        same = (iou(*pair) - FIRST_OVERLAP) / (FULL_OVERLAP - FIRST_OVERLAP)
                        more = float(actor[clip, 0, i, j] - actor[clip, 0, y, x])
                        most = max(most, min(1.0, max(0.0, same)) * max(0.0, more))
                wanted = float(actor[clip, 0, y, x]) - strength * most
                assert float(found[clip, 0, y, x]) == pytest.approx(wanted, abs=1e-3)


def test_who_is_the_actor_is_taught_and_boxes_are_not() -> None:
    boxes, actor = apart(2, 2), torch.zeros(1, 1, 2, 2)
    boxes[0, :, 0, 0] = boxes[0, :, 0, 1] = torch.tensor([0.4, 0.4, 0.2, 0.4])
    actor[0, 0, 0, 0] = 1.0
    boxes.requires_grad_(True)
    actor.requires_grad_(True)
    # The suppressed token is the one that should be the actor.
    suppressed(boxes, actor, 2.0)[0, 0, 0, 1].backward()
    assert boxes.grad is None
    assert actor.grad is not None
    assert actor.grad.flatten().tolist() == [-2.0, 3.0, 0.0, 0.0]


def test_slices_and_clips_are_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    boxes = 0.5 + 0.1 * torch.rand(3, 2 * 4 * 5, 4, generator=generator)
    actor = torch.randn(3, 2 * 4 * 5, generator=generator)
    rivals = NeighbourSuppression(4.0, (4, 5))
    together = rivals(boxes, actor)
    for clip in range(3):
        for half in (slice(0, 20), slice(20, 40)):
            alone = rivals(boxes[clip : clip + 1, half], actor[clip : clip + 1, half])
            assert torch.equal(alone[0], together[clip, half])
    assert not torch.equal(together, actor)


def test_a_model_that_yields_has_the_same_weights_and_boxes() -> None:
    shape = {"num_frames": 4, "height": 64, "width": 64, "channels": (16, 32), "depths": (1, 1)}
    shape |= {"head_channels": 16, "strides": (2,), "kv_strides": (4, 2)}
    shape |= {"reference_size": (0.8, 0.9), "reference_spread": 1.2}
    plain = build_model("nano-scratch", num_classes=2, seed=0, **shape).eval()
    model = build_model(
        "nano-scratch", num_classes=2, seed=1, suppression_strength=4, **shape
    ).eval()
    with torch.no_grad():
        plain.heads.actor.last.weight.mul_(50)
        model.load_state_dict(plain.state_dict())
        clip = torch.randn(2, *plain.config.clip_shape[1:])
        before, after = plain(clip), model(clip)
    assert torch.equal(before["pred_boxes"], after["pred_boxes"])
    assert torch.equal(before["pred_actions"], after["pred_actions"])
    assert (after["pred_actor"] <= before["pred_actor"]).all()
    assert (after["pred_actor"] < before["pred_actor"]).any()
