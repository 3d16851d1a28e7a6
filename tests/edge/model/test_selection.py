"""The four token selections: which slices, in which order, and that a mean is the mean."""

from __future__ import annotations

import pytest
import torch

from edge.model.selection import (
    TOKEN_SELECTIONS,
    TokenSelection,
    check_selection,
    merge_slices,
    num_tokens,
    select,
)
from runtime.errors import ConfigError


def slices_of(count: int, batch: int = 1) -> list[torch.Tensor]:
    """Slice t holds t everywhere, plus 100 for the second clip."""
    clips = torch.arange(batch).view(batch, 1, 1, 1) * 100.0
    return [(clips + t).expand(batch, 2, 3, 4) for t in range(count)]


@pytest.mark.parametrize(
    ("selection", "count", "where", "what"),
    [
        pytest.param("all", 4, [0, 1, 2, 3], [0, 1, 2, 3], id="all"),
        pytest.param("centre", 4, [2], [2], id="centre-even"),
        pytest.param("centre", 5, [2], [2], id="centre-odd"),
        pytest.param("centre_mean", 4, [2], [1.5], id="centre-mean-even"),
        pytest.param("centre_mean", 3, [1], [1], id="centre-mean-odd"),
        pytest.param("halves", 8, [3, 4], [1.5, 5.5], id="halves-of-8"),
        pytest.param("halves", 2, [0, 1], [0, 1], id="halves-of-2"),
    ],
)
def test_selection_reads_the_slices_of_the_method(
    selection: TokenSelection, count: int, where: list[float], what: list[float]
) -> None:
    located, acting = select(slices_of(count), selection)
    assert [float(item.mean()) for item in located] == pytest.approx(where)
    assert [float(item.mean()) for item in acting] == pytest.approx(what)


def test_means_equal_torch_means_over_time() -> None:
    features = torch.randn(2, 5, 6, 3, 4)  # B, C, T, H, W
    slices = list(features.unbind(2))
    _, halves = select(slices, "halves")
    _, whole = select(slices, "centre_mean")
    torch.testing.assert_close(halves[0], features[:, :, :3].mean(2))
    torch.testing.assert_close(halves[1], features[:, :, 3:].mean(2))
    torch.testing.assert_close(whole[0], features.mean(2))


def test_merged_batch_equals_merged_single_clips() -> None:
    batched = merge_slices(slices_of(3, batch=2))
    alone = merge_slices(slices_of(3))
    assert batched.shape == (6, 2, 3, 4)
    torch.testing.assert_close(batched[:3], alone)
    torch.testing.assert_close(batched[3:], alone + 100)


@pytest.mark.parametrize(
    ("selection", "expected"),
    [("all", 8 * 256), ("centre", 256), ("centre_mean", 256), ("halves", 512)],
)
def test_token_counts_of_the_paper(selection: TokenSelection, expected: int) -> None:
    assert num_tokens(selection, (8, 16, 16)) == expected


def test_odd_time_cannot_be_halved() -> None:
    with pytest.raises(
        ConfigError, match="even number of temporal positions, the backbone gives 3"
    ):
        check_selection("halves", (3, 4, 4))


def test_unknown_selection_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'halves'"):
        check_selection("halfs", (4, 4, 4))


@pytest.mark.parametrize("selection", TOKEN_SELECTIONS)
def test_every_selection_fits_an_even_grid(selection: str) -> None:
    assert check_selection(selection, (4, 2, 2)) == selection
