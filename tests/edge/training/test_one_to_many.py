"""Several tokens for a person: who gets which, and that it stays in training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model.bmvit import with_overrides
from edge.model.checkpoint import load_checkpoint
from edge.model.variants import VARIANTS, build_model
from edge.training import data as training_data
from edge.training.config import TrainOptions
from edge.training.loop import Trainer
from edge.training.matcher import HungarianMatcher
from edge.training.one_to_many import MOST_TOKENS, OneToManyHeads, OneToManyMatcher, token_centres
from edge.training.targets import ClipTarget, pack
from runtime.errors import ConfigError
from tests.edge.moving_squares import MovingSquares
from tests.edge.tiny import TINY

torch.set_num_threads(1)

CPU = torch.device("cpu")
ROWS = COLUMNS = 6


def centres() -> torch.Tensor:
    place = (torch.arange(ROWS) + 0.5) / ROWS
    y, x = torch.meshgrid(place, place, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2).repeat(2, 1)


def people_of(boxes: list[list[list[float]]]) -> list[ClipTarget]:
    return [
        {
            "boxes": torch.tensor(clip, dtype=torch.float32).reshape(-1, 4),
            "labels": torch.ones(len(clip), 2),
            "clip_id": f"clip-{index}",
        }
        for index, clip in enumerate(boxes)
    ]


def random_outputs(clips: int, seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    tokens = 2 * ROWS * COLUMNS
    return {
        "pred_boxes": torch.rand(clips, tokens, 4, generator=generator),
        "pred_actor": torch.randn(clips, tokens, generator=generator),
    }


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31 - 1), counts=st.lists(st.integers(0, 5), min_size=1, max_size=3))
def test_tokens_lie_on_their_person_and_answer_for_one_only(seed: int, counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = [
        torch.cat(
            [torch.rand(n, 2, generator=generator), torch.rand(n, 2, generator=generator) * 0.5], 1
        ).tolist()
        for n in counts
    ]
    targets = pack(people_of(boxes), 2, CPU)
    matches = OneToManyMatcher(HungarianMatcher())(
        random_outputs(len(counts), seed), targets, centres()
    )
    taken = list(zip(matches.clip.tolist(), matches.token.tolist(), strict=True))
    assert len(set(taken)) == len(taken)
    for clip, token, person in zip(matches.clip, matches.token, matches.person, strict=True):
        assert int(person) < counts[int(clip)]
        box = targets.boxes[clip, person]
        mine = (matches.clip == clip) & (matches.person == person)
        inside = ((centres() - box[:2]).abs() * 2 <= box[2:]).all(-1)
        assert int(mine.sum()) <= max(1, min(MOST_TOKENS, int(inside.sum())))
        assert inside[token] or int(inside.sum()) == 0


def test_a_person_smaller_than_the_grid_has_the_nearest_token() -> None:
    targets = pack(people_of([[[0.26, 0.74, 0.01, 0.02]]]), 2, CPU)
    matches = OneToManyMatcher(HungarianMatcher())(random_outputs(1, 0), targets, centres())
    assert len(matches) == 1
    place = centres()[matches.token[0]]
    assert place.tolist() == pytest.approx([0.25, 0.75], abs=1e-6)


def test_nobody_to_match_is_no_error() -> None:
    targets = pack(people_of([[], []]), 2, CPU)
    assert len(OneToManyMatcher(HungarianMatcher())(random_outputs(2, 0), targets, centres())) == 0


def test_the_places_of_tokens_are_those_of_their_reference_boxes() -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY)
    reference = torch.sigmoid(model.heads.box_reference)[:, :2]  # (S, 2, H, W)
    torch.testing.assert_close(token_centres(model), reference.permute(0, 2, 3, 1).reshape(-1, 2))


def test_the_second_heads_begin_as_the_first_and_read_the_same() -> None:
    model = build_model("pico-scratch", num_classes=2, seed=0, **TINY).eval()
    heads = OneToManyHeads(model).eval()
    with torch.no_grad():
        outputs = model(torch.randn(model.config.clip_shape))
        for name, value in heads(1).items():
            torch.testing.assert_close(value, outputs[name])


def test_they_learn_and_are_not_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(VARIANTS, "pico-scratch", with_overrides(VARIANTS["pico-scratch"], **TINY))
    monkeypatch.setattr(
        training_data,
        "open_dataset",
        lambda spec, shape, seed=0, **_: MovingSquares(shape, 32, seed),
    )
    options: dict[str, Any] = {
        "model": "pico-scratch", "data": "squares", "batch": 8, "steps": 20, "log_every": 20,
        "workers": 0, "tensorboard": False, "warmup_epochs": 0.0,
    }  # fmt: skip
    values = {}
    for weight in (0.0, 1.0):
        out = tmp_path / str(weight)
        Trainer(TrainOptions.of(out=str(out), loss_one_to_many=weight, **options)).run()
        values[weight] = json.loads((out / "log.jsonl").read_text().splitlines()[-1])
    assert "many" not in values[0.0]
    assert values[1.0]["many"] > 0
    # On the same features: they move the weights that are saved, and add none.
    plain, many = (load_checkpoint(tmp_path / w / "last.pt").model for w in ("0.0", "1.0"))
    assert plain.state_dict().keys() == many.state_dict().keys()
    assert not torch.equal(plain.backbone.neck.conv.weight, many.backbone.neck.conv.weight)


def test_int8_training_is_without_them_unless_asked_and_then_refused() -> None:
    assert TrainOptions.of(data="squares").one_to_many == 1.0
    assert TrainOptions.of(data="squares", qat=True, init="x.pt").one_to_many == 0.0
    with pytest.raises(ConfigError, match="--loss-one-to-many"):
        TrainOptions.of(data="squares", qat=True, init="x.pt", loss_one_to_many=0.5)
