"""In front of every page: Host, Origin, token, size of a request; headers behind it."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runtime.serve.gate import Gate, Verdict
from runtime.serve.server_config import ServerConfig

MAX_BODY = 16_384
# What a browser needs before it has a session, and a health check that says nothing else.
PUBLIC = frozenset(
    {"/login", "/static/style.css", "/static/login.js", "/static/icon.svg", "/healthz"}
)
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-resource-policy": "same-origin",
    # Not `no-referrer`: browsers then send our own form with `Origin: null`.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, config: ServerConfig, gate: Gate) -> None:
        """Take the application and who may use it."""
        self._app, self._gate = app, gate
        names = {"localhost", *map(str.lower, config.allowed_hosts)}
        if not config.loopback:
            host = socket.gethostname().lower()
            names |= {host, f"{host}.local", config.host.lower()}
        self._names = frozenset(names)
        self._loopback = config.loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused; pass on the rest."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refusal(scope, headers)
        if refused is not None:
            status, sentence, more = refused
            await answer(scope, receive, send, status, sentence, more)
            return
        await self._app(scope, receive, _with_headers(send))

    def _refusal(
        self, scope: Scope, headers: Headers
    ) -> tuple[int, str, dict[str, str]] | None:  # fmt: skip
        """Return status, sentence and headers, or None for a request that may pass."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 421, "this server is not called that; see allowed_hosts", _CLOSE
        if not _same_origin(scope, headers, hosts[0]):
            return 403, "requests from pages of other servers are refused", {}
        if "transfer-encoding" in headers and "content-length" in headers:
            return 400, "a request has one length", _CLOSE
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            return 413, f"a request may have {MAX_BODY} bytes", _CLOSE
        if scope["path"] in PUBLIC and scope["type"] == "http":
            return None
        client = scope.get("client")
        verdict = self._gate.check(
            headers.get("authorization"), headers.get("cookie"), client[0] if client else ""
        )
        if verdict is Verdict.IN:
            return None
        if verdict is Verdict.LIMITED:
            return 429, "too many wrong tokens; wait a minute", {"retry-after": "60"}
        wants_page = scope["type"] == "http" and scope["path"] == "/"
        if verdict is Verdict.MISSING and wants_page and "html" in headers.get("accept", ""):
            return 303, "log in", {"location": "/login"}
        sentence = "show the token: Authorization: Bearer TOKEN, or log in at /login"
        return 401, sentence, {"www-authenticate": 'Bearer realm="edge serve"'}

    def _is_ours(self, host: str) -> bool:
        """Tell whether a Host header names this server: else a page could rebind its own name."""
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ip = ipaddress.ip_address(name)
        except ValueError:
            return False
        return ip.is_loopback or not self._loopback


_CLOSE = {"connection": "close"}


def _same_origin(scope: Scope, headers: Headers, host: str) -> bool:
    """Tell whether a request comes from a page of this server, or from no page at all."""
    origin = headers.get("origin")
    if origin is not None:
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        return origin.lower() == f"{scheme}://{host}".lower()
    # Browsers send no Origin with pictures; navigations are for a person to decide.
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    return site in (None, "same-origin", "none") or mode == "navigate"


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return add


async def answer(
    scope: Scope, receive: Receive, send: Send, status: int, sentence: str, headers: dict[str, str]
) -> None:
    """Send a JSON object with an error, also to who wanted a WebSocket."""
    body = json.dumps({"error": sentence}).encode()
    raw = {
        **HEADERS, "content-type": "application/json", "content-length": str(len(body)), **headers,
    }  # fmt: skip
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()  # the request to connect
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": status, "headers": _encoded(raw.items())})
    await send({"type": f"{kind}.body", "body": b"" if scope.get("method") == "HEAD" else body})


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
