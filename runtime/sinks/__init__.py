"""Where results go: JSON Lines, an annotated video, a table, a window."""

from runtime.sinks.actions import ActionLinesSink
from runtime.sinks.base import Sink, Sinks
from runtime.sinks.draw import draw
from runtime.sinks.jsonl import JsonLinesSink, JsonStdoutSink
from runtime.sinks.show import ShowSink, has_display
from runtime.sinks.table import TableSink
from runtime.sinks.video import VideoSink

__all__ = [
    "ActionLinesSink",
    "JsonLinesSink",
    "JsonStdoutSink",
    "ShowSink",
    "Sink",
    "Sinks",
    "TableSink",
    "VideoSink",
    "draw",
    "has_display",
]
