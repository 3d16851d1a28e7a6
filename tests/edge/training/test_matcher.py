"""The matching: properties that must hold for any outputs and any people."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.training.boxes import cxcywh_to_xyxy, generalized_iou, xyxy_to_cxcywh
from edge.training.loss_options import MatcherConfig
from edge.training.matcher import HungarianMatcher, Matches
from edge.training.targets import ClipTarget, PackedTargets, pack
from runtime.errors import ConfigError, TrainingError

torch.set_num_threads(1)

CLASSES = 3
CPU = torch.device("cpu")
seeds = st.integers(0, 2**31 - 1)
costs = st.sampled_from(["focal", "probability"])


def outputs_of(clips: int, tokens: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    return {
        "pred_boxes": torch.rand(clips, tokens, 4, generator=generator),
        "pred_actor": torch.randn(clips, tokens, generator=generator) * 3,
        "pred_actions": torch.randn(clips, tokens, CLASSES, generator=generator),
    }


def people_of(counts: list[int], generator: torch.Generator) -> list[ClipTarget]:
    return [
        {
            "boxes": torch.rand(count, 4, generator=generator),
            "labels": (torch.rand(count, CLASSES, generator=generator) > 0.5).float(),
            "clip_id": f"clip-{index}",
        }
        for index, count in enumerate(counts)
    ]


def packed(counts: list[int], generator: torch.Generator) -> PackedTargets:
    return pack(people_of(counts, generator), CLASSES, CPU)


def pairs(matches: Matches) -> set[tuple[int, int, int]]:
    return set(
        zip(matches.clip.tolist(), matches.token.tolist(), matches.person.tolist(), strict=True)
    )


@settings(deadline=None, max_examples=40)
@given(seed=seeds, form=costs, counts=st.lists(st.integers(0, 7), min_size=1, max_size=4))
def test_every_person_is_matched_once_as_far_as_tokens_reach(
    seed: int, form: str, counts: list[int]
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matcher = HungarianMatcher(MatcherConfig(actor_cost=form))
    matches = matcher(outputs_of(len(counts), 5, generator), packed(counts, generator))
    assert len(matches) == sum(min(5, count) for count in counts)
    for clip, count in enumerate(counts):
        mine = matches.clip == clip
        tokens, people = matches.token[mine].tolist(), matches.person[mine].tolist()
        assert len(set(tokens)) == len(tokens) == min(5, count)
        assert len(set(people)) == len(people)
        assert all(0 <= person < count for person in people)


@settings(deadline=None, max_examples=40)
@given(seed=seeds, order=st.permutations(range(9)))
def test_permuted_tokens_are_matched_alike(seed: int, order: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, targets = outputs_of(2, 9, generator), packed([3, 1], generator)
    shuffled = {name: value[:, order] for name, value in outputs.items()}
    matcher = HungarianMatcher()
    straight = pairs(matcher(outputs, targets))
    assert {(c, order[t], p) for c, t, p in pairs(matcher(shuffled, targets))} == straight


@settings(deadline=None, max_examples=40)
@given(seed=seeds, counts=st.lists(st.integers(0, 6), min_size=1, max_size=4))
def test_a_batch_is_matched_as_its_clips_alone(seed: int, counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, people = outputs_of(len(counts), 6, generator), people_of(counts, generator)
    matcher = HungarianMatcher()
    together = pairs(matcher(outputs, pack(people, CLASSES, CPU)))
    alone = set()
    for clip in range(len(counts)):
        single = {name: value[clip : clip + 1] for name, value in outputs.items()}
        found = matcher(single, pack(people[clip : clip + 1], CLASSES, CPU))
        alone |= {(clip, t, p) for _, t, p in pairs(found)}
    assert together == alone


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_no_other_assignment_costs_less(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, targets = outputs_of(1, 5, generator), packed([3], generator)
    matcher = HungarianMatcher()
    cost = matcher.cost(outputs["pred_boxes"], outputs["pred_actor"], targets.boxes)[0]
    matches = matcher(outputs, targets)
    found = float(cost[matches.token, matches.person].sum())
    best = min(
        sum(float(cost[token, person]) for person, token in enumerate(choice))
        for choice in permutations(range(5), 3)
    )
    assert found == pytest.approx(best, abs=1e-4)


@settings(deadline=None, max_examples=25)
@given(seed=seeds)
def test_action_classes_have_no_say(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    outputs, targets = outputs_of(2, 6, generator), packed([2, 3], generator)
    other = {**outputs, "pred_actions": torch.randn(2, 6, CLASSES) * 100}
    assert pairs(HungarianMatcher()(outputs, targets)) == pairs(HungarianMatcher()(other, targets))


def test_a_batch_without_people_has_no_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    matches = HungarianMatcher()(outputs_of(3, 4, generator), packed([0, 0, 0], generator))
    assert len(matches) == 0
    assert matches.token.dtype == torch.int64


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([0.5, 0.5, 0.0, 0.0], id="point"),
        pytest.param([0.5, 0.5, 0.0, 0.4], id="line"),
        pytest.param([0.0, 1.0, 0.0, 0.0], id="corner"),
        pytest.param([2.0, 2.0, 0.1, 0.1], id="outside"),
        pytest.param([0.5, 0.5, 1e-20, 1e-20], id="tiny"),
    ],
)
def test_degenerate_boxes_are_matched_like_others(box: list[float]) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = outputs_of(1, 4, generator)
    outputs["pred_boxes"][0, 2] = torch.tensor(box)
    targets = people_of([2], generator)
    targets[0]["boxes"][0] = torch.tensor(box)
    matches = HungarianMatcher()(outputs, pack(targets, CLASSES, CPU))
    assert (0, 2, 0) in pairs(matches)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["pred_boxes", "pred_actor"])
@pytest.mark.parametrize("clip", [pytest.param(0, id="nobody"), pytest.param(1, id="people")])
def test_what_is_not_finite_is_an_error_with_the_clips_names(
    value: float, name: str, clip: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = outputs_of(3, 4, generator)
    outputs[name][clip, 1] = value
    with pytest.raises(TrainingError, match=f"1 of the 3 clips of this batch: clip-{clip}"):
        HungarianMatcher()(outputs, packed([0, 2, 1], generator))


def test_a_target_that_is_not_finite_is_an_error_too() -> None:
    generator = torch.Generator().manual_seed(0)
    targets = people_of([1, 1], generator)
    targets[1]["boxes"][0, 2] = float("nan")
    with pytest.raises(TrainingError, match="clip-1"):
        HungarianMatcher()(outputs_of(2, 4, generator), pack(targets, CLASSES, CPU))


def test_a_sure_token_with_a_good_box_is_the_one() -> None:
    targets: list[ClipTarget] = [
        {
            "boxes": torch.tensor([[0.3, 0.3, 0.2, 0.4]]),
            "labels": torch.zeros(1, CLASSES),
            "clip_id": "a",
        }
    ]
    boxes = torch.tensor([[[0.3, 0.3, 0.2, 0.4], [0.3, 0.3, 0.2, 0.4], [0.8, 0.8, 0.2, 0.4]]])
    outputs = {"pred_boxes": boxes, "pred_actor": torch.tensor([[-2.0, 1.0, 1.5]])}
    assert pairs(HungarianMatcher()(outputs, pack(targets, CLASSES, CPU))) == {(0, 1, 0)}


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_overlaps_stay_in_range_and_boxes_come_back(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(6, 4, generator=generator)
    corners = cxcywh_to_xyxy(boxes)
    torch.testing.assert_close(xyxy_to_cxcywh(corners), boxes)
    iou, giou = generalized_iou(corners[:, None], corners[None])
    assert float(iou.min()) >= 0
    assert float(iou.max()) <= 1 + 1e-5
    assert float(giou.min()) >= -1 - 1e-5
    torch.testing.assert_close(giou, giou.T)
    torch.testing.assert_close(iou.diagonal(), torch.ones(6), atol=1e-4, rtol=0)


def test_overlap_of_known_boxes() -> None:
    first = torch.tensor([0.0, 0.0, 0.4, 0.4])
    second = torch.tensor([0.2, 0.0, 0.6, 0.4])
    iou, giou = generalized_iou(first, second)
    assert float(iou) == pytest.approx(1 / 3)
    assert float(giou) == pytest.approx(1 / 3)  # nothing between them
    _, apart = generalized_iou(first, torch.tensor([0.6, 0.0, 1.0, 0.4]))
    assert float(apart) == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param({"set_cost_bbox": -1.0}, "--set-cost-bbox", id="negative"),
        pytest.param({"set_cost_class": float("nan")}, "--set-cost-class", id="nan"),
        pytest.param(
            {"set_cost_class": 0.0, "set_cost_bbox": 0.0, "set_cost_giou": 0.0}, "all 0", id="none"
        ),
        pytest.param({"actor_cost": "logit"}, "--actor-cost", id="form"),
        pytest.param({"alpha": 1.5}, "alpha", id="alpha"),
    ],
)
def test_weights_that_cannot_be_are_refused(fields: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        MatcherConfig(**fields)


def test_as_many_targets_as_clips_are_wanted() -> None:
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ConfigError, match="2 clips need as many targets, got 1"):
        HungarianMatcher()(outputs_of(2, 4, generator), packed([1], generator))


def test_targets_of_another_number_of_classes_are_refused() -> None:
    targets = people_of([2], torch.Generator().manual_seed(0))
    with pytest.raises(ConfigError, match="'clip-0'"):
        pack(targets, CLASSES + 1, CPU)
