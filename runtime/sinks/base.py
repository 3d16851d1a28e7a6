"""What a sink is, and several of them as one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from types import TracebackType

from runtime.errors import EdgeError
from runtime.results import Event, FrameStatus, KeyframeResult
from runtime.sources import Frame

logger = logging.getLogger(__name__)


# Ctrl-C, a closed stream, and a reader of stdout that had enough: what was written is whole.
_PROPER_ENDS = (KeyboardInterrupt, GeneratorExit, BrokenPipeError)


class Sink:
    """Somewhere results go. Subclasses override what they need.

    Attributes:
        wants_frames: Whether `frame` has to be called with every frame.
        done: Set when the user asked there to stop (closed the window).
    """

    wants_frames = False
    done = False

    def frame(self, frame: Frame, status: FrameStatus) -> None:
        """Take a frame, before the result that it completes."""

    def result(self, result: KeyframeResult) -> None:
        """Take the result of one keyframe."""

    def event(self, event: Event) -> None:
        """Take what happened to the source between results."""

    def close(self, *, ok: bool) -> None:
        """Finish; `ok` is false when the run failed and what was written is only a part."""


class Sinks:
    """Several sinks as one context manager.

    Leaving it without an error, by Ctrl-C or by closing the stream closes each sink properly. After
    any other error they are told that what they hold is a part.
    """

    def __init__(self, sinks: Iterable[Sink] = ()) -> None:
        """Take over the sinks."""
        self._sinks = tuple(sinks)

    @property
    def wants_frames(self) -> bool:
        """Tell whether any sink draws."""
        return any(sink.wants_frames for sink in self._sinks)

    @property
    def done(self) -> bool:
        """Tell whether the user asked to stop."""
        return any(sink.done for sink in self._sinks)

    def frame(self, frame: Frame, status: FrameStatus) -> None:
        """Hand a frame to those that draw; pass this as `on_frame`."""
        for sink in self._sinks:
            if sink.wants_frames:
                sink.frame(frame, status)

    def result(self, result: KeyframeResult) -> None:
        """Hand a result to all."""
        for sink in self._sinks:
            sink.result(result)

    def event(self, event: Event) -> None:
        """Hand an event to all; pass this as `on_event`."""
        for sink in self._sinks:
            sink.event(event)

    def close(self, *, ok: bool = True) -> None:
        """Close all, also when one fails.

        Raises:
            EdgeError: The first failure of a sink.
        """
        first: EdgeError | None = None
        for sink in self._sinks:
            try:
                sink.close(ok=ok)
            except EdgeError as error:
                if first is not None:
                    logger.error("%s", error)
                first = first or error
        self._sinks = ()
        if first is not None:
            raise first

    def __enter__(self) -> Sinks:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close all; an error of the run is more important than one of closing."""
        stopped = error is None or isinstance(error, _PROPER_ENDS)
        try:
            self.close(ok=stopped)
        except EdgeError as failure:
            if stopped:  # a run that was stopped and lacks a file of its has failed
                raise
            logger.error("%s", failure)
