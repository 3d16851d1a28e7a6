"""A validation runs over clips once made, and leaves out what cannot be decoded."""

from __future__ import annotations

from collections.abc import Container
from functools import partial

import pytest
import torch

from edge.data.cache import MemoryCache
from edge.data.samples import ClipSample
from edge.model.variants import build_model
from edge.training.validate import validate
from runtime.errors import CaptureError
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import SHAPE, TINY

torch.set_num_threads(1)


def test_clips_of_a_validation_are_made_once_as_far_as_memory_goes() -> None:
    made: list[int] = []

    class Counting(MovingSquares):
        def __getitem__(self, index: int) -> ClipSample:
            made.append(index)
            return super().__getitem__(index)

    size = MovingSquares(SHAPE)[0].frames_rgb.nbytes
    kept = MemoryCache(Counting(SHAPE), limit_bytes=2 * size)
    for _ in range(2):
        for index in range(3):
            assert kept[index].clip_id == f"squares-0-{index}"
    assert made == [0, 1, 2, 2]


class Torn(MovingSquares):
    """Clips of which some cannot be decoded."""

    def __init__(self, lost: Container[int]) -> None:
        super().__init__(SHAPE, length=8)
        self.lost, self.read = lost, []

    def __getitem__(self, index: int) -> ClipSample:
        self.read.append(index)
        if index in self.lost:
            raise CaptureError(f"clip {index} is damaged")
        return super().__getitem__(index)


def test_a_validation_leaves_out_what_cannot_be_decoded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY).eval()
    run = partial(validate, model, model.config, limit=0, batch=3, device=torch.device("cpu"))
    torn = Torn([2, 7])
    kept = MemoryCache(torn)
    for _ in range(2):
        result = run(kept)
    assert (result["clips"], result["undecodable_clips"]) == (6, 2)
    said = "2 of 8 clips of the validation cannot be decoded and are left out; the first: clip 2 is"
    assert caplog.text.count(said) == 2
    assert torn.read == list(range(8)), "what is damaged is not tried again"
    nothing = run(Torn(range(8)))
    assert (nothing["clips"], nothing["frame_map"], nothing["undecodable_clips"]) == (0, None, 8)
