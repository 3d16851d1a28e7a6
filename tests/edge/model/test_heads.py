"""The three heads: shapes, box references, the start of the actor score."""

from __future__ import annotations

import pytest
import torch

from edge.model.heads import DetectionHeads, HeadConfig, reference_logits
from runtime.errors import ConfigError


def silent(heads: DetectionHeads) -> DetectionHeads:
    """Set every weight to zero, so that only biases and references count."""
    with torch.no_grad():
        for name, parameter in heads.named_parameters():
            if name.endswith("weight"):
                parameter.zero_()
    return heads.eval()


def test_reference_box_sits_at_the_tokens_own_place() -> None:
    config = HeadConfig(reference_size=(0.2, 0.4))
    heads = silent(DetectionHeads(8, 3, (2, 5), config))
    boxes, _, _ = heads(torch.randn(1, 8, 2, 5), torch.randn(1, 8, 2, 5))
    for row in range(2):
        for column in range(5):
            expected = torch.tensor([(column + 0.5) / 5, (row + 0.5) / 2, 0.2, 0.4])
            torch.testing.assert_close(boxes[0, :, row, column], expected)


def test_absolute_boxes_start_at_the_middle_everywhere() -> None:
    heads = silent(DetectionHeads(8, 3, (2, 5), HeadConfig(box_reference="absolute")))
    boxes, _, _ = heads(torch.randn(1, 8, 2, 5), torch.randn(1, 8, 2, 5))
    torch.testing.assert_close(boxes, torch.full_like(boxes, 0.5))


def test_scores_start_at_their_priors() -> None:
    heads = silent(DetectionHeads(8, 3, (4, 4), HeadConfig(actor_prior=0.02, action_prior=0.2)))
    _, actor, actions = heads(torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4))
    torch.testing.assert_close(actor.sigmoid(), torch.full_like(actor, 0.02))
    torch.testing.assert_close(actions.sigmoid(), torch.full_like(actions, 0.2))


def test_boxes_and_actor_read_where_and_actions_read_what() -> None:
    torch.manual_seed(0)
    heads = DetectionHeads(8, 3, (2, 2), HeadConfig()).eval()
    where, what, other = (torch.randn(1, 8, 2, 2) for _ in range(3))
    boxes, actor, actions = heads(where, what)
    boxes_2, actor_2, actions_2 = heads(where, other)
    assert torch.equal(boxes, boxes_2)
    assert torch.equal(actor, actor_2)
    assert not torch.equal(actions, actions_2)


def test_slices_have_references_of_their_own_size() -> None:
    config = HeadConfig(reference_size=(0.2, 0.4), reference_spread=4.0, slice_embedding=False)
    heads = silent(DetectionHeads(8, 3, (2, 2), config, num_slices=2))
    features = torch.randn(6, 8, 2, 2)  # three clips of two slices
    boxes, _, _ = heads(features, features)
    sizes = boxes[:, 2:, 0, 0]
    expected = torch.tensor([[0.1, 0.2], [0.4, 0.8]]).repeat(3, 1)
    torch.testing.assert_close(sizes, expected)


def test_a_slice_embedding_tells_equal_features_apart() -> None:
    torch.manual_seed(0)
    features = torch.randn(1, 8, 2, 2).repeat(2, 1, 1, 1)
    config = HeadConfig(reference_spread=1.0)
    named = DetectionHeads(8, 3, (2, 2), config, num_slices=2).eval()
    nameless = DetectionHeads(
        8, 3, (2, 2), HeadConfig(reference_spread=1.0, slice_embedding=False), num_slices=2
    ).eval()
    for output in named(features, features):
        assert not torch.equal(output[0], output[1])
    for output in nameless(features, features):
        assert torch.equal(output[0], output[1])


def test_a_batch_of_slices_equals_its_clips() -> None:
    torch.manual_seed(0)
    heads = DetectionHeads(8, 3, (2, 3), HeadConfig(), num_slices=2).eval()
    where, what = torch.randn(6, 8, 2, 3), torch.randn(6, 8, 2, 3)
    together = heads(where, what)
    alone = [heads(where[i : i + 2], what[i : i + 2]) for i in (0, 2, 4)]
    for index, output in enumerate(together):
        torch.testing.assert_close(output, torch.cat([each[index] for each in alone]))


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_mlp_has_as_many_layers_as_asked(num_layers: int) -> None:
    heads = DetectionHeads(8, 3, (2, 2), HeadConfig(num_layers=num_layers, hidden_channels=16))
    convolutions = [m for m in heads.actions.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [16] * (num_layers - 1) + [3]
    assert heads(torch.randn(2, 8, 2, 2), torch.randn(2, 8, 2, 2))[2].shape == (2, 3, 2, 2)


def test_reference_is_not_part_of_the_weights() -> None:
    heads = DetectionHeads(8, 3, (2, 2), HeadConfig())
    assert "box_reference" not in heads.state_dict()
    assert reference_logits((2, 2), HeadConfig()).shape == (1, 4, 2, 2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param({"hidden_channels": 0}, "hidden_channels", id="hidden"),
        pytest.param({"num_layers": 0}, "num_layers", id="layers"),
        pytest.param({"box_reference": "anchor"}, "'token' or 'absolute'", id="reference"),
        pytest.param({"reference_size": (0.2, 1.5)}, "reference_size", id="size"),
        pytest.param({"reference_spread": 0.0}, "reference_spread", id="spread"),
        pytest.param({"reference_spread": 64.0}, "larger than the frame", id="spread-too-large"),
        pytest.param({"actor_prior": 1.0}, "actor_prior", id="prior"),
        pytest.param({"action_prior": 0.0}, "action_prior", id="action-prior"),
    ],
)
def test_bad_values_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        HeadConfig(**fields)  # type: ignore[arg-type]
