"""Samples become pixels and targets as the model and the criterion take them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge.model.variants import build_model
from edge.training.targets import Normalize, collate, pack
from runtime.preprocess import normalize
from runtime.types import ClipSpec
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import SHAPE, TINY

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        pytest.param((0.45, 0.45, 0.45), (0.225, 0.225, 0.225), id="alike"),
        pytest.param((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), id="per-channel"),
    ],
)
def test_pixels_are_normalised_to_the_bit_as_on_a_device(
    mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    config = build_model("pico-scratch", num_classes=2, mean=mean, std=std, **TINY).config
    frames = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), dtype=np.uint8)
    mine = Normalize(config, torch.device("cpu"))(torch.from_numpy(frames)[None])
    preprocess = ClipSpec(
        num_frames=1, sampling_rate=1, fps=30.0, height=32, width=48, mean=mean, std=std
    )
    theirs = torch.from_numpy(normalize(frames, preprocess)).transpose(1, 2)
    assert mine.shape == (1, 3, 4, 32, 48)
    assert torch.equal(mine, theirs)


def test_samples_become_targets() -> None:
    samples = [MovingSquares(SHAPE)[index] for index in range(6)]
    batch = collate(samples)
    assert batch.frames.shape == (6, 4, 32, 48, 3)
    assert batch.frames.dtype == torch.uint8
    for sample, target in zip(samples, batch.targets, strict=True):
        x1, y1, x2, y2 = sample.boxes.T
        expected = np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=1)
        np.testing.assert_allclose(target["boxes"].numpy(), expected, atol=1e-6)
        assert target["clip_id"] == sample.clip_id


def test_ignored_people_become_padded_boxes_and_none_where_there_are_none() -> None:
    plain = [MovingSquares(SHAPE)[index] for index in range(3)]
    assert "ignored" not in collate(plain).targets[0]
    assert pack(collate(plain).targets, 2, torch.device("cpu")).ignored is None
    seen = np.array([[0.2, 0.2, 0.4, 0.8], [0.5, 0, 1, 1]], np.float32)
    batch = collate(
        [plain[0], replace(plain[1], ignored=seen), replace(plain[2], ignored=seen[:1])]
    )
    ignored = pack(batch.targets, 2, torch.device("cpu")).ignored
    assert ignored is not None
    want = [[[0] * 4] * 2, [[0.3, 0.5, 0.2, 0.6], [0.75, 0.5, 0.5, 1]],
            [[0.3, 0.5, 0.2, 0.6], [0] * 4]]  # fmt: skip
    np.testing.assert_allclose(ignored.numpy(), want, atol=1e-6)
