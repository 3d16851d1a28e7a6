"""A configuration is checked whole: one sentence for each fault, and no secret in any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.cli.serve import ServeOptions, read
from runtime.errors import ConfigError
from runtime.options import OptionParser
from runtime.serve.config import ConfigFaultsError, load_config, parse_config
from runtime.serve.server_config import TOKEN_VARIABLE, ServerConfig

WHOLE = {
    "model": "bundle",
    "num_threads": 2,
    "server": {"port": 9000, "preview_fps": 5},
    "cameras": {
        "door": {
            "source": "rtsp://10.0.0.7/main", "conf": 0.3, "classes": ["fall"],
            "region": [[0, 0.5], [1, 0.5], [1, 1], [0, 1]], "min_duration_s": 1,
        },
        "yard": {"source": 0},
    },
    "events": {"jsonl": {"path": "events.jsonl"}},
}  # fmt: skip


def test_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(WHOLE))
    config = load_config(path)
    assert config.engine.num_threads == 2
    assert config.server.port == 9000
    assert config.cameras["door"].actions.min_duration_s == 1.0
    assert config.cameras["door"].actions.classes == ("fall",)
    assert config.cameras["yard"].source == "0"
    assert config.events.jsonl is not None


def test_yaml_says_the_same(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    path = tmp_path / "cameras.yaml"
    path.write_text(yaml.safe_dump(WHOLE))
    assert load_config(path) == parse_config(WHOLE, where="x")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"camera": {}}, "unknown key 'camera'. Did you mean 'cameras'?", id="key"),
        pytest.param({"num_threads": -1}, "num_threads is -1, expected 0 to 256", id="engine"),
        pytest.param({"model": 3}, "model is int '3', expected str", id="type"),
        pytest.param({"server": {"port": 1e6}}, "port", id="port"),
        pytest.param({"server": []}, "server is list, expected keys", id="server"),
        pytest.param({"cameras": {}}, "cameras is missing or empty", id="no cameras"),
        pytest.param({"cameras": {"a/b": {"source": 0}}}, "a name has 1 to 64", id="name"),
        pytest.param({"cameras": {"a": 3}}, "camera a is int", id="camera"),
        pytest.param({"cameras": {"a": {}}}, "lacks the field 'source'", id="no source"),
        pytest.param({"cameras": {"a": {"source": "x.mp4"}}}, "no such file", id="no file"),
        pytest.param({"cameras": {"a": {"source": "foo://x"}}}, "foo:// is not known", id="scheme"),
        pytest.param({"cameras": {"a": {"source": "${NO_SUCH_THING}"}}}, "NO_SUCH_THING", id="env"),
        pytest.param({"cameras": {"a": {"sorce": 0}}}, "Did you mean 'source'?", id="misspelt"),
        pytest.param({"cameras": {"a": {"source": 0, "conf": 2}}}, "conf is 2", id="conf"),
        pytest.param(
            {"cameras": {"a": {"source": 0, "region": [[0, 0], [1, 1]]}}}, "2 corners", id="line"
        ),
        pytest.param(
            {"cameras": {"a": {"source": 0, "region": [[0, 0], [1, 1], [2, 0]]}}},
            "corner [2.0, 0.0]", id="outside",
        ),
        pytest.param(
            {"cameras": {"a": {"source": 0, "region": [[0, 0], [1, 1], [0.5, 0.5]]}}}, "no area",
            id="flat",
        ),
        pytest.param({"events": {"mqtt": {}}}, "host is missing", id="events"),
    ],
)  # fmt: skip
def test_a_fault_is_one_sentence_with_its_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigFaultsError) as caught:
        parse_config({**WHOLE, **change}, where="cameras.yaml")
    assert len(caught.value.faults) == 1
    assert caught.value.faults[0].startswith("cameras.yaml: ")
    assert words in caught.value.faults[0]


def test_all_faults_are_told_at_once_without_secrets() -> None:
    content = {
        "modle": "x",
        "server": {"port": -1},
        "cameras": {
            "a": {"source": "rtsp://user:geheim@10.0.0.1:x/y"},
            "b": {"source": 0, "conf": -1},
            "c": {"source": 0},
        },
        "events": 3,
    }
    with pytest.raises(ConfigFaultsError) as caught:
        parse_config(content, where="f")
    assert len(caught.value.faults) == 5
    assert "geheim" not in str(caught.value)


def test_a_secret_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOOR_PASSWORD", "geheim")
    content = {"cameras": {"a": {"source": "rtsp://u:${DOOR_PASSWORD}@h/x"}}}
    config = parse_config(content, where="f")
    assert config.cameras["a"].source == "rtsp://u:geheim@h/x"
    assert "geheim" not in repr(config)


@pytest.mark.parametrize(
    ("host", "closed"),
    [
        pytest.param("127.0.0.1", True, id="loopback"),
        pytest.param("127.9.9.9", True, id="loopback too"),
        pytest.param("::1", True, id="loopback of IPv6"),
        pytest.param("localhost", True, id="by name"),
        pytest.param("0.0.0.0", False, id="all addresses"),
        pytest.param("::", False, id="all of IPv6"),
        pytest.param("192.168.0.4", False, id="one address"),
        pytest.param("board.local", False, id="a name"),
    ],
)
def test_another_address_needs_a_token_or_the_word(
    host: str, closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    assert ServerConfig(host=host, insecure=True).loopback == closed
    if closed:
        assert ServerConfig(host=host).token is None
        return
    with pytest.raises(ConfigError, match=r"give --token-file FILE .* or say --insecure"):
        ServerConfig(host=host)
    token = tmp_path / "token"
    token.write_text("0123456789abcdef\n")
    assert ServerConfig(host=host, token_file=str(token)).token == "0123456789abcdef"
    monkeypatch.setenv(TOKEN_VARIABLE, "fedcba9876543210")
    assert ServerConfig(host=host).token == "fedcba9876543210"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        pytest.param({"token_file": "/nonexistent/x"}, "cannot be read", id="no token file"),
        pytest.param({"tls_cert": "x"}, "belong together", id="no key"),
        pytest.param(
            {"tls_cert": "/nonexistent", "tls_key": "/x"}, "cannot be used", id="no files"
        ),
        pytest.param({"max_connections": 1}, "--max-connections is 1", id="too few"),
        pytest.param({"preview_fps": 0}, "--preview-fps is 0", id="no pictures"),
    ],
)
def test_a_server_that_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ServerConfig(**values)


def test_a_short_token_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("short")
    with pytest.raises(ConfigError, match="5 characters, expected 16 or more"):
        ServerConfig(token_file=str(tmp_path / "t"))


def options(*words: str) -> ServeOptions:
    return OptionParser(prog="edge serve").parse_into(ServeOptions, words, flags_in_file=False)


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps(WHOLE))
    config = read(options("--config", str(path), "--port", "0", "--model", "other"))
    assert (config.server.port, config.server.preview_fps) == (0, 5.0)
    assert (config.engine.model, config.engine.num_threads) == ("other", 2)


def test_one_camera_without_a_file() -> None:
    config = read(options("--source", "0", "--conf", "0.3"))
    assert config.cameras["camera"].conf == 0.3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param((), "neither is given", id="nothing"),
        pytest.param(("--source", "0", "--config", "x"), "both are given", id="both"),
        pytest.param(("--sources", "0"), "Did you mean '--source'", id="misspelt"),
    ],
)
def test_wrong_flags(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        options(*words)
