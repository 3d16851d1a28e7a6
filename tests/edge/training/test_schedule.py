"""The learning rate of each step, and which weights decay."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from edge.model.variants import build_model
from edge.training.schedule import Schedule, optimizer_of
from tests.edge.tiny import TINY

torch.set_num_threads(1)


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    schedule = Schedule(lr0=1.0, lr_final=0.1, warmup=4, steps=24)
    rates = [schedule(step) for step in range(30)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[14] == pytest.approx(0.55)
    assert all(a >= b for a, b in pairwise(rates[3:]))
    assert rates[24:] == [pytest.approx(0.1)] * 6


def test_the_rate_may_stay_before_it_falls() -> None:
    schedule = Schedule(lr0=1.0, lr_final=0.0, warmup=4, steps=24, hold=0.5)
    rates = [schedule(step) for step in range(25)]
    assert rates[4:15] == [1.0] * 11
    assert rates[19] == pytest.approx(0.5)
    assert rates[24] == pytest.approx(0.0)


def test_only_weights_of_convolutions_and_linears_decay() -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY)
    groups = optimizer_of(model, lr=1.0, weight_decay=0.1).param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    everything = {id(p) for g in groups for p in g["params"]}
    assert everything == {id(p) for p in model.parameters()}
    names = {name for name, p in model.named_parameters() if id(p) in decayed}
    assert "heads.box.layers.0.weight" in names
    assert not any(".norm." in name or "bias" in name or "slice_" in name for name in names)
