"""What a model answered, clip by clip, on disk: whole parts that belong to one run.

The clips are cut into parts; each finished part is a file. A run that was stopped goes on with the
parts that are missing, and a set of outputs can be counted again at another threshold for free.
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.dataset import ClipDataset
from edge.evaluation.decode_errors import ReadClip, read_clip
from edge.evaluation.predictors import Predictor, fingerprint
from runtime.errors import ArtifactError, ConfigError
from runtime.outputs import atomic_file
from runtime.types import Outputs

F32 = npt.NDArray[np.float32]

PART_CLIPS = 16
STATE_FILE = "state.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What a folder of outputs belongs to; other outputs are never mixed in.

    Attributes:
        model_sha256: Of the weights.
        model: Name of the model, for messages.
        data: Name of the data set, for messages.
        clips: Number of clips.
        first_clip_sha256: Of the first clip and its truth; empty where it cannot be decoded, and
            then it tells nothing.
    """

    model_sha256: str
    model: str
    data: str
    clips: int
    first_clip_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOutputs:
    """One clip's truth and the model's answer, its classes in the order of the data set.

    Attributes:
        index: Of the clip in the data set.
        clip_id: Its name.
        size_wh: Width and height of the original frame, px.
        boxes: (M, 4) the people who act.
        labels: (M, C) what they do.
        inactive_persons: (K, 4) the people who do none of the actions.
        outputs: The model's answer; no token where the clip cannot be decoded.
        why: Why it cannot be decoded; empty where it can.
        has_truth: Whether its truth is known; it is where the clip can be decoded.
        ignore: (M,) of whom of `boxes` it is not known whether they act; None is nobody.
        ignored: (I, 4) people of whom the annotation does not speak; None is nobody.
    """

    index: int
    clip_id: str
    size_wh: tuple[int, int]
    boxes: F32
    labels: F32
    inactive_persons: F32
    outputs: Outputs
    why: str = ""
    has_truth: bool = True
    ignore: npt.NDArray[np.bool_] | None = None
    ignored: F32 | None = None


def state_of(predictor: Predictor, dataset: ClipDataset, data: str) -> RunState:
    """Return what identifies a run of this model over these clips."""
    read = read_clip(dataset, 0)
    first = read.sample
    content = (first.frames_rgb, first.boxes, first.labels, first.inactive_persons)
    arrays = [np.ascontiguousarray(array).tobytes() for array in content]
    return RunState(
        model_sha256=predictor.sha256,
        model=predictor.name,
        data=data,
        clips=len(dataset),
        first_clip_sha256=""
        if read.why
        else fingerprint(first.clip_id, *dataset.class_names, *arrays),
    )


