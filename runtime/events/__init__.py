"""Events, not frames: an action of a tracked person begins, continues and ends.

`ActionTracker` makes them of results; sinks take them to JSON Lines, an SQLite history, MQTT, a
webhook and clips. None of the sinks makes its caller wait.
"""

from __future__ import annotations

from runtime.events.actions import ActionTracker
from runtime.events.config import EventsConfig, events_config
from runtime.events.history import History
from runtime.events.settings import ActionSettings
from runtime.events.types import ActionEvent, EventSink, Phase, event_from_dict

__all__ = [
    "ActionEvent",
    "ActionSettings",
    "ActionTracker",
    "EventSink",
    "EventsConfig",
    "History",
    "Phase",
    "event_from_dict",
    "events_config",
    "open_sinks",
]


def open_sinks(config: EventsConfig) -> list[EventSink]:
    """Open what a configuration names. Close each; `History` is the one to look events up in.

    The sink named `clips` (`runtime.events.clips.ClipSink`) has to open the cameras' sources: give
    `opener(camera)` of it to `ClipRunner.stream`.

    Raises:
        ConfigError: A secret cannot be read any more.
        BackendUnavailableError: A package of the extra `serve` is not installed.
        SinkError: A file cannot be written.
    """
    # Imported here: each needs what the others do not.
    opened: list[EventSink] = []
    try:
        if config.jsonl is not None:
            from runtime.events.jsonl import JsonlSink

            opened.append(JsonlSink(config.jsonl))
        if config.history is not None:
            opened.append(History(config.history))
        if config.mqtt is not None:
            from runtime.events.mqtt import MqttSink

            opened.append(MqttSink(config.mqtt))
        if config.webhook is not None:
            from runtime.events.webhook import WebhookSink

            opened.append(WebhookSink(config.webhook))
        if config.clips is not None:
            from runtime.events.clips import ClipSink

            opened.append(ClipSink(config.clips))
    except BaseException:
        for sink in opened:
            sink.close(0.0)
        raise
    return opened
