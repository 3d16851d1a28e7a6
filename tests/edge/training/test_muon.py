"""Orthogonal steps for matrices, AdamW's for the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edge.model.variants import build_model
from edge.training.muon import MuonAdamW, is_hidden_matrix, orthogonalized
from edge.training.schedule import optimizer_of, set_rate

TINY = {
    "num_frames": 4, "height": 32, "width": 32, "channels": (32, 48), "depths": (1, 1),
    "head_channels": 16, "strides": (2,), "kv_strides": (2, 1),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "columns"), [(24, 24), (24, 96), (96, 24)])
def test_singular_values_become_one_and_vectors_stay(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, rows, columns, dtype=torch.float64)
    found = orthogonalized(matrices)
    values = torch.linalg.svdvals(found)
    assert float(values.max()) < 1.25
    assert float((values > 0.65).double().mean()) > 0.95, "all but those near zero"
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ found @ right.mT  # diagonal, if the vectors are the same
    off = turned - torch.diag_embed(turned.diagonal(dim1=-2, dim2=-1))
    assert float(off.abs().max()) < 1e-8


def test_steps_of_half_precision_are_nearly_those_of_float32() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(48, 96, 1, 1), torch.randn(48, 96, 1, 1)
    moved = []
    for products in (None, torch.bfloat16):
        weight = nn.Parameter(start.clone())
        optimizer = MuonAdamW([{"params": [weight], "muon": True}], lr=0.1, products=products)
        weight.grad = gradient.clone()
        optimizer.step()
        moved.append((weight.detach() - start).flatten())
    assert float(torch.cosine_similarity(*moved, dim=0)) > 0.999
    assert float((moved[0] - moved[1]).norm() / moved[0].norm()) < 0.05


def test_a_matrix_of_zeros_gives_no_step() -> None:
    assert orthogonalized(torch.zeros(1, 4, 8)).abs().max() == 0.0


def test_what_mixes_channels_is_for_muon_and_the_rest_for_adamw() -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY)
    names = {n for n, module in model.named_modules() if is_hidden_matrix(module)}
    assert "backbone.blocks.0.mlp.0.conv" in names
    assert "backbone.blocks.1.attention.proj.conv" in names
    assert not any("local" in name or "taps" in name for name in names), "depth-wise filters"
    assert not any(name.endswith(("actor.last", "box.last")) for name in names), "few outputs"
    groups = optimizer_of(model, lr=1.0, weight_decay=0.1, kind="muon").param_groups
    everything = [id(p) for g in groups for p in g["params"]]
    assert sorted(everything) == sorted(id(p) for p in model.parameters())
    assert [g["muon"] for g in groups] == [True, False, False]


def test_a_step_is_as_long_as_its_rate_says_whatever_the_gradient() -> None:
    torch.manual_seed(0)
    for scale in (1e-4, 1e4):
        weight = nn.Parameter(torch.randn(32, 64, 1, 1))
        before = weight.detach().clone()
        optimizer = MuonAdamW([{"params": [weight], "muon": True}], lr=0.1)
        weight.grad = scale * torch.randn_like(weight)
        optimizer.step()
        moved = (weight.detach() - before).square().mean().sqrt()
        # 0.2 is the usual size of AdamW's; the iteration leaves singular values of 0.7 to 1.2.
        assert 0.7 * 0.02 <= float(moved) <= 1.2 * 0.02


def test_decay_shrinks_a_weight_that_has_no_gradient_of_its_own() -> None:
    weight = nn.Parameter(torch.ones(32, 32))
    optimizer = MuonAdamW([{"params": [weight], "muon": True, "weight_decay": 0.5}], lr=0.1)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.full((32, 32), 0.95))


def test_the_rest_steps_as_torchs_adamw() -> None:
    torch.manual_seed(0)
    mine = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    other = copy.deepcopy(mine)
    ours = optimizer_of(mine, lr=0.01, weight_decay=0.1, kind="muon")
    torchs = optimizer_of(other, lr=0.01, weight_decay=0.1)
    assert not ours.param_groups[0]["params"], "no layer here is large enough"
    for step in range(5):
        x = torch.randn(8, 6)
        for model, optimizer in ((mine, ours), (other, torchs)):
            set_rate(optimizer, 0.01 / (step + 1))
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()
    for one, two in zip(mine.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two)


def test_a_loaded_state_goes_on_as_the_saved_one() -> None:
    def stepped(seed: int, steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 4, 1))
        optimizer = optimizer_of(model, lr=0.01, weight_decay=0.1, kind="muon")
        for _ in range(steps):
            optimizer.zero_grad()
            model(torch.randn(2, 8, 5, 5)).square().sum().backward()
            optimizer.step()
        return model, optimizer

    model, optimizer = stepped(0, 3)
    other, loaded = stepped(1, 1)
    other.load_state_dict(model.state_dict())
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    x = torch.randn(2, 8, 5, 5)
    for net, its in ((model, optimizer), (other, loaded)):
        its.zero_grad()
        net(x).square().sum().backward()
        its.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_loaded_count_of_steps_is_where_its_weight_is() -> None:
    """torch leaves it on the CPU, and the fused kernel takes no other device than the weight's."""
    here, there = (nn.Parameter(torch.zeros(3, device=device)) for device in ("cpu", "meta"))
    one, other = (
        MuonAdamW([{"params": [weight], "weight_decay": 0.0, "muon": False}], lr=0.1)
        for weight in (here, there)
    )
    here.grad = torch.ones(3)
    one.step()
    other.load_state_dict(one.state_dict())
    assert {value.device.type for value in other.state[there].values()} == {"meta"}
