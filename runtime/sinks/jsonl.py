"""JSON Lines: one object per keyframe, and one per event, to a file or to stdout."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from runtime.errors import ConfigError, SinkError
from runtime.outputs import part_names, why_no_output
from runtime.parts import Part
from runtime.results import RECORDED, Event, KeyframeResult
from runtime.sinks.base import Sink

logger = logging.getLogger(__name__)


class JsonLinesSink(Sink):
    """Write results to `path`, which appears only when it is complete.

    Until then they are in `<name>.part` in the same folder, each line flushed, so that it can be
    followed. When the run fails the part is kept, because hours of results may be in it, and said.
    """

    what = "results"

    def __init__(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Open the part file.

        Args:
            path: File to make.
            overwrite: Replace a file of that name.

        Raises:
            ConfigError: A link, folder or device has the name.
            SinkError: The folder is missing or not writable, the file is there already, or another
                run writes it.
        """
        self.path = Path(path)
        reason = why_no_output(self.path)
        if reason:
            raise ConfigError(reason)
        self._part = Part(self.path, part_names(self.path)[0], overwrite=overwrite)
        # Unbuffered: nothing is left to fail when it is closed, and each line can be followed.
        self.part, self._file = self._part.part, self._part.file
        self.written = 0

    def result(self, result: KeyframeResult) -> None:
        """Append one line.

        Raises:
            SinkError: The disk is full or gone.
        """
        self._append(result.to_dict())
        self.written += 1

    def event(self, event: Event) -> None:
        """Append one line, where the event is one of `RECORDED`.

        Raises:
            SinkError: The disk is full or gone.
        """
        if event.kind in RECORDED:
            self._append(event.to_dict())

    def _append(self, content: dict[str, Any]) -> None:
        line = json.dumps(content, ensure_ascii=False, allow_nan=False)
        # What is no text becomes JSON's own escape.
        rest = memoryview((line + "\n").encode("utf-8", "backslashreplace"))
        start = self._file.tell()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            # Whole lines only: half an object would break whoever reads the part.
            self._file.truncate(start)
            raise self._failed(error) from error

    def close(self, *, ok: bool) -> None:
        """Give the file its name; after a failure say where the part is, if it holds anything.

        Raises:
            SinkError: The last bytes or the renaming failed.
        """
        if self._file.closed:
            return
        try:
            if ok:
                self._part.publish()
            elif self.written:
                self._part.close()
            else:
                self._part.discard()
        except OSError as error:
            raise self._failed(error) from error
        if not ok and self.written:
            logger.warning("%d %s of the failed run are in %s", self.written, self.what, self.part)

    def _failed(self, error: OSError) -> SinkError:
        return SinkError(
            f"{self.path} cannot be written: {error.strerror} after {self.written} {self.what}; "
            f"they are in {self.part}"
        )


class JsonStdoutSink(Sink):
    """Write one object per line to stdout."""

    def result(self, result: KeyframeResult) -> None:
        """Write and flush one line.

        Raises:
            SinkError: stdout goes to a disk that is full.
        """
        _write_object(result.to_dict())

    def event(self, event: Event) -> None:
        """Write one line, where the event is one of `RECORDED`; raises as `result`."""
        if event.kind in RECORDED:
            _write_object(event.to_dict())


def _write_object(content: dict[str, Any]) -> None:
    # JSON has escapes of its own for what an encoding lacks.
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    write_line(json.dumps(content, ensure_ascii=ascii_only, allow_nan=False))


def write_line(line: str) -> None:
    """Write one line of results to stdout and flush it.

    Raises:
        BrokenPipeError: Nobody reads stdout any more; the command line ends quietly then.
        SinkError: The disk behind stdout is full.
    """
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkError(f"stdout cannot be written: {error.strerror}") from error
