"""Events posted to an address, signed and tried again.

Header names, signature and the body's frame are those of Standard Webhooks
(standardwebhooks.com), so that its libraries check them: `webhook-id` stays the same when an event
is posted again, and `webhook-signature` is HMAC-SHA256 over id, time and body.

An event is acknowledged by an answer 2xx. No answer, 5xx, 408, 425 and 429 are tried again (a
`Retry-After` is followed) until the event is `max_age_s` old; any other answer gives it up. A
redirection is not followed: it would carry the event to somebody who was not named.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from runtime.errors import BackendUnavailableError, ConfigError, SinkError
from runtime.events.config import WebhookConfig, read_secret
from runtime.events.queue import GiveUp, Later, QueueSink
from runtime.events.types import ActionEvent

_AGAIN = frozenset({408, 425, 429})
_PREFIX = "whsec_"
_MOST_RETRY_AFTER_S = 3600.0


class WebhookSink(QueueSink):
    """Posts one event after the other."""

    name = "webhook"
    largest_batch = 1
    longest_wait_s = 60.0

    def __init__(self, config: WebhookConfig) -> None:
        """Prepare; nothing is connected before the first event.

        Raises:
            BackendUnavailableError: urllib3 is not installed.
            ConfigError: The secret cannot be read or is no secret.
            SinkError: The certificate cannot be used.
        """
        super().__init__(config.queue)
        try:
            import urllib3
        except ImportError as error:
            raise BackendUnavailableError(
                f"urllib3 does not import ({error}); run: pip install '.[serve]'"
            ) from error
        self._config = config
        self._key = _key(read_secret(config, "secret"))
        parts = urlsplit(config.url)
        host = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, host, parts.path or "/", parts.query, ""))
        # Neither path nor parameters: they are where such addresses have their secrets.
        self._place = f"{parts.scheme}://{host}"
        self._headers = {"content-type": "application/json", "user-agent": "bmvit-edge"}
        if parts.username:
            who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers |= urllib3.make_headers(basic_auth=who)
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=config.timeout_s, read=config.timeout_s),
            retries=False, ca_certs=config.ca_file,
        )  # fmt: skip
        self._first: tuple[ActionEvent, float] | None = None
        self._start()

    def send(self, event: ActionEvent) -> None:
        """Queue an event of the phases that were asked for."""
        if event.phase.value in self._config.phases:
            super().send(event)

    def status(self) -> dict[str, object]:
        """Return the queue's status and where events go."""
        return {**super().status(), "url": self._place}

    def _deliver(self, batch: Sequence[ActionEvent]) -> None:
        import urllib3

        for event in batch:
            if self._first is None or self._first[0] is not event:
                self._first = (event, time.monotonic())
            body = _body(event)
            headers = {**self._headers, **_signed(self._key, event, body, int(time.time()))}
            try:
                answer = self._pool.request(
                    "POST", self._url, body=body, headers=headers, redirect=False,
                    preload_content=False,
                )  # fmt: skip
            except (urllib3.exceptions.HTTPError, ValueError, OSError) as error:
                words = str(error).replace(self._url, self._place)
                self._refused(event, f"{self._place}: {type(error).__name__}: {words}"[:300])
                continue
            after = _retry_after(answer.headers.get("retry-after"))
            answer.close()  # what it says beside the status is not read
            if 200 <= answer.status < 300:
                continue
            reason = f"{self._place} answers {answer.status}"
            if answer.status < 500 and answer.status not in _AGAIN:
                raise GiveUp(f"{reason}; the event is given up")
            self._refused(event, reason, after)

    def _refused(self, event: ActionEvent, reason: str, after_s: float | None = None) -> None:
        """Try again later, unless the event is too old for that."""
        assert self._first is not None
        if time.monotonic() - self._first[1] >= self._config.max_age_s:
            raise GiveUp(f"{reason}; given up after {self._config.max_age_s:g} s")
        if after_s is not None:
            raise Later(reason, after_s)
        raise SinkError(reason)

    def _release(self) -> None:
        self._pool.clear()


def _key(secret: str | None) -> bytes | None:
    """Return the key of a secret: base64 behind `whsec_`, else the text's own bytes."""
    if secret is None:
        return None
    if not secret.startswith(_PREFIX):
        return secret.encode("utf-8")
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error as error:
        raise ConfigError(
            f"the webhook's secret begins with {_PREFIX}, and no base64 follows"
        ) from (error)
    if not key:
        raise ConfigError(f"the webhook's secret is {_PREFIX} and nothing behind it")
    return key


def _body(event: ActionEvent) -> bytes:
    told = datetime.datetime.fromtimestamp(event.time, tz=datetime.timezone.utc)
    content: dict[str, Any] = {
        "type": f"action.{event.phase.value}",
        "timestamp": told.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": event.to_dict(),
    }
    return json.dumps(content, allow_nan=False).encode("ascii")


def _signed(key: bytes | None, event: ActionEvent, body: bytes, now: int) -> dict[str, str]:
    """Return the headers of a message; without a key there is no signature."""
    number = f"{event.event_id}_{event.phase.value}_{round(event.time * 1000)}"
    headers = {"webhook-id": number, "webhook-timestamp": str(now)}
    if key is not None:
        signed = hmac.new(key, f"{number}.{now}.".encode() + body, hashlib.sha256).digest()
        headers["webhook-signature"] = "v1," + base64.b64encode(signed).decode("ascii")
    return headers


def _retry_after(text: str | None) -> float | None:
    """Return the seconds of a `Retry-After`; its dates are not understood."""
    if text is None or not (text.isascii() and text.isdecimal()):
        return None
    return min(float(text), _MOST_RETRY_AFTER_S)
