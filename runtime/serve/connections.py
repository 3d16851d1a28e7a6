"""Limits on connections, beneath HTTP: how many, how slow to ask, how slow to read.

uvicorn implements HTTP. Its protocol classes are extended by what it does not bound: a client that
connects and asks nothing, one that begins a request and does not end it, one that does not read
what it asked for. Where there are too many, who has waited longest without a whole request goes.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

REQUEST_S = 10.0  # longest time to send a request
STALL_S = 20.0  # longest time to read nothing of what is sent
YIELDS_AFTER_S = 3.0  # who reads nothing for so long gives way to a new client
SEND_BUFFER = 131_072
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\ncontent-length: 0\r\n"
    b"connection: close\r\n\r\n"
)


class _Watched:
    """What both protocols have in common."""

    transport: asyncio.Transport
    stalled_at: float | None = None

    def pause_writing(self) -> None:
        """Note since when the client does not read."""
        self.stalled_at = asyncio.get_running_loop().time()
        super().pause_writing()  # type: ignore[misc]

    def resume_writing(self) -> None:
        """Note that it reads again."""
        self.stalled_at = None
        super().resume_writing()  # type: ignore[misc]


class WebSocketConnection(_Watched, WebSocketsSansIOProtocol):
    """A WebSocket that says since when its client does not read."""


class Connections:
    """All connections of one server."""

    def __init__(self, most: int) -> None:
        """Set the limit."""
        self.most = most
        self.refused = 0
        self.evicted = 0
        self._all: set[Any] = set()

    def protocol(self) -> type[H11Protocol]:
        """Return the protocol class for uvicorn, bound to these connections."""
        connections = self

        class HttpConnection(_Watched, H11Protocol):
            """An HTTP connection that is one of those."""

            waiting_since: float | None = None

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)  # type: ignore[arg-type]
                connections.admit(self)

            def on_response_complete(self) -> None:
                self.waiting_since = self.loop.time()
                super().on_response_complete()

        return HttpConnection

    def admit(self, connection: Any) -> None:
        """Take a new connection in, or refuse it where nobody can give way."""
        transport = connection.transport
        sock = transport.get_extra_info("socket")
        if sock is not None:
            # What lies in the kernel is old when it is read.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._all = connection.connections
        connection.waiting_since = connection.loop.time()
        if len(self._all) > self.most and not self.make_room(besides=connection):
            self.refused += 1
            transport.write(_BUSY)
            transport.close()

    def make_room(self, *, besides: Any = None, idle: bool = True) -> bool:
        """End the connection that is least missed; False where all are in use.

        Args:
            besides: Not this one.
            idle: One that waits for a request will do; else only one that does not read.
        """
        now = asyncio.get_running_loop().time()
        found: tuple[float, Any] | None = None
        for one in self._all:
            since = one.stalled_at
            if since is not None and now - since < YIELDS_AFTER_S:
                since = None
            if since is None and idle and _asks_nothing(one):
                since = one.waiting_since
            closing = one.transport is None or one.transport.is_closing()
            if since is not None and one is not besides and not closing:
                found = (
                    min(found, (since, one), key=lambda pair: pair[0]) if found else (since, one)
                )
        if found is None:
            return False
        self.evicted += 1
        found[1].transport.abort()
        return True

    def sweep(self) -> None:
        """End the connections that are past a limit."""
        now = asyncio.get_running_loop().time()
        for one in list(self._all):
            transport = one.transport
            if transport is None:
                continue
            if _asks_nothing(one) or _still_asks(one) or transport.is_closing():
                if one.waiting_since is None:
                    one.waiting_since = now
                late = now - one.waiting_since > REQUEST_S
            else:
                one.waiting_since = None
                late = False
            stalled = one.stalled_at is not None and now - one.stalled_at > STALL_S
            if late or stalled:
                self.evicted += 1
                transport.abort()


def _asks_nothing(connection: Any) -> bool:
    """Tell whether there is no request at the moment, or none that is whole."""
    if not isinstance(connection, H11Protocol):
        return False
    cycle = connection.cycle
    return cycle is None or cycle.response_complete


def _still_asks(connection: Any) -> bool:
    """Tell whether the body of a request has not come whole."""
    cycle = getattr(connection, "cycle", None)
    return cycle is not None and bool(cycle.more_body)
