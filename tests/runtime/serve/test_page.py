"""The page in a real browser: pictures with boxes, thresholds, snapshot, phone, dark, login."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.serve.config import CameraConfig
from tests.runtime.serve.conftest import TOKEN, eventually

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (pip install '.[dev]')"
)

INSTALL = "tools/install-test-packages.sh"
VIEWS = "[...window.edge?.cards.values() ?? []].map(c => [c.name, c.view.pictures, c.view.boxes])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return Chromium: Debian's, or the one that playwright installed."""
    with playwright.sync_playwright() as engine:
        path = shutil.which("chromium")
        if path is None and not Path(engine.chromium.executable_path).exists():
            pytest.skip(f"Chromium is not installed; run {INSTALL} as root")
        opened = engine.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return what opens a page of a server; nothing may be wrong on it, nor come from elsewhere."""
    contexts, wrong = [], []

    def opened(address: str, **kwargs: Any) -> Any:
        context = browser.new_context(**kwargs)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        # The server ends before the page does, and the page says that it is gone.
        page.on(
            "console",
            lambda m: m.type == "error" and "net::ERR_" not in m.text and wrong.append(m.text),
        )
        page.on("request", lambda r: r.url.startswith((address, "blob:")) or wrong.append(r.url))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not wrong


def live(page: Any, *names: str) -> None:
    """Wait until pictures of these cameras show with boxes."""
    page.wait_for_function(
        f"names => {{ const seen = {VIEWS}; return names.every("
        "n => seen.some(([m, pictures, boxes]) => m === n && pictures > 2 && boxes > 0)); }",
        arg=list(names),
    )


def test_cameras_are_live_with_boxes_and_actions(
    serve: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    with serve() as run:
        page = open_page(run.url)
        live(page, "door", "yard")
        # A source that is played again warms up anew.
        page.wait_for_function(
            "() => [...document.querySelectorAll('.card .state')]"
            ".map(e => e.innerText).join() === 'running,running'"
        )
        page.wait_for_selector(".lane .bars i")
        page.wait_for_selector("#list li")
        starts = page.eval_on_selector_all("#list time", "times => times.map(t => t.dateTime)")
        assert starts == sorted(starts, reverse=True), "the newest is the first"
        assert page.locator("#link").inner_text() == "live"


def test_a_threshold_that_is_moved_counts_at_once(
    serve: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    with serve() as run:
        page = open_page(run.url)
        live(page, "door", "yard")
        card = page.locator("[data-camera=door]")
        slider = card.locator("input[name=conf]")
        slider.fill("1")
        eventually(lambda: run.get("/api/cameras/door")[1]["conf"] == 1.0)
        page.wait_for_function(f"() => {VIEWS}.some(([n, , boxes]) => n === 'door' && boxes === 0)")
        assert card.locator("output").first.inner_text() == "1.00"
        assert run.get("/api/cameras/yard")[1]["conf"] == 0.0
        card.locator(".reset").click()
        eventually(lambda: run.get("/api/cameras/door")[1]["conf"] == 0.0)
        live(page, "door")


def test_a_click_on_the_picture_saves_it(
    serve: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    with serve() as run:
        page = open_page(run.url, accept_downloads=True)
        live(page, "door")
        with page.expect_download() as download:
            page.get_by_role("button", name="Snapshot of door").click()
        assert download.value.suggested_filename.startswith("door-20")
        download.value.save_as(tmp_path / "snapshot.jpg")
        picture = cv2.imread(str(tmp_path / "snapshot.jpg"))
        assert picture is not None
        assert picture.shape[0] * 48 == pytest.approx(picture.shape[1] * 36, rel=0.01)
        assert np.ptp(picture) > 100


def test_it_fits_a_phone(serve: Callable[..., Any], open_page: Callable[..., Any]) -> None:
    with serve() as run:
        page = open_page(
            run.url, viewport={"width": 360, "height": 740}, device_scale_factor=3,
            is_mobile=True, has_touch=True,
        )  # fmt: skip
        live(page, "door", "yard")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        for control in page.locator("button:visible, input:visible").all():
            box = control.bounding_box()
            assert box["height"] >= 30
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360


def brightness(page: Any) -> float:
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return float(np.mean([int(v) for v in colour.strip("rgb()").split(",")]))


def test_dark_and_light_follow_the_system_and_the_button(
    serve: Callable[..., Any], open_page: Callable[..., Any]
) -> None:
    with serve() as run:
        page = open_page(run.url, color_scheme="dark")
        assert brightness(page) < 60
        page.locator("#theme").click()
        assert brightness(page) > 200
        page.reload()
        assert brightness(page) > 200  # it is remembered
        assert brightness(open_page(run.url, color_scheme="light")) > 200


def test_a_lost_camera_says_why_and_no_secret(
    serve: Callable[..., Any], open_page: Callable[..., Any], images: str
) -> None:
    cameras = {
        "door": CameraConfig(source=images, conf=0.0),
        "gone": CameraConfig(source="rtsp://user:geheim@127.0.0.1:9/x"),
    }
    with serve(cameras) as run:
        page = open_page(run.url)
        live(page, "door")
        page.wait_for_selector("[data-camera=gone][data-state=lost]")
        assert (
            "nobody serves this stream" in page.locator("[data-camera=gone] .message").inner_text()
        )
        assert "geheim" not in page.content()


def test_a_browser_logs_in_by_the_form(
    serve: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with serve(token_file=str(tmp_path / "token")) as run:
        page = open_page(run.url)
        assert page.url.endswith("/login")
        page.get_by_label("Token").fill("not the token")
        page.get_by_role("button", name="Log in").click()
        assert page.get_by_role("alert").inner_text() == "That is not the token."
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Log in").click()
        live(page, "door", "yard")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login")
