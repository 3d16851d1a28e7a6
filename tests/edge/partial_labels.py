"""Masks of labels in the short form of tests: a letter, or a code, for each person and class."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
import numpy.typing as npt

from edge.data.samples import I64, Bools, ClipSample

KNOWN, SOMEBODY, UNKNOWN = 0, 1, 2


class Masks(TypedDict):
    """Arguments of `ClipSample`."""

    label_mask: Bools
    bag_id: I64


def masks(codes: npt.ArrayLike, bag: npt.ArrayLike = 0) -> Masks:
    """Return the masks of codes (M, C); `bag` is the number of each person's bag, or of all."""
    code = np.asarray(codes)
    number = np.broadcast_to(np.asarray(bag), len(code))[:, None]
    bag_id = np.where(code == SOMEBODY, number, -1).astype(np.int64)
    return {"label_mask": code == KNOWN, "bag_id": bag_id}


def codes(sample: ClipSample) -> npt.NDArray[np.int64]:
    """Return what is known of each label of a clip, (M, C)."""
    return np.where(sample.label_mask, KNOWN, np.where(sample.bag_id >= 0, SOMEBODY, UNKNOWN))
