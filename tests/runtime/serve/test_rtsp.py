"""Two real RTSP cameras: one is cut and comes back, the other never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.serve.config import CameraConfig
from tests.runtime.serve.conftest import Running, eventually
from tests.runtime.sources.test_rtsp import RtspServer, _rtsp_packages  # noqa: F401


@pytest.fixture
def servers(_rtsp_packages: None) -> Iterator[tuple[RtspServer, RtspServer]]:  # noqa: F811
    pair = RtspServer(), RtspServer()
    yield pair
    for one in pair:
        one.cut()


def camera(run: Running, name: str) -> dict[str, Any]:
    found: dict[str, Any] = run.get(f"/api/cameras/{name}")[1]
    return found


def test_a_camera_that_is_lost_comes_back_and_the_other_goes_on(
    serve: Callable[..., Any], servers: tuple[RtspServer, RtspServer]
) -> None:
    cameras = {
        name: CameraConfig(source=one.address, conf=0.0)
        for name, one in zip(("door", "yard"), servers, strict=True)
    }
    with serve(cameras) as run:
        eventually(lambda: all(camera(run, name)["results"] > 3 for name in cameras))
        assert camera(run, "door")["fps"] == 25.0
        servers[0].cut()
        lost = eventually(lambda: camera(run, "door")["state"] == "lost" and camera(run, "door"))
        assert lost["retry_in_s"] is not None
        number, before = camera(run, "yard")["results"], lost["results"]
        eventually(lambda: camera(run, "yard")["results"] > number + 5)
        servers[0].start()
        eventually(lambda: camera(run, "door")["results"] > before + 3)
        assert camera(run, "door")["reconnects"] >= 1
        assert camera(run, "yard")["reconnects"] == 0
        people = [
            [d["person"] for d in r["detections"]]
            for r in run.get("/api/results?camera=door&limit=1000")[1]["results"]
        ]
        first, last = people[0], people[-1]
        # Nobody is the same person after the cut.
        assert not set(filter(None, first)) & set(filter(None, last))
        servers[0].cut()
    assert not [c for c in run.service.cameras.values() if c.alive]
