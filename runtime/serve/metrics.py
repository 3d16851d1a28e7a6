"""What Prometheus is told, in its client library's words; read from the cameras at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from runtime.serve.connections import Connections
    from runtime.serve.gate import Gate
    from runtime.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("connecting", "warming_up", "running", "stale", "lost")
LATENCY_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)

# Name, what it is, and where `Camera.status` has it.
_COUNTERS = (
    ("edge_camera_results", "Results given", "results"),
    ("edge_camera_dropped_frames", "Frames dropped since newer ones came", "dropped_frames"),
    ("edge_camera_dropped_clips", "Decisions left out since newer frames came", "dropped_clips"),
    ("edge_camera_reconnects", "Times that the source was opened again", "reconnects"),
)
_GAUGES = (
    ("edge_camera_results_per_second", "Results a second, of the last ten", "results_per_s"),
    ("edge_camera_conf", "Threshold on p(actor)", "conf"),
)


class Metrics:
    """The registry; latencies are counted as they come, all else is asked for."""

    def __init__(self) -> None:
        """Begin without a service: its cameras' latencies may come before it is whole."""
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._latency = Histogram(
            "edge_camera_latency_seconds",
            "From the arrival of the newest frame to the result",
            ["camera"], buckets=LATENCY_S, registry=self._registry,
        )  # fmt: skip
        self._known: set[str] = set()

    def observe(self, camera: str, latency_s: float) -> None:
        """Count one result."""
        self._known.add(camera)
        self._latency.labels(camera).observe(latency_s)

    def attach(self, service: Service, connections: Connections, gate: Gate) -> None:
        """Tell of a service from now on."""
        self._registry.register(_Reader(lambda: self._read(service, connections, gate)))

    def text(self) -> bytes:
        """Return the exposition."""
        return generate_latest(self._registry)

    def _read(self, service: Service, connections: Connections, gate: Gate) -> Iterator[Metric]:
        cameras = service.status()
        for gone in self._known - {camera["name"] for camera in cameras}:
            self._known.discard(gone)
            self._latency.remove(gone)
        yield from _of_cameras(cameras)
        for name, text, value in (
            ("edge_events", "Events of actions", service.told),
            ("edge_pictures_encoded", "Pictures encoded for clients", service.encoder.encoded),
            ("edge_client_dropped_messages", "Messages that slow clients missed",
             service.hub.dropped),
            ("edge_connections_refused", "Connections refused at the limit", connections.refused),
            ("edge_connections_evicted", "Connections ended as too slow", connections.evicted),
            ("edge_requests_unauthorized", "Requests without the token", gate.refused),
            ("edge_reloads", "Times that the configuration was read anew", service.reloads),
        ):  # fmt: skip
            yield CounterMetricFamily(name, text, value=value)
        yield GaugeMetricFamily(
            "edge_clients", "Clients that follow events or pictures", value=service.hub.clients
        )
        yield from _of_sinks([(sink.name, sink.status()) for sink in tuple(service.sinks)])


class _Reader:
    """A collector of what a function yields."""

    def __init__(self, read: Callable[[], Iterator[Metric]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of now."""
        yield from self._read()

    def describe(self) -> list[Metric]:
        """Return nothing: names do not depend on the state."""
        return []


def _of_cameras(cameras: list[dict[str, Any]]) -> Iterator[Metric]:
    for name, text, key in _COUNTERS:
        counter = CounterMetricFamily(name, text, labels=["camera"])
        for camera in cameras:
            counter.add_metric([camera["name"]], camera[key])
        yield counter
    for name, text, key in _GAUGES:
        gauge = GaugeMetricFamily(name, text, labels=["camera"])
        for camera in cameras:
            gauge.add_metric([camera["name"]], camera[key])
        yield gauge
    state = GaugeMetricFamily(
        "edge_camera_state", "1 for the state that a camera is in", labels=["camera", "state"]
    )
    for camera in cameras:
        for one in STATES:
            state.add_metric([camera["name"], one], float(camera["state"] == one))
    yield state


def _of_sinks(sinks: list[tuple[str, dict[str, object]]]) -> Iterator[Metric]:
    for key, text in (("sent", "delivered"), ("dropped", "dropped at a full queue")):
        counter = CounterMetricFamily(f"edge_sink_{key}_events", f"Events {text}", labels=["sink"])
        for name, status in sinks:
            counter.add_metric([name], float(str(status.get(key) or 0)))
        yield counter
    queued = GaugeMetricFamily("edge_sink_queued_events", "Events that wait", labels=["sink"])
    for name, status in sinks:
        queued.add_metric([name], float(str(status.get("queued") or 0)))
    yield queued
