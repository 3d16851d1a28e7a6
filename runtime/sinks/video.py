"""The annotated video."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from runtime.errors import SinkError
from runtime.results import FrameStatus, KeyframeResult
from runtime.sinks.base import Sink
from runtime.sinks.draw import draw
from runtime.sinks.pairing import MAX_WAITING_BYTES, Paired, Pairing
from runtime.sinks.video_file import VideoFile, check_target
from runtime.sources import Frame, Image
from runtime.types import ClipSpec

logger = logging.getLogger(__name__)

STANDARD_FPS = 30.0
# A pause longer than this is cut out of the video instead of being shown as a standstill.
MAX_STANDSTILL_S = 1.0


class VideoSink(Sink):
    """Draw results on every frame and write a video at the source's rate.

    For a file the frames wait (bounded, see `Pairing`), so that boxes appear on the frames around
    their keyframe. Frames are placed by their time: where the source's rate varies, a real frame is
    shown again or left out, so that the video runs at true speed. A frame of another size than the
    first is scaled to it, said once. The file appears under its name only when it was read back;
    after a failed run the playable part is kept as `<stem>.part<suffix>` and said.
    """

    wants_frames = True

    def __init__(
        self,
        path: str | Path,
        *,
        clip: ClipSpec,
        stride: int,
        trained: bool,
        overwrite: bool = False,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """Check the target; the file is opened with the first frame.

        Args:
            path: Video to make: .mp4, .m4v, .mov, .mkv or .avi.
            clip: The bundle's sampling.
            stride: The runner's stride, frames at the bundle's fps.
            trained: The bundle's flag; false is written on every frame.
            overwrite: Replace a file of that name.
            max_waiting_bytes: Bound on the pixels that wait for their result.

        Raises:
            ConfigError: The suffix is not known.
            SinkError: The folder is missing or not writable, or the file is there already.
        """
        self.path = Path(path)
        check_target(self.path, overwrite=overwrite)
        self._overwrite, self._trained = overwrite, trained
        self._pairing = Pairing(clip, stride, max_bytes=max_waiting_bytes)
        self._file: VideoFile | None = None
        self._closed = False
        self._results = 0
        self._start_t = self._last_t = 0.0
        self._start_slot = 0
        self._scaled_said = False

    def frame(self, frame: Frame, status: FrameStatus) -> None:
        """Take a frame; those whose result is settled are written."""
        self._write(self._pairing.add_frame(frame, status))

    def result(self, result: KeyframeResult) -> None:
        """Take a result for the frames that wait and follow."""
        self._results += 1
        self._pairing.add_result(result)

    def close(self, *, ok: bool) -> None:
        """Write the frames that wait, read the file back and give it its name.

        Raises:
            SinkError: The video is not whole.
        """
        if self._closed:
            return
        self._closed = True
        self._write(self._pairing.rest())
        if self._file is None:
            return
        if not ok and not self._results:
            # A run that failed before its first result has made nothing worth keeping.
            self._file.discard()
            return
        written = self._file.close(ok=ok)
        if not ok and written is not None:
            logger.warning("%d frames of the failed run are in %s", self._file.written, written)

    def _write(self, ready: Iterable[Paired]) -> None:
        try:
            for item in ready:
                self._write_one(item)
        except SinkError:
            self._closed = True
            if self._file is not None:
                self._file.give_up()
            raise

    def _write_one(self, item: Paired) -> None:
        file = self._file or self._open(item)
        slot = self._start_slot + round((item.frame.t - self._start_t) * file.fps)
        if not 0 <= item.frame.t - self._last_t <= MAX_STANDSTILL_S:
            slot = self._restart(item.frame.t, file)
        self._last_t = item.frame.t
        copies = slot + 1 - file.written
        if copies <= 0:
            return
        image = draw(
            self._sized(item.frame.image_bgr, file),
            result=item.result if self._fits(item, file) else None,
            status=item.status,
            trained=self._trained,
        )
        for _ in range(copies):
            file.write(image)

    def _open(self, item: Paired) -> VideoFile:
        height, width = item.frame.image_bgr.shape[:2]
        self._file = VideoFile(
            self.path,
            fps=item.status.fps or STANDARD_FPS,
            size_wh=(width, height),
            overwrite=self._overwrite,
        )
        self._start_t = self._last_t = item.frame.t
        return self._file

    def _restart(self, t: float, file: VideoFile) -> int:
        self._start_t, self._start_slot = t, file.written
        return file.written

    def _fits(self, item: Paired, file: VideoFile) -> bool:
        # Boxes are in pixels of the frame they were found in.
        return item.result is not None and item.result.size_wh == file.size_wh

    def _sized(self, image: Image, file: VideoFile) -> Image:
        if (image.shape[1], image.shape[0]) == file.size_wh:
            return image
        if not self._scaled_said:
            self._scaled_said = True
            logger.warning(
                "%s: frames of %dx%d are scaled to the video's %dx%d, without boxes",
                self.path, image.shape[1], image.shape[0], *file.size_wh,
            )  # fmt: skip
        scaled = cv2.resize(image, file.size_wh, interpolation=cv2.INTER_AREA)
        return np.asarray(scaled, dtype=np.uint8)