def prepare_folder(
    folder: Path,
    state: RunState,
    *,
    resume: bool = False,
    overwrite: bool = False,
    shared: bool = False,
) -> None:
    """Make the folder of outputs, empty or with the finished parts of this very run.

    Args:
        folder: Of outputs only; the reports lie in its parent.
        state: What will be computed.
        resume: Go on with what is there.
        overwrite: Begin again, whatever is there.
        shared: Other processes may begin in the folder at this moment: join them, delete nothing.

    Raises:
        ConfigError: There are outputs, and they are not to be continued, or of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / STATE_FILE
    if shared:
        _begin_shared(folder, state)
    there = None if overwrite else _read_state(file)
    if there is None:
        for part in folder.glob("[0-9]*.npz"):
            part.unlink()
        _write_state(file, state)
        return
    if not (resume or shared):
        raise ConfigError(
            f"{folder.parent} holds outputs of {there.model} on {there.data}; pass --resume to go "
            "on with them, --overwrite to begin again, or another --out"
        )
    if not (state.first_clip_sha256 and there.first_clip_sha256):
        there = replace(there, first_clip_sha256=state.first_clip_sha256)
    wrong = [name for name, value in asdict(state).items() if value != getattr(there, name)]
    if wrong:
        raise ConfigError(
            f"{folder.parent} holds outputs of {there.model} on {there.data}, of another run: "
            f"{', '.join(wrong)} differ; pass --overwrite to begin again, or another --out"
        )


def _begin_shared(folder: Path, state: RunState) -> None:
    """Write the state unless another process has."""
    # In this order: whoever writes parts has written the state before.
    orphan = next(folder.glob("[0-9]*.npz"), None)
    file = folder / STATE_FILE
    if file.exists():
        return
    if orphan is not None:
        raise ConfigError(
            f"{folder} holds outputs without {STATE_FILE}, so of an unknown run; delete them, or "
            "give another --out"
        )
    _write_state(file, state, only_first=True)


def part_size(part: int, total: int) -> int:
    """Return how many of all clips are in a part."""
    return min(PART_CLIPS, total - part * PART_CLIPS)


def parts_of(clips: int, shard: tuple[int, int] = (0, 1)) -> range:
    """Return the parts of a share: every so many of them, so that shares take as long as others.

    Args:
        clips: Number of all clips.
        shard: Which share, from 0, and the number of shares.
    """
    share, shares = shard
    return range(share, -(-clips // PART_CLIPS), shares)


def missing_parts(folder: Path, parts: Iterable[int]) -> list[int]:
    """Return those that are not there, not whole, or hold clips that could not be decoded."""
    return [part for part in parts if not _is_finished(_part_file(folder, part))]


def write_part(
    folder: Path, part: int, clips: Sequence[ReadClip], outputs: Sequence[Outputs]
) -> None:
    """Write the clips of a part, whole or not at all.

    Args:
        folder: Made ready by `prepare_folder`.
        part: Its number.
        clips: The clips; their frames are not kept.
        outputs: The answers to those that were decoded, classes in the order of the data set.
    """
    samples = [clip.sample for clip in clips]
    answers = outputs or [_no_answer(samples[0].labels.shape[1])]
    boxes, actor, actions = (
        np.stack(column)[: len(outputs)] for column in zip(*answers, strict=True)
    )
    arrays = {
        "clip_id": np.array([sample.clip_id for sample in samples]),
        "size_wh": np.array([sample.size_wh for sample in samples]),
        "num_boxes": np.array([len(sample.boxes) for sample in samples]),
        "num_bystanders": np.array([len(sample.inactive_persons) for sample in samples]),
        "boxes": np.concatenate([sample.boxes for sample in samples]),
        "labels": np.concatenate([sample.labels for sample in samples]),
        "bystanders": np.concatenate([sample.inactive_persons for sample in samples]),
        "undecided": np.concatenate([sample.ignore for sample in samples]),
        "num_ignored": np.array([len(sample.ignored) for sample in samples]),
        "ignored": np.concatenate([sample.ignored for sample in samples]),
        "why": np.array([clip.why for clip in clips]),
        "has_truth": np.array([clip.has_truth for clip in clips]),
        "pred_boxes": boxes,
        "pred_actor": actor,
        "pred_actions": actions,
    }
    with atomic_file(_part_file(folder, part)) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_outputs(folder: Path, clips: int) -> Iterator[ClipOutputs]:
    """Yield the clips of a finished run, in the order of the data set."""
    for part in parts_of(clips):
        with np.load(_part_file(folder, part), allow_pickle=False) as data:
            arrays = dict(data)
        people = np.cumsum(arrays["num_boxes"])[:-1]
        beside = np.cumsum(arrays["num_bystanders"])[:-1]
        # A part that was written before these were kept holds whole clips only.
        why = arrays["why"].tolist() if "why" in arrays else [""] * len(arrays["clip_id"])
        has_truth = arrays["has_truth"].tolist() if "has_truth" in arrays else [True] * len(why)
        ignore = arrays.get("undecided", np.zeros(len(arrays["boxes"]), bool))
        nobody = np.zeros((0, 4), np.float32)
        unspoken = np.split(
            arrays.get("ignored", nobody),
            np.cumsum(arrays.get("num_ignored", np.zeros(len(why), np.int64)))[:-1],
        )
        predicted = (arrays[name] for name in ("pred_boxes", "pred_actor", "pred_actions"))
        answers = itertools.starmap(Outputs, zip(*predicted, strict=True))
        nothing = _no_answer(arrays["labels"].shape[1])
        rows = zip(
            itertools.count(part * PART_CLIPS),
            arrays["clip_id"].tolist(),
            arrays["size_wh"].tolist(),
            np.split(arrays["boxes"], people),
            np.split(arrays["labels"], people),
            np.split(arrays["bystanders"], beside),
            why,
            has_truth,
            np.split(ignore, people),
            unspoken,
            strict=False,  # numbers go on
        )
        for index, clip_id, (
            width,
            height,
        ), boxes, labels, inactive_persons, reason, known, open_, ignored in rows:
            yield ClipOutputs(
                index=index,
                clip_id=clip_id,
                size_wh=(width, height),
                boxes=boxes,
                labels=labels,
                inactive_persons=inactive_persons,
                outputs=nothing if reason else next(answers),
                why=reason,
                has_truth=known,
                ignore=open_,
                ignored=ignored,
            )


def _part_file(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npz"


def _no_answer(classes: int) -> Outputs:
    """Return the outputs of a model that says nothing."""
    return Outputs(
        np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, classes), np.float32)
    )  # fmt: skip


def _is_finished(path: Path) -> bool:
    """Return whether a part is there, readable and of decoded clips; else it is made again.

    What could not be decoded may be mended by now, or lie on a disk that was not there.
    """
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return False
        with np.load(path, allow_pickle=False) as data:
            return "why" not in data or not any(data["why"].tolist())
    except (zipfile.BadZipFile, OSError, EOFError, ValueError):
        return False


def _read_state(file: Path) -> RunState | None:
    if not file.exists():
        return None
    try:
        return RunState(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{file} is damaged ({type(error).__name__}); pass --overwrite to begin again"
        ) from error


def _write_state(file: Path, state: RunState, *, only_first: bool = False) -> None:
    """Write the state whole; with `only_first`, unless another process was faster."""
    unfinished = _unfinished(file)
    unfinished.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    try:
        if only_first:
            try:
                os.link(unfinished, file)
                return
            except FileExistsError:
                return
            except OSError:  # this file system has no links; equal shares write the same anyway
                pass
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    """Return a name beside a file that no other process takes, on this machine or another."""
    return path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
