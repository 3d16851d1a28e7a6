"""The set criterion: what each loss asks, how sums are shared, where gradients go."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from edge.training.criterion import SetCriterion
from edge.training.loss_options import CriterionConfig
from edge.training.targets import ClipTarget, PackedTargets, pack
from runtime.errors import ConfigError, TrainingError

torch.set_num_threads(1)

CLASSES = 4
CPU = torch.device("cpu")


def outputs_of(clips: int, tokens: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"pred_boxes": (4,), "pred_actor": (), "pred_actions": (CLASSES,)}
    made = {
        name: torch.randn(clips, tokens, *shape, generator=generator)
        for name, shape in shapes.items()
    }
    made["pred_boxes"] = made["pred_boxes"].sigmoid()
    return {name: value.requires_grad_() for name, value in made.items()}


def people_of(counts: list[int], seed: int = 1) -> list[ClipTarget]:
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "boxes": torch.rand(count, 4, generator=generator) * 0.5 + 0.2,
            "labels": (torch.rand(count, CLASSES, generator=generator) > 0.5).float(),
            "clip_id": f"clip-{index}",
        }
        for index, count in enumerate(counts)
    ]


def packed(counts: list[int], seed: int = 1) -> PackedTargets:
    return pack(people_of(counts, seed), CLASSES, CPU)


def perfect(targets: PackedTargets, tokens: int) -> dict[str, torch.Tensor]:
    """Return outputs whose first tokens are the people, and whose others are silent."""
    clips, people = targets.boxes.shape[:2]
    boxes = torch.full((clips, tokens, 4), 0.1)
    actor = torch.full((clips, tokens), -30.0)
    actions = torch.full((clips, tokens, CLASSES), -30.0)
    boxes[:, :people] = targets.boxes
    for clip, count in enumerate(targets.counts):
        actor[clip, :count] = 30.0
        actions[clip, :count] = (targets.labels[clip, :count] - 0.5) * 60
    return {"pred_boxes": boxes, "pred_actor": actor, "pred_actions": actions}


@pytest.mark.parametrize("actor_loss", ["focal", "bce"])
@pytest.mark.parametrize("action_loss", ["focal", "bce"])
def test_a_perfect_answer_costs_nothing(actor_loss: str, action_loss: str) -> None:
    targets = packed([3, 0, 1])
    config = CriterionConfig(actor_loss=actor_loss, action_loss=action_loss)
    losses = SetCriterion(config=config)(perfect(targets, 6), targets)
    assert float(losses.total) == pytest.approx(0, abs=1e-4)
    assert losses.matches.token.tolist() == [0, 1, 2, 0]


@settings(deadline=None, max_examples=25)
@given(
    order=st.permutations(range(7)),
    rival=st.sampled_from([1.0, 3.0]),
    form=st.sampled_from(["focal", "bce"]),
)
def test_the_order_of_tokens_does_not_matter(order: list[int], rival: float, form: str) -> None:
    outputs, targets = outputs_of(2, 7), packed([2, 3])
    criterion = SetCriterion(config=CriterionConfig(duplicate_weight=rival, actor_loss=form))
    shuffled = {name: value[:, order] for name, value in outputs.items()}
    straight, turned = criterion(outputs, targets), criterion(shuffled, targets)
    torch.testing.assert_close(straight.total, turned.total)


@settings(deadline=None, max_examples=25)
@given(counts=st.lists(st.integers(0, 9), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_a_batch_costs_what_its_clips_cost(counts: list[int], seed: int) -> None:
    """Also with more people than tokens, and with nobody at all."""
    outputs, people = outputs_of(len(counts), 5, seed), people_of(counts, seed)
    criterion = SetCriterion()
    shared = float(max(1, sum(counts)))
    together = criterion(outputs, pack(people, CLASSES, CPU), num_people=shared)
    total = torch.zeros(())
    for clip in range(len(counts)):
        single = {name: value[clip : clip + 1] for name, value in outputs.items()}
        target = pack(people[clip : clip + 1], CLASSES, CPU)
        total = total + criterion(single, target, num_people=shared).total
    torch.testing.assert_close(together.total, total, rtol=1e-4, atol=1e-5)


def test_nobody_leaves_only_the_actor_loss() -> None:
    outputs = outputs_of(2, 5)
    losses = SetCriterion()(outputs, packed([0, 0]))
    losses.total.backward()
    parts = {name: float(value) for name, value in losses.parts.items()}
    assert parts["actor"] > 0
    assert parts["bbox"] == parts["giou"] == parts["action"] == 0
    assert outputs["pred_actor"].grad is not None
    assert float(outputs["pred_boxes"].grad.abs().sum()) == 0


def test_gradients_reach_matched_tokens_only_but_for_the_actor() -> None:
    outputs, targets = outputs_of(2, 6), packed([2, 1])
    losses = SetCriterion()(outputs, targets)
    losses.total.backward()
    matched = torch.zeros(2, 6, dtype=torch.bool)
    matched[losses.matches.clip, losses.matches.token] = True
    for name in ("pred_boxes", "pred_actions"):
        touched = outputs[name].grad.abs().sum(-1) > 0
        assert torch.equal(touched, matched)
    assert bool((outputs["pred_actor"].grad != 0).all())


def test_degenerate_people_give_finite_gradients() -> None:
    outputs, people = outputs_of(1, 4), people_of([2])
    people[0]["boxes"][0] = torch.tensor([0.5, 0.5, 0.0, 0.0])
    people[0]["boxes"][1] = torch.tensor([0.0, 0.0, 0.0, 0.5])
    SetCriterion(config=CriterionConfig(duplicate_weight=2.0))(
        outputs, pack(people, CLASSES, CPU)
    ).total.backward()
    assert all(bool(torch.isfinite(value.grad).all()) for value in outputs.values())


def test_the_sums_are_divided_by_the_people_given() -> None:
    outputs, targets = outputs_of(2, 6), packed([2, 1])
    own = SetCriterion()(outputs, targets)
    shared = SetCriterion()(outputs, targets, num_people=12)
    torch.testing.assert_close(own.total, shared.total * 4)


def test_bce_weighs_silence_by_eos_coef() -> None:
    targets = packed([0])
    outputs = {**outputs_of(1, 5), "pred_actor": torch.zeros(1, 5)}
    config = CriterionConfig(actor_loss="bce", eos_coef=0.1)
    losses = SetCriterion(config=config)(outputs, targets)
    assert float(losses.parts["actor"]) == pytest.approx(5 * 0.1 * math.log(2))


def test_focal_is_bce_times_how_wrong_it_is() -> None:
    outputs = {**outputs_of(1, 1), "pred_actor": torch.tensor([[0.7]])}
    losses = SetCriterion()(outputs, packed([0]))
    probability = torch.tensor(0.7).sigmoid()
    plain = binary_cross_entropy_with_logits(torch.tensor(0.7), torch.tensor(0.0))
    assert float(losses.parts["actor"]) == pytest.approx(float(0.75 * probability**2 * plain))


def test_a_rival_of_the_matched_token_is_weighed() -> None:
    people: list[ClipTarget] = [
        {
            "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]]),
            "labels": torch.zeros(1, CLASSES),
            "clip_id": "a",
        }
    ]
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], [0.5, 0.52, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]]])
    outputs = {
        "pred_boxes": boxes,
        "pred_actor": torch.tensor([[1.0, 0.5, 0.5]], requires_grad=True),
        "pred_actions": torch.zeros(1, 3, CLASSES),
    }
    config = CriterionConfig(duplicate_weight=4.0)
    SetCriterion(config=config)(outputs, pack(people, CLASSES, CPU)).total.backward()
    matched, rival, background = outputs["pred_actor"].grad[0].tolist()
    assert matched < 0
    assert rival == pytest.approx(4 * background)


@pytest.mark.parametrize("form", ["focal", "bce"])
@pytest.mark.parametrize(
    ("box", "asked"),
    [
        pytest.param([0.8, 0.5, 0.2, 0.6], False, id="on-somebody-ignored"),
        pytest.param([0.8, 0.55, 0.2, 0.5], False, id="overlap-of-half"),
        pytest.param([0.8, 0.3, 0.1, 0.1], False, id="their-head"),
        pytest.param([0.8, 0.2, 0.2, 0.2], True, id="half-of-it-beside"),
        pytest.param([0.1, 0.1, 0.1, 0.1], True, id="background"),
        pytest.param([0.5, 0.52, 0.4, 0.4], True, id="duplicate-of-an-actor"),
    ],
)
def test_a_silent_token_on_somebody_ignored_is_asked_nothing(
    form: str, box: list[float], asked: bool
) -> None:
    people: list[ClipTarget] = [
        {
            "boxes": torch.tensor([[0.5, 0.5, 0.4, 0.4]]),
            "labels": torch.zeros(1, CLASSES),
            "clip_id": "a",
            "ignored": torch.tensor([[0.8, 0.5, 0.2, 0.6], [0.5, 0.5, 0.4, 0.4]]),
        },
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, CLASSES), "clip_id": "b"},
    ]
    boxes = torch.tensor([[[0.5, 0.5, 0.4, 0.4], box]] * 2)
    outputs = {
        "pred_boxes": boxes,
        "pred_actor": torch.tensor([[1.0, 0.5]] * 2, requires_grad=True),
        "pred_actions": torch.zeros(2, 2, CLASSES),
    }
    targets = pack(people, CLASSES, CPU)
    assert targets.ignored is not None
    assert targets.ignored.shape == (2, 2, 4)
    config = CriterionConfig(actor_loss=form, duplicate_weight=3.0)
    SetCriterion(config=config)(outputs, targets).total.backward()
    (matched, silent), other_clip = outputs["pred_actor"].grad.tolist()
    assert matched < 0  # the ignored box on the actor takes nothing from them
    assert (silent > 0) == asked
    assert min(other_clip) > 0


def test_half_precision_outputs_are_compared_in_full() -> None:
    outputs = {name: value.bfloat16() for name, value in outputs_of(1, 5).items()}
    losses = SetCriterion()(outputs, packed([2]))
    assert losses.total.dtype == torch.float32


def test_an_error_names_the_clips() -> None:
    outputs = outputs_of(2, 4)
    broken = {**outputs, "pred_actor": outputs["pred_actor"].detach().clone()}
    broken["pred_actor"][1, 0] = float("nan")
    with pytest.raises(TrainingError, match="clip-1"):
        SetCriterion()(broken, packed([1, 1]))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"loss_giou": -1.0}, "--loss-giou", id="negative"),
        pytest.param({"alpha": 2.0}, "alpha", id="alpha"),
        pytest.param({"actor_loss": "l2"}, "--actor-loss", id="actor"),
        pytest.param({"action_loss": "softmax"}, "--action-loss", id="action"),
        pytest.param({"duplicate_weight": float("nan")}, "--duplicate-weight", id="rival"),
    ],
)
def test_weights_that_cannot_be_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CriterionConfig(**fields)
