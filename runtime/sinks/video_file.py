"""Write a video file and believe it only when it was read back."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import cv2

from runtime.errors import ConfigError, SinkError
from runtime.outputs import part_names, why_no_output
from runtime.sources import Image

logger = logging.getLogger(__name__)

# First what plays everywhere; pip's OpenCV has no H.264 encoder and falls back to MPEG-4 part 2.
CODECS: dict[str, tuple[str, ...]] = {
    ".mp4": ("avc1", "mp4v"),
    ".m4v": ("avc1", "mp4v"),
    ".mov": ("avc1", "mp4v"),
    ".mkv": ("avc1", "mp4v"),
    ".avi": ("MJPG",),
}
# OpenCV reports no write error, so a disk that runs full is noticed before it is.
MIN_FREE_BYTES = 4 << 20
CHECK_EVERY = 16


class VideoFile:
    """A video that appears under its name only when it is whole.

    Until then it is `<stem>.part<suffix>` in the same folder, which can be played.
    """

    def __init__(
        self, path: Path, *, fps: float, size_wh: tuple[int, int], overwrite: bool
    ) -> None:
        """Open the part file.

        Raises:
            ConfigError: The suffix is not that of a video that can be written.
            SinkError: The folder is missing, not writable or full, or no codec works.
        """
        check_target(path, overwrite=overwrite)
        self.path, self.size_wh, self.fps = path, size_wh, fps
        self.part = part_names(path)[1]
        self.written = 0
        self._unsure = 0
        self._writer, self.codec = self._open()

    def write(self, image_bgr: Image) -> None:
        """Append a frame of the size given at the start.

        Raises:
            SinkError: The disk is nearly full.
        """
        if self.written % CHECK_EVERY == 0:
            self._check_space()
        # Ctrl-C may come between the next lines: then the file may hold one frame more.
        self._unsure += 1
        self._writer.write(image_bgr)
        self.written += 1
        self._unsure -= 1

    def close(self, *, ok: bool) -> Path | None:
        """Finish, read back, and give the file its name.

        Args:
            ok: False keeps the name of the part.

        Returns:
            Where the video is; None when nothing was written.

        Raises:
            SinkError: What is on the disk is not what was written; it is removed.
        """
        self._writer.release()
        if not self.written:
            self.part.unlink(missing_ok=True)
            return None
        problem = self._problem()
        if problem:
            self.part.unlink(missing_ok=True)
            raise SinkError(
                f"{self.path} was not written: {problem}; is the disk full, or a limit on the "
                "size of files reached? The part was removed"
            )
        if not ok:
            return self.part
        try:
            self.part.replace(self.path)
        except OSError as error:
            raise SinkError(f"{self.part} cannot be renamed: {error.strerror}") from error
        return self.path

    def discard(self) -> None:
        """Give up and remove the part."""
        self._writer.release()
        self.part.unlink(missing_ok=True)

    def _open(self) -> tuple[cv2.VideoWriter, str]:
        self._check_space()
        codecs = CODECS[self.path.suffix.lower()]
        for codec in codecs:
            writer = cv2.VideoWriter(
                str(self.part),
                cv2.CAP_FFMPEG,
                cv2.VideoWriter.fourcc(*codec),
                self.fps,
                self.size_wh,
            )
            if writer.isOpened():
                if codec != codecs[0]:
                    logger.info("%s: this OpenCV cannot write %s, writing %s instead", self.path,
                                codecs[0], codec)  # fmt: skip
                return writer, codec
            writer.release()
        self.part.unlink(missing_ok=True)
        raise SinkError(
            f"{self.path}: this OpenCV writes none of {', '.join(codecs)} at "
            f"{self.size_wh[0]}x{self.size_wh[1]}, {self.fps:g} fps; try a name that ends in .avi"
        )

    def _check_space(self) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if free < MIN_FREE_BYTES:
            raise SinkError(
                f"{self.path}: the disk is full ({free / 1e6:.1f} MB free) after {self.written} "
                "frames; free some space or name another folder"
            )

    def _problem(self) -> str | None:
        """Read the part back; return what is wrong with it."""
        capture = cv2.VideoCapture(str(self.part), cv2.CAP_FFMPEG)
        try:
            if not capture.isOpened():
                return "it cannot be opened again"
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            # Matroska stores a duration only, from which the count is estimated.
            slack = 1 if self.path.suffix.lower() == ".mkv" else 0
            if not -slack <= count - self.written <= max(slack, self._unsure):
                return f"it holds {count} frames of {self.written}"
            if not capture.grab():
                return "its first frame cannot be read"
            last = max(0, count - 1 - slack)
            if last == 0:
                return None
            capture.set(cv2.CAP_PROP_POS_FRAMES, last)
            return None if capture.grab() else "its last frame cannot be read"
        finally:
            capture.release()


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a video that cannot be written, before any work is done.

    Raises:
        ConfigError: The suffix is not that of a video that can be written, or a link, folder or
            device has the name.
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
    if path.exists() and not overwrite:
        raise SinkError(f"{path} is there already; name another file or allow overwriting")
    folder = path.parent
    if not folder.is_dir():
        raise SinkError(f"{path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise SinkError(f"{path}: the folder {folder} is not writable")
