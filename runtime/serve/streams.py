"""Answers that do not end: events as SSE or over a WebSocket, pictures as multipart JPEG."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable

from starlette.types import Receive, Scope, Send

from runtime.serve.connections import Connections
from runtime.serve.hub import Hub, Message, Subscriber

logger = logging.getLogger(__name__)

KINDS = ("result", "action", "cameras")
HEARTBEAT_S = 15.0
BOUNDARY = "edge-frame"


class Streams:
    """All of them together, so that there are not too many."""

    def __init__(self, hub: Hub, connections: Connections, most: int) -> None:
        """Set the limit."""
        self.open = 0
        self._hub, self._connections, self._most = hub, connections, most

    @contextlib.asynccontextmanager
    async def join(
        self, kinds: Iterable[str], cameras: Iterable[str] | None, receive: Receive
    ) -> AsyncIterator[Subscriber | None]:
        """Subscribe for as long as the client is there; None where there are too many.

        Where all places are taken, a client that does not read loses its own.
        """
        if self.open >= self._most and not self._connections.make_room(idle=False):
            yield None
            return
        self.open += 1
        subscriber = self._hub.subscribe(kinds, cameras)
        watch = asyncio.create_task(_until_gone(receive, subscriber))
        try:
            yield subscriber
        finally:
            self.open -= 1
            self._hub.leave(subscriber)
            watch.cancel()


class Unending(ABC):
    """An ASGI response that sends what comes; `head` says what it is."""

    content_type = ""

    def __init__(
        self, streams: Streams, kinds: Iterable[str], cameras: Iterable[str] | None,
        first: Iterable[Message] = (),
    ) -> None:  # fmt: skip
        """Prepare to send messages of some kinds about some cameras, some of them at once."""
        self._streams, self._kinds, self._cameras = streams, tuple(kinds), cameras
        self._first = list(first)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client or the service goes."""
        async with self._streams.join(self._kinds, self._cameras, receive) as subscriber:
            if subscriber is None:
                await _full(send)
                return
            headers = [
                (b"content-type", self.content_type.encode()), (b"x-accel-buffering", b"no"),
            ]  # fmt: skip
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            if scope["method"] == "HEAD":
                await _send(send, b"", more=False)
                return
            await _send(send, self.opening() + b"".join(map(self.encode, self._first)))
            while (messages := await subscriber.next(HEARTBEAT_S)) is not None:
                # One at a time: each waits until the client has read, and is then the newest.
                data = b"".join(map(self.encode, messages)) or self.heartbeat()
                await _send(send, data)
            await _send(send, self.closing(), more=False)

    def opening(self) -> bytes:
        """Return what is sent first."""
        return b""

    @abstractmethod
    def encode(self, message: Message) -> bytes:
        """Return a message as it is sent."""

    def heartbeat(self) -> bytes:
        """Return what is sent where there is nothing to say, so that a lost client is noticed."""
        return b""

    def closing(self) -> bytes:
        """Return what is sent last."""
        return b""


class EventStream(Unending):
    """Server-Sent Events."""

    content_type = "text/event-stream; charset=utf-8"

    def opening(self) -> bytes:
        """Return how soon to come back."""
        return b"retry: 2000\n\n"

    def encode(self, message: Message) -> bytes:
        """Return one event; JSON has no line breaks in it."""
        number = f"id: {message.number}\n" if message.number else ""
        return f"{number}event: {message.kind}\ndata: {message.text}\n\n".encode()

    def heartbeat(self) -> bytes:
        """Return a comment."""
        return b": still here\n\n"


class PictureStream(Unending):
    """Multipart JPEG: browsers, players and recorders show it. Parts say camera and time."""

    content_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"

    def opening(self) -> bytes:
        """Return the first boundary; each part ends with the next, so that it shows at once."""
        return f"--{BOUNDARY}\r\n".encode()

    def encode(self, message: Message) -> bytes:
        """Return one part."""
        head = (
            f"Content-Type: image/jpeg\r\nContent-Length: {len(message.jpeg)}\r\n"
            f"X-Camera: {message.camera}\r\nX-Time: {message.t:.6f}\r\n\r\n"
        )
        return head.encode() + message.jpeg + f"\r\n--{BOUNDARY}\r\n".encode()


async def serve_websocket(
    streams: Streams, kinds: Iterable[str], cameras: Iterable[str] | None,
    first: Iterable[Message], receive: Receive, send: Send,
) -> None:  # fmt: skip
    """Send messages as JSON texts `{"type": ..., ...}`; what the client says is not listened to."""
    await receive()  # the request to connect
    async with streams.join(kinds, cameras, receive) as subscriber:
        if subscriber is None:
            await send({"type": "websocket.close", "code": 1013})
            return
        await send({"type": "websocket.accept"})
        for message in first:
            await send({"type": "websocket.send", "text": _typed(message)})
        while (messages := await subscriber.next(HEARTBEAT_S)) is not None:
            for message in messages:
                await send({"type": "websocket.send", "text": _typed(message)})
        await send({"type": "websocket.close", "code": 1001})


def _typed(message: Message) -> str:
    return f'{{"type": {json.dumps(message.kind)}, {message.text[1:]}'


async def _until_gone(receive: Receive, subscriber: Subscriber) -> None:
    while True:
        message = await receive()
        if message["type"] in ("http.disconnect", "websocket.disconnect"):
            subscriber.close()
            return


async def _send(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _full(send: Send) -> None:
    body = b'{"error": "too many clients follow already; try again later"}'
    headers = [(b"content-type", b"application/json"), (b"retry-after", b"10")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await _send(send, body, more=False)
