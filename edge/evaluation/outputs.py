"""Run a model over a data set, in one process or several, and keep what it answered.

The clips are cut into parts; each finished part is a file. A run that was stopped goes on with the
parts that are missing, and a set of outputs can be counted again at another threshold for free.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge.data.samples import ClipDataset
from edge.evaluation.predictors import ModelChoice, Outputs, Predictor, fingerprint, open_predictor
from runtime.errors import ArtifactError, ConfigError, EdgeError

Progress = Callable[[str, int, int], None]
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
        first_clip_sha256: Of the first clip and its truth.
    """

    model_sha256: str
    model: str
    data: str
    clips: int
    first_clip_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOutputs:
    """One clip's truth and the model's answer, its classes in the order of the data set."""

    clip_id: str
    size_wh: tuple[int, int]
    boxes: F32
    labels: F32
    bystanders: F32
    outputs: Outputs


def state_of(predictor: Predictor, dataset: ClipDataset, data: str) -> RunState:
    """Return what identifies a run of this model over these clips."""
    first = dataset[0]
    content = (first.frames_rgb, first.boxes, first.labels, first.bystanders)
    arrays = [np.ascontiguousarray(array).tobytes() for array in content]
    return RunState(
        model_sha256=predictor.sha256,
        model=predictor.name,
        data=data,
        clips=len(dataset),
        first_clip_sha256=fingerprint(first.clip_id, *dataset.class_names, *arrays),
    )


def class_order(predictor: Predictor, dataset: ClipDataset) -> list[int]:
    """Return which output of the model stands for each class of the data set.

    Raises:
        ConfigError: They do not know the same classes.
    """
    model, data = predictor.class_names, dataset.class_names
    if set(model) != set(data):
        only = [
            f"only the {who} knows {', '.join(sorted(set(a) - set(b))[:6])}"
            for who, a, b in (("model", model, data), ("data set", data, model))
            if set(a) - set(b)
        ]
        raise ConfigError(
            f"{predictor.name} has {len(model)} classes and the data set {len(data)}, and they "
            f"differ: {'; '.join(only)}. Evaluate a model on the classes it was trained for"
        )
    return [model.index(name) for name in data]


