"""A video file that is believed only when it was read back."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import cv2

from runtime.errors import CaptureError, ConfigError, SinkError
from runtime.interrupts import deferred
from runtime.outputs import part_names, why_no_output
from runtime.parts import Part
from runtime.sinks.encoder import CODECS, needs_opencv, open_encoder
from runtime.sources import Image
from runtime.sources.ffmpeg import FFmpegCapture
from runtime.sources.names import shown_name, text_for_opencv

logger = logging.getLogger(__name__)

# OpenCV reports no write error, so a disk that runs full is noticed before it is.
MIN_FREE_BYTES = 4 << 20
CHECK_EVERY = 16


class VideoFile:
    """A video that appears under its name only when it is whole.

    Until then it is `<stem>.part<suffix>` in the same folder, which one run writes (`Part`). With
    PyAV the part can be played at any moment, also after the process was killed.
    """

    def __init__(
        self, path: Path, *, fps: float, size_wh: tuple[int, int], overwrite: bool
    ) -> None:
        """Open the part file.

        Raises:
            ConfigError: The suffix is not that of a video that can be written.
            SinkError: The folder is missing, not writable or full, another run writes this
                video, or no codec works.
        """
        check_target(path, overwrite=overwrite)
        self.path, self.size_wh, self.fps = path, size_wh, fps
        self.written = 0
        self._unsure = 0
        self._check_space()
        self._part = Part(path, part_names(path)[1], overwrite=overwrite)
        self.part = self._part.part
        try:
            self._writer = open_encoder(self.part, fps=fps, size_wh=size_wh)
        except BaseException:
            self._part.discard()
            raise
        self._say()

    def write(self, image_bgr: Image) -> None:
        """Append a frame of the size given at the start.

        Raises:
            SinkError: The disk is full or nearly so.
        """
        if self.written % CHECK_EVERY == 0:
            self._check_space()
        # A program around the runtime may still raise between the next lines: then the file may
        # hold one frame more, or lack one that the encoder gave back.
        with deferred():
            self._unsure += 1
            try:
                self._writer.write(image_bgr)
            except OSError as error:
                raise SinkError(
                    f"{self.path} cannot be written: {error.strerror} after {self.written} frames"
                ) from error
            self.written += 1
            self._unsure -= 1

    def close(self, *, ok: bool) -> Path | None:
        """Finish, read back, and give the file its name.

        Args:
            ok: False keeps the name of the part.

        Returns:
            Where the video is; None when nothing was written.

        Raises:
            SinkError: What is on the disk is not what was written. What can be played is kept.
        """
        problem = self._release() or (self._problem() if self.written else None)
        if not self.written:
            self._part.discard()
            return None
        if problem:
            self._keep_or_discard()
            raise SinkError(
                f"{self.path} was not written: {problem}; is the disk full, or a limit on the "
                "size of files reached?"
            )
        if not ok:
            self._part.close()
            return self.part
        try:
            self._part.publish()
        except OSError as error:
            raise SinkError(f"{self.part} cannot be renamed: {error.strerror}") from error
        return self.path

    def give_up(self) -> None:
        """End after a failure: keep and say what can be played."""
        self._release()
        self._keep_or_discard()

    def discard(self) -> None:
        """Give up and remove the part."""
        self._release()
        self._part.discard()

    def _release(self) -> str | None:
        """Write the end; return why that failed."""
        try:
            self._writer.release()
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _keep_or_discard(self) -> None:
        if self._playable():
            logger.warning("%s can be played up to where it ends", self.part)
            self._part.close()
        else:
            self._part.discard()

    def _playable(self) -> bool:
        capture = _reader(self.part)
        try:
            return bool(capture.isOpened() and capture.grab())
        finally:
            capture.release()

    def _say(self) -> None:
        wanted = CODECS[self.path.suffix.lower()][0]
        if self._writer.codec != wanted:
            logger.info("%s: %s cannot be written here at this size, writing %s instead",
                        self.path, wanted, self._writer.codec)  # fmt: skip
        if not self._writer.whole_without_end:
            logger.info("%s: without PyAV it can be played only when the run has ended by itself",
                        self.path)  # fmt: skip

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < MIN_FREE_BYTES:
            raise SinkError(
                f"{self.path}: the disk is full ({free / 1e6:.1f} MB free) after {self.written} "
                "frames; free some space or name another folder"
            )

    def _problem(self) -> str | None:
        """Read the part back; return what is wrong with it."""
        capture = _reader(self.part)
        try:
            if not capture.isOpened():
                return "it cannot be opened again"
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            # Matroska stores a duration only, from which the count is estimated.
            slack = 1 if self.path.suffix.lower() == ".mkv" else 0
            if abs(count - self.written) > max(slack, self._unsure):
                return f"it holds {count} frames of {self.written}"
            if not capture.grab():
                return "its first frame cannot be read"
            # A lost frame leaves a hole, behind which a frame's number is one too low.
            for last in range(count - 1 - slack, count - 2 - slack - self._unsure, -1):
                if last <= 0:
                    return None
                capture.set(cv2.CAP_PROP_POS_FRAMES, last)
                if capture.grab():
                    return None
            return "its last frame cannot be read"
        finally:
            capture.release()


def _reader(part: Path) -> Any:
    """Open a video with OpenCV, which did not write it; with PyAV where OpenCV cannot."""
    try:
        return cv2.VideoCapture(text_for_opencv(part), cv2.CAP_FFMPEG)
    except CaptureError:
        return FFmpegCapture(str(part), shown=shown_name(part))


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a video that cannot be written, before any work is done.

    Raises:
        ConfigError: The suffix is not that of a video that can be written, or a link, folder or
            device has the name.
        CaptureError: OpenCV has to write it, and cannot take its name.
        SinkError: The folder is missing or not writable, or the file is there already.
    """
    if path.suffix.lower() not in CODECS:
        raise ConfigError(
            f"{path}: {path.suffix or 'no suffix'!r} is not a video that can be written; "
            f"choose from: {' '.join(CODECS)}"
        )
    reason = why_no_output(path)
    if reason:
        raise ConfigError(reason)
    if needs_opencv(path):
        text_for_opencv(path)
    if path.exists() and not overwrite:
        raise SinkError(f"{path} is there already; name another file or allow overwriting")
    folder = path.parent
    if not folder.is_dir():
        raise SinkError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise SinkError(f"{path}: the folder {folder} is not writable")
