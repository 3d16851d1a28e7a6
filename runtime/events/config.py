"""The `events:` part of cameras.yaml: where events go. Checked whole before anything is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runtime._option import check_options, option
from runtime._schema import check_fields
from runtime.errors import ConfigError
from runtime.secrets import redact

PHASES = ("begin", "continue", "end")
MAX_QUEUE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonlConfig:
    """A file of JSON Lines that is turned over: events.jsonl, events.jsonl.1, ..."""

    path: str = option("", "file to append to")
    max_mb: float = option(16.0, "size at which a new file begins, MB", above=0, most=1e6)
    files: int = option(8, "files kept, the newest included", least=1, most=10_000)
    queue: int = option(10_000, "events that may wait for the disk", least=1, most=MAX_QUEUE)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        _need(self, "path")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryConfig:
    """An SQLite file to look events up in."""

    path: str = option("", "database file")
    max_days: float = option(30.0, "age at which events are deleted, days", above=0, most=36_500)
    max_mb: float = option(256.0, "size of the database, MB", least=1, most=1e6)
    queue: int = option(10_000, "events that may wait for the disk", least=1, most=MAX_QUEUE)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        _need(self, "path")


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttConfig:
    """An MQTT broker; Home Assistant finds the cameras' actions there by itself."""

    host: str = option("", "name or address of the broker")
    port: int | None = option(None, "else 1883, with TLS 8883", least=1, most=65_535)
    username: str | None = option(None, "user at the broker")
    password_file: str | None = option(None, "file with the password")
    password_env: str | None = option(None, "environment variable with the password")
    tls: bool = option(False, "encrypt, and check the broker's certificate")
    ca_file: str | None = option(None, "certificate of the authority that signed the broker's, PEM")
    cert_file: str | None = option(None, "certificate of this client, PEM")
    key_file: str | None = option(None, "key of this client, PEM")
    node: str | None = option(None, "name of this board in topics; else its host name")
    base: str = option("bmvit", "first part of the topics")
    discovery: str | None = option("homeassistant", "prefix of Home Assistant; null: none")
    queue: int = option(1_000, "events that may wait for the broker", least=1, most=MAX_QUEUE)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        _need(self, "host")
        if any(c in self.host for c in "/@ \t\r\n"):
            raise ConfigError(
                f"host is {redact(self.host)!r}, expected a name or address alone; port, "
                "username and password_file have keys of their own"
            )
        _one_secret(self, "password")
        for name in ("base", "discovery"):
            value = getattr(self, name) or "-"
            if any(c in value for c in "+#\0") or value.strip("/") != value:
                raise ConfigError(
                    f"{name} is {value!r}, expected a topic without + and #, and no / at its ends"
                )
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ConfigError("certificates are given and tls is not on; write tls: true")
        if bool(self.cert_file) != bool(self.key_file):
            raise ConfigError("cert_file and key_file belong together; one of them is missing")
        if (self.password_file or self.password_env) and not self.username:
            raise ConfigError("a password is given without a username")
        for name in ("ca_file", "cert_file", "key_file"):
            _readable(self, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookConfig:
    """An address that events are posted to, signed as Standard Webhooks says."""

    url: str = option("", "http(s) address")
    secret_file: str | None = option(None, "file with the secret of the signature")
    secret_env: str | None = option(None, "environment variable with the secret")
    ca_file: str | None = option(None, "certificate of the authority that signed the server's, PEM")
    phases: tuple[str, ...] = option(("begin", "end"), "phases of events that are posted")
    timeout_s: float = option(10.0, "longest wait for an answer, seconds", above=0, most=300)
    max_age_s: float = option(
        3600.0, "age at which an event is dropped, seconds", above=0, most=1e6
    )
    queue: int = option(1_000, "events that may wait", least=1, most=MAX_QUEUE)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        _need(self, "url")
        _one_secret(self, "secret")
        _readable(self, "ca_file")
        try:
            parts = urlsplit(self.url)
            fine = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except ValueError:
            fine = False
        if not fine:
            raise ConfigError(f"url is {redact(self.url)[:120]!r}, expected http(s)://host/...")
        if not self.phases or not set(self.phases) <= set(PHASES):
            raise ConfigError(
                f"phases is {', '.join(self.phases) or 'empty'}, expected some of "
                f"{', '.join(PHASES)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipsConfig:
    """A folder of short videos, cut from the stream without encoding it again."""

    folder: str = option("", "where clips are written")
    before_s: float = option(5.0, "seconds before an action begins", least=0, most=60)
    after_s: float = option(5.0, "seconds after it ends", least=0, most=60)
    max_s: float = option(
        60.0, "longest clip from the first action on, seconds", above=0, most=3600
    )
    max_mb: float = option(
        2_000.0, "size of the folder, MB; the oldest clips are deleted", least=1, most=1e7
    )
    ring_mb: float = option(32.0, "memory of one camera's ring, MB", least=1, most=4096)

    def __post_init__(self) -> None:
        check_options(self, named=str)
        _need(self, "folder")


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsConfig:
    """Where events go; what is None is not there."""

    jsonl: JsonlConfig | None = None
    history: HistoryConfig | None = None
    mqtt: MqttConfig | None = None
    webhook: WebhookConfig | None = None
    clips: ClipsConfig | None = None


def events_config(content: Mapping[str, Any] | None, *, where: str = "events") -> EventsConfig:
    """Check the `events:` part of a configuration.

    Args:
        content: What YAML or JSON gave; None is an empty one.
        where: What a message calls it.

    Raises:
        ConfigError: A key is unknown, a value of another type or out of range, a file of a secret
            or certificate cannot be read, or a variable of the environment is not set.
    """
    if content is not None and not isinstance(content, Mapping):
        raise ConfigError(f"{where} is {type(content).__name__}, expected keys and values")
    try:
        return check_fields(EventsConfig, content or {}, where=where)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def read_secret(config: MqttConfig | WebhookConfig, name: str) -> str | None:
    """Return the secret that `<name>_file` or `<name>_env` point to, without the last line's end.

    Raises:
        ConfigError: The file cannot be read or is empty, or the variable is not set.
    """
    file, variable = getattr(config, f"{name}_file"), getattr(config, f"{name}_env")
    if variable is not None:
        value = os.environ.get(variable, "")
        if not value:
            raise ConfigError(f"{name}_env is {variable}, which is not set or empty")
        return value
    if file is None:
        return None
    try:
        value = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise ConfigError(f"{name}_file {file} cannot be read: {reason}") from error
    if not value:
        raise ConfigError(f"{name}_file {file} is empty")
    return value


def _need(config: Any, name: str) -> None:
    if not getattr(config, name):
        raise ConfigError(f"{name} is missing or empty")


def _one_secret(config: Any, name: str) -> None:
    if getattr(config, f"{name}_file") is not None and getattr(config, f"{name}_env") is not None:
        raise ConfigError(f"both {name}_file and {name}_env are given; give one")
    read_secret(config, name)


def _readable(config: Any, name: str) -> None:
    value = getattr(config, name)
    if value is None:
        return
    try:
        with Path(value).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{name} {value} cannot be read: {error.strerror}") from error
