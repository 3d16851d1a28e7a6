"""Run a model over a data set, in this process or in several.

Each part of the clips is made, run and written by one process; what is there already is left alone.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from edge.data.dataset import ClipDataset
from edge.data.samples import ClipSample
from edge.evaluation.decode_errors import DecodeErrors
from edge.evaluation.evaluator import class_order, run_clips
from edge.evaluation.options import ModelChoice
from edge.evaluation.outputs import PART_CLIPS, missing_parts, part_size, parts_of, write_part
from edge.evaluation.predictors import Predictor, open_predictor
from runtime.errors import EdgeError
from runtime.types import Outputs, Progress


def compute_outputs(
    choice: ModelChoice,
    dataset: ClipDataset,
    folder: Path,
    *,
    predictor: Predictor,
    workers: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: Progress | None = None,
) -> int:
    """Run the model over every clip whose part is not there yet.

    Args:
        choice: The model, for the workers to load.
        dataset: The clips; with several workers it is sent to them.
        folder: Made ready by `prepare_folder`.
        predictor: The loaded model, used where there is one worker.
        workers: Processes; 1 stays in this one.
        shard: Which share of the parts, from 0, and the number of shares.
        progress: Told of the clips that are done.

    Returns:
        How many clips of this share are there in the end.

    Raises:
        CaptureError: More than a tenth of the clips cannot be decoded; fewer are said and counted.
        EdgeError: A clip cannot be made or run; a process was killed.
    """
    clips, parts = len(dataset), parts_of(len(dataset), shard)
    total = sum(part_size(part, clips) for part in parts)
    missing = missing_parts(folder, parts)
    done = total - sum(part_size(part, clips) for part in missing)
    step = "clips"
    if progress is not None:
        progress(step, done, total)
    if workers == 1 or len(missing) <= 1:
        worker = _Worker(predictor, dataset, folder)
        finished: Generator[_Finished] = (worker.run(part) for part in missing)
    else:
        finished = _in_processes(choice, dataset, folder, missing, min(workers, len(missing)))
    # Of all, so that no share is refused where one run would not be.
    errors = DecodeErrors(clips, then="go on with --resume")
    with closing(finished):
        for one in finished:
            for clip_id, reason in one.lost:
                errors.add(clip_id, reason)
            done += part_size(one.part, clips)
            if progress is not None:
                progress(step, done, total)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finished:
    """A part that is written.

    Attributes:
        part: Its number.
        lost: Name of each clip that cannot be decoded, and why.
    """

    part: int
    lost: list[tuple[str, str]]


class _Worker:
    """One loaded model and the data set, in one process."""

    def __init__(self, predictor: Predictor, dataset: ClipDataset, folder: Path) -> None:
        self.predictor, self.dataset, self.folder = predictor, dataset, folder
        self.order = class_order(predictor.class_names, dataset.class_names, predictor.name)

    def run(self, part: int) -> _Finished:
        """Make one part."""
        start = part * PART_CLIPS
        numbers = range(start, start + part_size(part, len(self.dataset)))
        clips = list(run_clips(self.dataset, self._answers, numbers, batch=PART_CLIPS))
        write_part(self.folder, part, clips)
        lost = [(clip.sample.clip_id, clip.reason) for clip in clips if clip.reason]
        return _Finished(part=part, lost=lost)

    def _answers(self, samples: Sequence[ClipSample]) -> list[Outputs]:
        outputs = self.predictor.run([sample.frames_rgb for sample in samples])
        return [Outputs(boxes, actor, actions[:, self.order]) for boxes, actor, actions in outputs]


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


def _run_part(part: int) -> _Finished:
    assert _worker is not None
    return _worker.run(part)


def _in_processes(
    choice: ModelChoice, dataset: ClipDataset, folder: Path, parts: list[int], workers: int
) -> Generator[_Finished]:
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
