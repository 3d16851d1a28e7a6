"""Labels that do not say who: bags, what is unknown, and that nothing else changes by them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from edge.training.bags import PartialLabels, bag_logits, tokens_a_person
from edge.training.criterion import Losses, SetCriterion
from edge.training.loss_options import CriterionConfig, WeakLoss
from edge.training.matcher import Matches
from edge.training.targets import ClipTarget, PackedTargets, pack
from runtime.errors import ConfigError
from tests.edge.partial_labels import KNOWN, SOMEBODY, UNKNOWN
from tests.edge.training.test_criterion import CLASSES, CPU, outputs_of, people_of

torch.set_num_threads(1)


def doubted(people: list[ClipTarget], code: int, column: int = 0) -> list[ClipTarget]:
    """Return people of whom one class is not known, each clip one bag."""
    result: list[ClipTarget] = []
    for target in people:
        labels = target["labels"].clone()
        labels[:, column] = 0
        codes = torch.full(labels.shape, KNOWN)
        codes[:, column] = code
        bag_id = torch.where(codes == SOMEBODY, 0, -1)
        result.append({**target, "labels": labels, "label_mask": codes == KNOWN, "bag_id": bag_id})
    return result


def straight(targets: PackedTargets) -> Matches:
    """Let token i of a clip answer for its person i."""
    pairs = [(clip, i) for clip, count in enumerate(targets.counts) for i in range(count)]
    clip, token = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).T
    return Matches(clip=clip, token=token, person=token)


def losses_of(
    outputs: dict[str, Tensor],
    people: list[ClipTarget],
    weak_loss: WeakLoss = "mil",
    **config: object,
) -> Losses:
    targets = pack(people, CLASSES, CPU)
    criterion = SetCriterion(config=CriterionConfig(weak_loss=weak_loss, **config))
    return criterion.weigh(outputs, targets, straight(targets), num_people=1)


def action_of(
    outputs: dict[str, Tensor], people: list[ClipTarget], weak: WeakLoss = "mil"
) -> float:
    return float(losses_of(outputs, people, weak).parts["action"])


@settings(deadline=None, max_examples=25)
@given(
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    form=st.sampled_from(["bce", "focal"]),
    weak=st.sampled_from(["mil", "copy"]),
)
def test_what_is_known_costs_what_it_did_bit_for_bit(
    counts: list[int], seed: int, form: str, weak: WeakLoss
) -> None:
    people = people_of(counts, seed)
    said: list[ClipTarget] = [
        {**one, "label_mask": torch.ones_like(one["labels"]).bool(),
         "bag_id": torch.full(one["labels"].shape, -1)} for one in people
    ]  # fmt: skip
    before = SetCriterion(config=CriterionConfig(action_loss=form))
    after = SetCriterion(config=CriterionConfig(action_loss=form, weak_loss=weak))
    one, other = outputs_of(len(counts), 6, seed), outputs_of(len(counts), 6, seed)
    first = before(one, pack(people, CLASSES, CPU))
    second = after(other, pack(said, CLASSES, CPU))
    assert torch.equal(first.total, second.total)
    first.total.backward()
    second.total.backward()
    for name, value in one.items():
        assert torch.equal(value.grad, other[name].grad)


@pytest.mark.parametrize("form", ["bce", "focal"])
def test_beside_a_doubtful_clip_a_known_one_costs_what_it_did(form: str) -> None:
    outputs, people = outputs_of(2, 6), people_of([2, 3])
    people[0]["labels"][:] = 1
    whole = losses_of(outputs, people, action_loss=form).parts["action"]
    doubtful = doubted(people[1:], UNKNOWN)
    mixed = losses_of(outputs, [people[0], *doubtful], action_loss=form).parts["action"]
    second = {name: value[1:] for name, value in outputs.items()}
    less = losses_of(second, people[1:], action_loss=form).parts["action"]
    rest = losses_of(second, doubtful, action_loss=form).parts["action"]
    torch.testing.assert_close(whole - less, mixed - rest)
    assert float(rest) < float(less)


@pytest.mark.parametrize("form", ["bce", "focal"])
def test_a_bag_of_one_is_a_label(form: str) -> None:
    outputs, people = outputs_of(1, 3), people_of([1])
    people[0]["labels"][:, 1] = 1  # so that whether the person acts is known
    named = [{**people[0], "labels": people[0]["labels"].clone()}]
    named[0]["labels"][:, 0] = 1
    wanted = losses_of(outputs, named, action_loss=form).total
    for weak in ("mil", "copy"):
        got = losses_of(outputs, doubted(people, SOMEBODY), weak, action_loss=form).total
        torch.testing.assert_close(got, wanted)


def test_the_gradient_goes_to_the_likeliest() -> None:
    outputs, people = outputs_of(1, 4), people_of([3])
    people[0]["labels"][:, 1] = 1
    with torch.no_grad():
        outputs["pred_actions"][0, :3, 0] = torch.tensor([-4.0, 1.0, -2.0])
    losses_of(outputs, doubted(people, SOMEBODY)).total.backward()
    lifted = -outputs["pred_actions"].grad[0, :3, 0]
    assert bool((lifted > 0).all())
    assert float(lifted[1]) > 5 * float(lifted[2]) > 5 * float(lifted[0])


@settings(deadline=None, max_examples=25)
@given(order=st.permutations(range(5)), weak=st.sampled_from(["mil", "copy"]))
def test_the_order_of_people_does_not_matter(order: list[int], weak: WeakLoss) -> None:
    outputs, people = outputs_of(1, 7), doubted(people_of([5]), SOMEBODY)
    people[0]["bag_id"][:, 0] = torch.tensor([0, 0, 1, 1, 1])
    turned: list[ClipTarget] = [
        {**people[0], **{name: people[0][name][order]  # type: ignore[literal-required]
                         for name in ("boxes", "labels", "label_mask", "bag_id")}}
    ]  # fmt: skip
    criterion = SetCriterion(config=CriterionConfig(weak_loss=weak))
    first = criterion(outputs, pack(people, CLASSES, CPU))
    second = criterion(outputs, pack(turned, CLASSES, CPU))
    torch.testing.assert_close(first.total, second.total)


def test_nobody_to_do_it_costs_nothing() -> None:
    outputs = outputs_of(2, 4)
    assert action_of(outputs, doubted(people_of([0, 0]), SOMEBODY)) == 0
    people = doubted(people_of([0, 2]), SOMEBODY)
    alone = {name: value[1:] for name, value in outputs.items()}
    assert action_of(outputs, people) == pytest.approx(action_of(alone, people[1:]))


def test_bags_are_asked_one_by_one() -> None:
    """As the clips of a mosaic: what somebody does in one says nothing of the people of another."""
    outputs, people = outputs_of(1, 4), doubted(people_of([4]), SOMEBODY)
    together = action_of(outputs, people)
    people[0]["bag_id"][:, 0] = torch.tensor([7, 7, 2, 2])
    logits = outputs["pred_actions"][0, :4, 0].detach()
    silence = (1 - logits.sigmoid()).reshape(2, 2).prod(1)
    apart = action_of(outputs, people)
    both = -torch.log(1 - silence).sum()
    one = -torch.log(1 - silence.prod())
    assert apart - together == pytest.approx(float(both - one), abs=1e-5)


def test_what_is_unknown_has_no_gradient() -> None:
    outputs, people = outputs_of(1, 4), doubted(people_of([3]), UNKNOWN, column=2)
    losses_of(outputs, people).total.backward()
    grad = outputs["pred_actions"].grad[0, :3]
    assert bool((grad[:, 2] == 0).all())
    assert bool((grad[:, [0, 1, 3]] != 0).all())


@pytest.mark.parametrize(
    ("logits", "wanted"),
    [
        pytest.param([-200.0, -300.0], -200.0, id="all but impossible"),
        pytest.param([-60.0, -60.0], -60.0 + 0.6931472, id="two alike"),
        pytest.param([200.0, -300.0], 200.0, id="certain"),
        pytest.param([-20.0, -20.0], -20.0 + 0.6931472, id="at the seam"),
        pytest.param([-20.001, -20.001], -20.001 + 0.6931472, id="below the seam"),
        pytest.param([0.0, 0.0], 1.0986123, id="three quarters"),
    ],
)
def test_a_bag_is_stable_whatever_the_logits(logits: list[float], wanted: float) -> None:
    x = torch.tensor(logits, requires_grad=True)
    bag = bag_logits(
        x[:, None], torch.ones(2, 1, dtype=torch.bool), torch.zeros(2, dtype=torch.int64), 2
    )
    assert float(bag[0].detach()) == pytest.approx(wanted, rel=1e-5)
    assert float(bag[1].detach()) == float("-inf")
    bag[0].sum().backward()
    assert bool(torch.isfinite(x.grad).all())
    assert float(x.grad.sum()) > 0.5


def test_of_those_who_may_not_act_the_likeliest_is_to_speak() -> None:
    outputs, people = outputs_of(1, 4), people_of([3])
    people[0]["labels"][:] = 0
    people[0]["labels"][2, 1] = 1  # of this one it is known
    with torch.no_grad():
        outputs["pred_actor"][:] = 0
        outputs["pred_actions"][0, :, 0] = torch.tensor([-3.0, 2.0, -3.0, 0.0])
    losses_of(outputs, doubted(people, SOMEBODY)).total.backward()
    grad = outputs["pred_actor"].grad[0]
    assert float(grad[0]) == 0
    assert float(grad[1]) < 0
    assert float(grad[2]) < 0
    assert float(grad[3]) > 0
    outputs["pred_actor"].grad = None
    losses_of(outputs, doubted(people, SOMEBODY), "copy").total.backward()
    assert bool((outputs["pred_actor"].grad[0, :3] < 0).all())


def test_where_it_is_not_known_whether_anybody_acts_nobody_is_asked() -> None:
    outputs, people = outputs_of(1, 4), people_of([2])
    people[0]["labels"][:] = 0
    losses_of(outputs, doubted(people, UNKNOWN)).total.backward()
    assert bool((outputs["pred_actor"].grad[0, :2] == 0).all())


def test_a_bag_weighs_as_a_label_where_several_tokens_answer_for_a_person() -> None:
    people = doubted(people_of([2]), SOMEBODY)
    targets = pack(people, CLASSES, CPU)
    person = torch.tensor([0, 0, 0, 1])
    matches = Matches(clip=torch.zeros(4, dtype=torch.int64), token=torch.arange(4), person=person)
    partial = PartialLabels.of(targets, matches)
    assert partial is not None
    weights = tokens_a_person(partial)
    assert float(weights[0, 0]) == 2.0
    assert bool((weights[:, 1:] == 0).all())


def test_positives_of_a_class_weigh_as_asked() -> None:
    outputs, people = outputs_of(1, 4), people_of([2])
    people[0]["labels"][:] = 0
    weights = (5.0, 1.0, 1.0, 1.0)
    plain = losses_of(outputs, people).parts["action"]
    assert torch.equal(losses_of(outputs, people, class_weights=weights).parts["action"], plain)
    people[0]["labels"][0, 0] = 1
    plain = losses_of(outputs, people).parts["action"]
    more = losses_of(outputs, people, class_weights=weights).parts["action"] - plain
    one = torch.nn.functional.softplus(-outputs["pred_actions"][0, 0, 0])
    torch.testing.assert_close(more, 4 * one.detach())


@pytest.mark.parametrize(
    "config", [{"weak_loss": "max"}, {"class_weights": (1.0, 0.0)}], ids=["form", "weight"]
)
def test_forms_that_cannot_be_are_refused(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(config)).replace("_", ".")):
        CriterionConfig(**config)


def test_of_bags_alone_it_is_learned_who_does_it() -> None:
    """Half of the clips show one who does it beside two who watch, the others three who watch."""
    generator = torch.Generator().manual_seed(0)
    features = 0.3 * torch.randn(32, 3, 2, generator=generator)
    does = torch.zeros(32, 3, dtype=torch.bool)
    does[:16, 1] = True
    features[..., 0] += 1 - does.float()
    features[..., 1] += does.float()
    people = doubted(people_of([3] * 32), KNOWN)
    for clip in range(16):
        people[clip]["label_mask"][:, 0], people[clip]["bag_id"][:, 0] = False, 0
    outputs = {name: value.detach() for name, value in outputs_of(32, 3).items()}
    found = {}
    for weak in ("mil", "copy"):
        layer = torch.nn.Linear(2, 1)
        optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
        for _ in range(150):
            actions = torch.cat([layer(features), outputs["pred_actions"][..., 1:]], dim=-1)
            optimizer.zero_grad()
            losses_of({**outputs, "pred_actions": actions}, people, weak).total.backward()
            optimizer.step()
        probability = layer(features)[..., 0].sigmoid().detach()
        found[weak] = (
            float(probability[does].min()),
            float(probability[~does].mean()),
        )
    assert found["mil"][0] > 0.6
    assert found["mil"][1] < 0.05
    assert found["copy"][1] > 0.2
