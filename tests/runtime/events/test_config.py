"""The `events:` part of a configuration is checked whole, in sentences, and holds no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.errors import ConfigError
from runtime.events import EventsConfig, events_config
from runtime.events.config import read_secret


def test_nothing_is_a_configuration_without_sinks() -> None:
    assert events_config(None) == events_config({}) == EventsConfig()


def test_all_parts_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hush\n")
    config = events_config(
        {
            "jsonl": {"path": "e.jsonl", "max_mb": 1},
            "history": {"path": "h.sqlite"},
            "mqtt": {"host": "broker", "username": "u", "password_file": str(secret)},
            "webhook": {"url": "https://host/hook", "phases": ["end"]},
            "clips": {"folder": "clips"},
        }
    )
    assert config.jsonl is not None
    assert config.jsonl.max_mb == 1.0
    assert config.webhook is not None
    assert config.webhook.phases == ("end",)
    assert config.mqtt is not None
    assert read_secret(config.mqtt, "password") == "hush"
    assert "hush" not in repr(config)


def test_a_secret_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", "hush")
    config = events_config({"webhook": {"url": "http://h/", "secret_env": "HOOK"}}).webhook
    assert config is not None
    assert read_secret(config, "secret") == "hush"
    monkeypatch.delenv("HOOK")
    with pytest.raises(ConfigError, match="HOOK, which is not set"):
        read_secret(config, "secret")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param([], "events is list, expected keys", id="a list"),
        pytest.param({"mqqt": {}}, "unknown field 'mqqt'", id="an unknown part"),
        pytest.param({"jsonl": {}}, "path is missing or empty", id="no path"),
        pytest.param({"jsonl": None, "history": 3}, "history is int", id="a number"),
        pytest.param({"jsonl": {"path": 3}}, "path is int '3', expected str", id="a type"),
        pytest.param({"jsonl": {"path": "x", "max_mb": 0}}, "max_mb is 0", id="no size"),
        pytest.param({"jsonl": {"path": "x", "files": True}}, "files is bool", id="a bool"),
        pytest.param(
            {"history": {"path": "x", "max_days": float("inf")}}, "max_days is inf", id="inf",
        ),
        pytest.param({"mqtt": {}}, "host is missing", id="no host"),
        pytest.param({"mqtt": {"host": "b", "port": 70000}}, "port is 70000", id="a port"),
        pytest.param({"mqtt": {"host": "b", "base": "a/#"}}, "a topic without", id="a wildcard"),
        pytest.param({"mqtt": {"host": "b", "base": "/a"}}, "no / at its ends", id="a slash"),
        pytest.param(
            {"mqtt": {"host": "b", "password_env": "PATH"}}, "without a username", id="no user",
        ),
        pytest.param(
            {"mqtt": {"host": "b", "username": "u", "password_file": "/none"}},
            "password_file /none cannot be read", id="no such file",
        ),
        pytest.param(
            {"mqtt": {"host": "b", "username": "u", "password_env": "NONE_SUCH"}},
            "NONE_SUCH, which is not set", id="no such variable",
        ),
        pytest.param(
            {"mqtt": {"host": "b", "password_file": "a", "password_env": "b"}},
            "both password_file and password_env", id="two secrets",
        ),
        pytest.param({"mqtt": {"host": "b", "ca_file": __file__}}, "write tls: true", id="no tls"),
        pytest.param(
            {"mqtt": {"host": "b", "tls": True, "cert_file": __file__}},
            "belong together", id="a certificate alone",
        ),
        pytest.param(
            {"mqtt": {"host": "b", "tls": True, "ca_file": "/none"}},
            "ca_file /none cannot be read", id="no certificate",
        ),
        pytest.param({"webhook": {"url": "ftp://h/"}}, "expected http", id="a scheme"),
        pytest.param({"webhook": {"url": "http://h:x/"}}, "expected http", id="a port's name"),
        pytest.param(
            {"webhook": {"url": "http://h", "phases": []}}, "phases is empty", id="no phase",
        ),
        pytest.param(
            {"webhook": {"url": "http://h", "phases": ["x"]}}, "phases is x", id="a phase",
        ),
        pytest.param({"clips": {"folder": "c", "max_s": 0}}, "max_s is 0", id="no clip"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(content: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        events_config(content)
    assert words in str(caught.value)
    assert str(caught.value).startswith("events")


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        events_config({"webhook": {"url": "https://me:hush@/x?token=hush"}})
    assert "hush" not in str(caught.value)
