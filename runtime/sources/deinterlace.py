"""Make whole pictures of interlaced frames."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from av.filter import Graph

logger = logging.getLogger(__name__)

# Of an interlaced frame both fields become one whole picture; progressive ones pass unchanged.
DEINTERLACER = ("bwdif", "mode=send_frame:deint=interlaced")


class Deinterlacer:
    """Pass frames of one video on; from the first interlaced one on through FFmpeg's filter."""

    def __init__(self, shown: str) -> None:
        """Take the video's name for the message."""
        self._shown = shown
        self._graph: tuple[tuple[Any, ...], Graph] | None = None
        self._used = False

    def push(self, frame: Any) -> list[Any]:
        """Take a frame of PyAV; return those that are ready, which may be earlier ones."""
        import av

        if not frame.interlaced_frame and self._graph is None:
            return [frame]
        key = (frame.width, frame.height, frame.format.name)
        held = []
        if self._graph is None or self._graph[0] != key:
            held = self.rest()
            if not self._used:
                self._used = True
                logger.warning("%s: it is interlaced; deinterlaced by FFmpeg's %s",
                               self._shown, DEINTERLACER[0])  # fmt: skip
            graph = av.filter.Graph()
            graph.link_nodes(
                graph.add_buffer(width=frame.width, height=frame.height, format=frame.format,
                                 time_base=frame.time_base),
                graph.add(*DEINTERLACER),
                graph.add("buffersink"),
            ).configure()  # fmt: skip
            self._graph = (key, graph)
        graph = self._graph[1]
        graph.push(frame)
        return held + _pulled(graph)

    def rest(self) -> list[Any]:
        """Return the frame that the filter still holds at the end."""
        if self._graph is None:
            return []
        graph, self._graph = self._graph[1], None
        graph.push(None)
        return _pulled(graph)

    def forget(self) -> None:
        """Drop the filter with what it holds, as for a seek."""
        self._graph = None


def _pulled(graph: Graph) -> list[Any]:
    import av

    found = []
    while True:
        try:
            found.append(graph.pull())
        except (av.BlockingIOError, av.EOFError):
            return found
