"""Clips come in an order that is a function of the step, whoever shares them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.data.augment import AugmentConfig, Augmented
from edge.training.loader import Share, StepOrder, batches_by_step
from runtime.errors import ConfigError
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import SHAPE

torch.set_num_threads(1)


@settings(deadline=None, max_examples=30)
@given(length=st.integers(1, 40), batch=st.integers(1, 16), seed=st.integers(0, 99))
def test_each_pass_takes_every_clip_once(length: int, batch: int, seed: int) -> None:
    order = StepOrder(length, batch, seed)
    steps = -(-3 * length // batch)
    taken = [index for step in range(steps) for index in order(step)]
    for number in range(3):
        mine = sorted(taken[number * length : (number + 1) * length])
        assert mine == list(range(number * length, (number + 1) * length))


def test_the_order_of_a_step_does_not_depend_on_what_came_before() -> None:
    straight = StepOrder(10, 4, seed=3)
    before = [straight(step) for step in range(9)]
    assert [StepOrder(10, 4, seed=3)(step) for step in range(9)] == before
    assert [StepOrder(10, 4, seed=4)(step) for step in range(9)] != before


@pytest.mark.parametrize(
    ("world_size", "accumulate"),
    [pytest.param(2, 1, id="two"), pytest.param(1, 3, id="parts"), pytest.param(2, 3, id="both")],
)
def test_processes_and_parts_share_a_batch_without_overlap(
    world_size: int, accumulate: int
) -> None:
    batch = list(range(12))
    shares = [
        Share(batch=12, accumulate=accumulate, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    taken = [batch[part] for share in shares for part in share.slices()]
    assert sorted(index for part in taken for index in part) == batch
    # The first part of all processes is what one process would take first.
    first = [index for share in shares for index in batch[share.slices()[0]]]
    assert first == batch[: 12 // accumulate]


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 6"):
        Share(batch=8, accumulate=3, world_size=2)


@pytest.mark.parametrize("workers", [0, 1])
def test_workers_change_nothing(workers: int) -> None:
    steps = batches_by_step(
        MovingSquares(SHAPE), Share(batch=4, accumulate=2), start=2, stop=4, seed=0,
        workers=workers, pin=False,
    )  # fmt: skip
    names = [[t["clip_id"] for part in parts for t in part.targets] for parts in steps]
    order = StepOrder(64, 4, 0)
    assert names == [[f"squares-0-{i}" for i in order(step)] for step in (2, 3)]


def test_clips_change_from_pass_to_pass_only_where_asked() -> None:
    plain = MovingSquares(SHAPE, length=4)
    changed = Augmented(plain, AugmentConfig(mosaic=0.0), seed=3)
    seen = {}
    for name, dataset in (("plain", plain), ("changed", changed)):
        steps = batches_by_step(
            dataset, Share(batch=4), start=0, stop=2, seed=0, workers=0, pin=False
        )
        passes = []
        for (part,) in steps:
            order = sorted(range(4), key=lambda i, p=part: p.targets[i]["clip_id"])
            passes.append(part.frames[order])
        seen[name] = bool((passes[0] == passes[1]).all())
    assert seen == {"plain": True, "changed": False}
