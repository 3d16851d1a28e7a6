"""What a model answered, clip by clip, on disk: whole parts that belong to one run.

The clips are cut into parts; each finished part is a file. A run that was stopped goes on with the
parts that are missing, and a set of outputs can be counted again at another threshold for free.
"""

from __future__ import annotations

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
from edge.data.samples import ClipSample
from edge.evaluation.decode_errors import EvalClip, read_clip
from edge.evaluation.predictors import Predictor, fingerprint
from runtime.archives import UNREADABLE
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
        if read.reason
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


_PREDICTED = ("pred_boxes", "pred_actor", "pred_actions")


def write_part(folder: Path, part: int, clips: Sequence[EvalClip]) -> None:
    """Write the clips of a part, whole or not at all.

    Args:
        folder: Made ready by `prepare_folder`.
        part: Its number.
        clips: The clips; their frames are not kept. Classes are in the order of the data set.
    """
    samples = [clip.sample for clip in clips]
    outputs = [clip.outputs for clip in clips if clip.outputs is not None]
    arrays = {
        "clip_id": np.array([sample.clip_id for sample in samples]),
        "size_wh": np.array([sample.size_wh for sample in samples]),
        "num_boxes": np.array([len(sample.boxes) for sample in samples]),
        "num_bystanders": np.array([len(sample.inactive_persons) for sample in samples]),
        "num_ignored": np.array([len(sample.ignored) for sample in samples]),
        "boxes": np.concatenate([sample.boxes for sample in samples]),
        "labels": np.concatenate([sample.labels for sample in samples]),
        "undecided": np.concatenate([sample.ignore for sample in samples]),
        "bystanders": np.concatenate([sample.inactive_persons for sample in samples]),
        "ignored": np.concatenate([sample.ignored for sample in samples]),
        "why": np.array([clip.reason for clip in clips]),
        "has_truth": np.array([clip.has_truth for clip in clips]),
        **{
            name: np.array(column, np.float32)
            for name, column in zip(_PREDICTED, zip(*outputs, strict=True), strict=False)
        },
    }
    with atomic_file(_part_file(folder, part)) as unfinished, unfinished.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]


def read_outputs(folder: Path, clips: int) -> Iterator[EvalClip]:
    """Yield the clips of a finished run, without frames, in the order of the data set."""
    for part in parts_of(clips):
        with np.load(_part_file(folder, part), allow_pickle=False) as data:
            arrays = dict(data)
        count = len(arrays["clip_id"])
        # A part that was written before these were kept holds whole clips only.
        arrays = {
            "why": np.full(count, ""), "has_truth": np.ones(count, bool),
            "undecided": np.zeros(len(arrays["boxes"]), bool),
            "ignored": np.zeros((0, 4), np.float32), "num_ignored": np.zeros(count, np.int64),
            **arrays,
        }  # fmt: skip
        rows = {
            name: np.split(arrays[name], np.cumsum(arrays[f"num_{of}"])[:-1])
            for name, of in (("boxes", "boxes"), ("labels", "boxes"), ("undecided", "boxes"),
                             ("bystanders", "bystanders"), ("ignored", "ignored"))
        }  # fmt: skip
        outputs = map(Outputs, *(arrays.get(name, ()) for name in _PREDICTED))
        for at, reason in enumerate(arrays["why"].tolist()):
            labels, known = rows["labels"][at], ~rows["undecided"][at]
            sample = ClipSample(
                frames_rgb=np.zeros((0, 0, 0, 3), np.uint8),
                boxes=rows["boxes"][at],
                labels=labels,
                label_mask=np.repeat(known[:, None], labels.shape[1], axis=1),
                inactive_persons=rows["bystanders"][at],
                ignored=rows["ignored"][at],
                clip_id=str(arrays["clip_id"][at]),
                size_wh=(int(arrays["size_wh"][at][0]), int(arrays["size_wh"][at][1])),
            )
            yield EvalClip(
                index=part * PART_CLIPS + at, sample=sample, reason=reason,
                has_truth=bool(arrays["has_truth"][at]), outputs=None if reason else next(outputs),
            )  # fmt: skip


def _part_file(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npz"


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
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            return "why" not in data or not any(data["why"].tolist())
    except UNREADABLE:
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
