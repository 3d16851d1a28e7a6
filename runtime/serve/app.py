"""The web application: page, API, streams."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from runtime.cli import version
from runtime.errors import ConfigError
from runtime.serve import metrics as prometheus
from runtime.serve.camera import Camera
from runtime.serve.connections import Connections
from runtime.serve.gate import COOKIE, SESSION_S, Gate, Verdict
from runtime.serve.guard import MAX_BODY, Guard
from runtime.serve.hub import Message
from runtime.serve.openapi import description
from runtime.serve.preview import to_jpeg
from runtime.serve.server_config import ServerConfig
from runtime.serve.service import Service
from runtime.serve.streams import KINDS, EventStream, PictureStream, Streams, serve_websocket

STATIC = Path(__file__).with_name("static")
FILES = {
    "app.js": "text/javascript",
    "draw.js": "text/javascript",
    "frames.js": "text/javascript",
    "login.js": "text/javascript",
    "timeline.js": "text/javascript",
    "style.css": "text/css",
    "icon.svg": "image/svg+xml",
}
SNAPSHOT_QUALITY = 90
MOST_RESULTS = 1000
MOST_ACTIONS = 2000


class Application:
    """Everything that is asked of a service over HTTP."""

    def __init__(
        self, service: Service, config: ServerConfig, connections: Connections, gate: Gate,
        metrics: prometheus.Metrics,
    ) -> None:  # fmt: skip
        """Take what there is to show, and who may see it."""
        self._service, self._config, self._gate, self._metrics = service, config, gate, metrics
        self._streams = Streams(service.hub, connections, config.max_streams)

    def asgi(self) -> ASGIApp:
        """Return the application."""
        get = ["GET"]
        one = "/api/cameras/{name}"
        routes = [
            Route("/", _file("index.html", "text/html"), methods=get),
            Route("/login", self.login_page, methods=get),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            *[Route(f"/static/{n}", _file(n, kind), methods=get) for n, kind in FILES.items()],
            Route("/healthz", self.health, methods=get),
            Route("/metrics", self.metrics, methods=get),
            Route("/openapi.json", self.openapi, methods=get),
            Route("/api/info", self.info, methods=get),
            Route("/api/cameras", self.cameras, methods=get),
            Route(one, self.camera, methods=get),
            Route(f"{one}/threshold", self.threshold, methods=["PATCH"]),
            Route(f"{one}/snapshot.jpg", self.snapshot, methods=get),
            Route(f"{one}/stream", self.one_picture_stream, methods=get),
            Route("/api/stream", self.picture_stream, methods=get),
            Route("/api/results", self.results, methods=get),
            Route("/api/actions", self.actions, methods=get),
            Route("/events", self.events, methods=get),
            WebSocketRoute("/events", self.websocket),
        ]
        return Starlette(
            routes=routes,
            middleware=[Middleware(Guard, config=self._config, gate=self._gate)],
            exception_handlers={HTTPException: _as_json},
        )

    async def health(self, request: Request) -> Response:
        """Tell whether the service works; cameras may be lost nonetheless."""
        fault = self._service.fault()
        if fault is None:
            return JSONResponse({"status": "ok"})
        return JSONResponse({"status": "failing"}, 503)

    async def metrics(self, request: Request) -> Response:
        """Return Prometheus' exposition."""
        return Response(self._metrics.text(), media_type=prometheus.CONTENT_TYPE)

    async def openapi(self, request: Request) -> Response:
        """Return the description of all this."""
        return JSONResponse(description(version()))

    async def info(self, request: Request) -> Response:
        """Return what is served."""
        runner, service = self._service.runner, self._service
        return JSONResponse(
            {
                "version": version(),
                "model": runner.spec.name,
                "artifact": runner.engine.artifact.stem,
                "trained": runner.spec.trained,
                "class_names": list(runner.spec.class_names),
                "stride_s": runner.stride / runner.spec.clip.fps,
                "started": service.started,
                "login": not self._gate.open,
            }
        )

    async def cameras(self, request: Request) -> Response:
        """Return how all cameras are."""
        return JSONResponse({"cameras": self._service.status()})

    async def camera(self, request: Request) -> Response:
        """Return how one camera is."""
        return JSONResponse(self._found(request).status())

    async def threshold(self, request: Request) -> Response:
        """Move thresholds until the service or its configuration changes."""
        camera = self._found(request)
        if request.headers.get("content-type", "").split(";")[0].strip() != "application/json":
            raise HTTPException(415, "send application/json")
        given = await _json_object(request)
        unknown = set(given) - {"conf", "action_conf"}
        if unknown or not given:
            raise HTTPException(422, "give conf, action_conf or both, and nothing else")
        for name, value in given.items():
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (number and 0 <= value <= 1):
                raise HTTPException(422, f"{name} has to be a number from 0 to 1, or null")
        try:
            camera.set_thresholds(given)
        except ConfigError as error:
            raise HTTPException(422, str(error)) from error
        return JSONResponse(camera.status())

    async def snapshot(self, request: Request) -> Response:
        """Return the newest frame, in its own size."""
        camera = self._found(request)
        frame = camera.newest
        if frame is None:
            raise HTTPException(409, "this camera has given no frame yet")
        jpeg = await asyncio.to_thread(to_jpeg, frame.image_bgr, None, SNAPSHOT_QUALITY)
        headers = {
            "x-time": f"{frame.t:.6f}",
            "content-disposition": f'inline; filename="{camera.name}.jpg"',
        }
        return Response(jpeg, media_type="image/jpeg", headers=headers)

    async def one_picture_stream(self, request: Request) -> ASGIApp:
        """Follow the pictures of one camera."""
        return PictureStream(self._streams, ["frame"], [self._found(request).name])

    async def picture_stream(self, request: Request) -> ASGIApp:
        """Follow the pictures of several cameras over one connection."""
        return PictureStream(self._streams, ["frame"], self._cameras(request))

    async def results(self, request: Request) -> Response:
        """Return kept results after a number."""
        limit = _whole(request, "limit", 100, MOST_RESULTS, least=1)
        since = _whole(request, "since", 0, 2**53)
        found, newest = self._service.hub.since(since, self._one_camera(request), limit)
        return JSONResponse({"results": [json.loads(m.text) for m in found], "next": newest})

    async def actions(self, request: Request) -> Response:
        """Return the actions of the last hour, or since a time."""
        text = request.query_params.get("since")
        since = None if text is None else float(_whole(request, "since", 0, 2**53))
        limit = _whole(request, "limit", 1000, MOST_ACTIONS, least=1)
        found = self._service.timeline.since(since, self._one_camera(request), limit)
        return JSONResponse({"actions": found})

    async def events(self, request: Request) -> ASGIApp:
        """Follow events as SSE."""
        kinds = _kinds(request.query_params.getlist("kind"))
        return EventStream(self._streams, kinds, self._cameras(request), self._first(kinds))

    async def websocket(self, socket: WebSocket) -> None:
        """Follow events over a WebSocket."""
        query = socket.query_params
        try:
            kinds, names = _kinds(query.getlist("kind")), self._named(query.getlist("camera"))
        except HTTPException:
            await socket.close(1008)
            return
        await serve_websocket(
            self._streams, kinds, names, self._first(kinds), socket.receive, socket.send
        )

    async def login_page(self, request: Request) -> Response:
        """Show the form, or go on where no token is needed."""
        if self._gate.open:
            return RedirectResponse("/", 303)
        return FileResponse(STATIC / "login.html", media_type="text/html")

    async def login(self, request: Request) -> Response:
        """Exchange the token for a cookie."""
        body = await _body(request)
        shown = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        verdict, session = self._gate.login(shown, request.client.host if request.client else "")
        if verdict is Verdict.LIMITED:
            return RedirectResponse("/login?limited", 303)
        if verdict is not Verdict.IN:
            return RedirectResponse("/login?wrong", 303)
        response = RedirectResponse("/", 303)
        response.set_cookie(
            COOKIE, session, max_age=int(SESSION_S), httponly=True, samesite="strict",
            secure=request.url.scheme == "https",
        )  # fmt: skip
        return response

    async def logout(self, request: Request) -> Response:
        """End the session."""
        self._gate.logout(request.headers.get("cookie"))
        response = RedirectResponse("/login", 303)
        response.delete_cookie(COOKIE)
        return response

    def _first(self, kinds: tuple[str, ...]) -> list[Message]:
        """Return what a new client is told at once."""
        if "cameras" not in kinds:
            return []
        return [Message(0, "cameras", "", json.dumps({"cameras": self._service.status()}))]

    def _found(self, request: Request) -> Camera:
        name = request.path_params["name"]
        camera = self._service.cameras.get(name)
        if camera is None:
            raise HTTPException(404, "there is no camera of that name")
        return camera

    def _one_camera(self, request: Request) -> str | None:
        names = self._named(request.query_params.getlist("camera"))
        if names is not None and len(names) > 1:
            raise HTTPException(422, "give one camera, or none for all")
        return None if names is None else names[0]

    def _cameras(self, request: Request) -> list[str] | None:
        return self._named(request.query_params.getlist("camera"))

    def _named(self, names: list[str]) -> list[str] | None:
        if any(name not in self._service.cameras for name in names):
            raise HTTPException(404, "there is no camera of that name")
        return names or None


def _file(name: str, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def send(request: Request) -> Response:
        return FileResponse(STATIC / name, media_type=kind)

    return send


async def _as_json(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _body(request: Request) -> bytes:
    """Read a request's body, which need not say its length."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise HTTPException(
                413, f"a request may have {MAX_BODY} bytes", {"connection": "close"}
            )
    return body


async def _json_object(request: Request) -> Mapping[str, Any]:
    try:
        content = json.loads(await _body(request))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "this is no JSON") from error
    if not isinstance(content, Mapping):
        raise HTTPException(422, "expected a JSON object")
    return content


def _whole(request: Request, name: str, default: int, most: int, *, least: int = 0) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise HTTPException(422, f"{name} has to be a whole number from {least} to {most}")
    return int(text)


def _kinds(given: list[str]) -> tuple[str, ...]:
    if any(kind not in KINDS for kind in given):
        raise HTTPException(422, f"kind is one of {', '.join(KINDS)}")
    return tuple(given) or KINDS
