"""A saved state is loaded exactly, and another model's is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edge.training.ema import AveragedModel
from edge.training.schedule import optimizer_of
from edge.training.state import Progress, load_state, save_state
from runtime.errors import ArtifactError, ArtifactMismatchError

torch.set_num_threads(1)


def stepped(seed: int) -> tuple[nn.Module, AveragedModel[nn.Module], torch.optim.Optimizer]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = optimizer_of(model, lr=0.1, weight_decay=0.1)
    average = AveragedModel(model, 0.9)
    for step in range(3):
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        average.update(model, step)
    return model, average, optimizer


def test_a_loaded_state_goes_on_as_the_saved_one(tmp_path: Path) -> None:
    model, average, optimizer = stepped(0)
    progress = Progress(step=3, best=0.5, best_step=2, window={"loss": 1.5, "steps": 1.0})
    save_state(
        tmp_path / "state.pt", learner=model, average=average, optimizer=optimizer,
        progress=progress,
    )  # fmt: skip
    other, other_average, other_optimizer = stepped(1)
    loaded = load_state(
        tmp_path / "state.pt", learner=other, average=other_average, optimizer=other_optimizer
    )
    assert loaded == progress
    x = torch.randn(4, 3)
    for each, its in ((model, optimizer), (other, other_optimizer)):
        each(x).square().sum().backward()
        its.step()
    for mine, theirs in zip(model.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model, average, optimizer = stepped(0)
    path = tmp_path / "state.pt"
    save_state(path, learner=model, average=average, optimizer=optimizer, progress=Progress())
    other = nn.Linear(5, 2)
    with pytest.raises(ArtifactMismatchError, match="does not fit the model of this run"):
        load_state(
            path, learner=other, average=AveragedModel(other, 0.9),
            optimizer=optimizer_of(other, lr=0.1, weight_decay=0.0),
        )  # fmt: skip
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"state\.pt"):
        load_state(path, learner=model, average=average, optimizer=optimizer)
    torch.save({"format": "other"}, path)
    with pytest.raises(ArtifactMismatchError, match="no training state"):
        load_state(path, learner=model, average=average, optimizer=optimizer)