def prepare_folder(
    folder: Path, state: RunState, *, resume: bool = False, overwrite: bool = False
) -> None:
    """Make the folder of outputs, empty or with the finished parts of this very run.

    Args:
        folder: Of outputs only; the reports lie in its parent.
        state: What will be computed.
        resume: Go on with what is there.
        overwrite: Begin again, whatever is there.

    Raises:
        ConfigError: There are outputs, and they are not to be continued, or of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / STATE_FILE
    there = None if overwrite else _read_state(file)
    if there is None:
        for part in folder.glob("[0-9]*.npz"):
            part.unlink()
        _write_text(file, json.dumps(asdict(state), indent=1) + "\n")
        return
    if not resume:
        raise ConfigError(
            f"{folder.parent} holds outputs of {there.model} on {there.data}; pass --resume to go "
            "on with them, --overwrite to begin again, or another --out"
        )
    wrong = [name for name, value in asdict(state).items() if value != getattr(there, name)]
    if wrong:
        raise ConfigError(
            f"{folder.parent} holds outputs of {there.model} on {there.data}, of another run: "
            f"{', '.join(wrong)} differ; pass --overwrite to begin again, or another --out"
        )


def compute_outputs(
    choice: ModelChoice,
    dataset: ClipDataset,
    folder: Path,
    *,
    predictor: Predictor,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Run the model over every clip whose part is not there yet.

    Args:
        choice: The model, for the workers to load.
        dataset: The clips; with several workers it is sent to them.
        folder: Made ready by `prepare_folder`.
        predictor: The loaded model, used where there is one worker.
        workers: Processes; 1 stays in this one.
        progress: Told of the clips that are done.

    Raises:
        EdgeError: A clip cannot be made or run; a process was killed.
    """
    total = len(dataset)
    parts = range(-(-total // PART_CLIPS))
    missing = [part for part in parts if not _is_whole(_part_file(folder, part))]
    done = sum(_size(part, total) for part in parts if part not in set(missing))
    step = "clips"
    if progress is not None:
        progress(step, done, total)
    if workers == 1 or len(missing) <= 1:
        worker = _Worker(predictor, dataset, folder)
        finished: Iterator[int] = (worker.run(part) for part in missing)
    else:
        finished = _in_processes(choice, dataset, folder, missing, min(workers, len(missing)))
    for part in finished:
        done += _size(part, total)
        if progress is not None:
            progress(step, done, total)


def read_outputs(folder: Path, clips: int) -> Iterator[ClipOutputs]:
    """Yield the clips of a finished run, in the order of the data set."""
    for part in range(-(-clips // PART_CLIPS)):
        with np.load(_part_file(folder, part), allow_pickle=False) as data:
            arrays = dict(data)
        people = np.cumsum(arrays["num_boxes"])[:-1]
        beside = np.cumsum(arrays["num_bystanders"])[:-1]
        rows = zip(
            arrays["clip_id"].tolist(),
            arrays["size_wh"].tolist(),
            np.split(arrays["boxes"], people),
            np.split(arrays["labels"], people),
            np.split(arrays["bystanders"], beside),
            zip(arrays["pred_boxes"], arrays["pred_actor"], arrays["pred_actions"], strict=True),
            strict=True,
        )
        for clip_id, (width, height), boxes, labels, bystanders, outputs in rows:
            yield ClipOutputs(
                clip_id=clip_id,
                size_wh=(width, height),
                boxes=boxes,
                labels=labels,
                bystanders=bystanders,
                outputs=outputs,
            )


class _Worker:
    """One loaded model and the data set, in one process."""

    def __init__(self, predictor: Predictor, dataset: ClipDataset, folder: Path) -> None:
        self.predictor, self.dataset, self.folder = predictor, dataset, folder
        self.order = class_order(predictor, dataset)

    def run(self, part: int) -> int:
        """Make one part's file and return its number."""
        start = part * PART_CLIPS
        samples = [
            self.dataset[index] for index in range(start, start + _size(part, len(self.dataset)))
        ]
        outputs = self.predictor.run([sample.frames_rgb for sample in samples])
        boxes, actor, actions = (np.stack(column) for column in zip(*outputs, strict=True))
        arrays = {
            "clip_id": np.array([sample.clip_id for sample in samples]),
            "size_wh": np.array([sample.size_wh for sample in samples]),
            "num_boxes": np.array([len(sample.boxes) for sample in samples]),
            "num_bystanders": np.array([len(sample.bystanders) for sample in samples]),
            "boxes": np.concatenate([sample.boxes for sample in samples]),
            "labels": np.concatenate([sample.labels for sample in samples]),
            "bystanders": np.concatenate([sample.bystanders for sample in samples]),
            "pred_boxes": boxes,
            "pred_actor": actor,
            "pred_actions": actions[..., self.order],
        }
        path = _part_file(self.folder, part)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with unfinished.open("wb") as stream:
                np.savez(stream, **arrays)  # type: ignore[arg-type]
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        return part


_worker: _Worker | None = None  # of this process, where it is one of several


def _start_worker(choice: ModelChoice, dataset: ClipDataset, folder: Path) -> None:
    global _worker
    # An interrupt reaches every process of a terminal; the parent alone answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        import cv2

        cv2.setNumThreads(1)
    except ImportError:  # a data set that draws nothing needs no OpenCV
        pass
    _worker = _Worker(open_predictor(choice), dataset, folder)


def _end_with_parent() -> None:
    """End this process when its parent is gone; killed, it could not tell us to."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _run_part(part: int) -> int:
    assert _worker is not None
    return _worker.run(part)


def _in_processes(
    choice: ModelChoice, dataset: ClipDataset, folder: Path, parts: list[int], workers: int
) -> Iterator[int]:
    """Yield parts as they are done, by processes of their own."""
    # Not forked: neither torch nor the engine's threads survive a fork.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(choice, dataset, folder),
    )
    try:
        for future in as_completed([pool.submit(_run_part, part) for part in parts]):
            yield future.result()
    except BrokenProcessPool as error:
        raise EdgeError(
            "a worker process ended without an answer, perhaps killed for want of memory; run "
            "again with --resume and fewer --workers"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _part_file(folder: Path, part: int) -> Path:
    return folder / f"{part:06d}.npz"


def _size(part: int, total: int) -> int:
    return min(PART_CLIPS, total - part * PART_CLIPS)


def _is_whole(path: Path) -> bool:
    """Return whether a part is there and readable; one that is not is made again."""
    if not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
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


def _write_text(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
