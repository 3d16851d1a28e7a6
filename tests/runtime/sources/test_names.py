"""Secrets of addresses are never shown; names of any bytes are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from runtime.errors import CaptureError, ConfigError
from runtime.options import guarded
from runtime.secrets import redact
from runtime.sources import parse_uri
from runtime.sources.names import shown_name, text_for_opencv

SECRETS = [
    ("rtsp://me:s3cret@cam/1", "rtsp://me:***@cam/1"),
    ("rtsp://admin:pa#s3cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://admin:pa/s3cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://admin:pa?s3cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://admin:[s3cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://admin:a@s3cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://h/x?user=admin&password=s3cret", "rtsp://h/x?user=admin&password=***"),
    ("http://h/x?auth_token=s3cret&channel=1", "http://h/x?auth_token=***&channel=1"),
    ("RTSP://me:s3cret@[::1]:554/1", "RTSP://me:***@[::1]:554/1"),
    ("csi://0?password=s3cret", "csi://0?password=***"),
    ("rtsp://admin:s3 cret@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://admin:s3cret\"'<x@h/x", "rtsp://admin:***@h/x"),
    ("rtsp://s3cret@h/x", "rtsp://***@h/x"),
    ("csi://s3cret@0", "csi://***@0"),
    ("rtsp:/admin:s3cret@h/x", "rtsp:/admin:***@h/x"),
    ("admin:s3cret@host/x", "admin:***@host/x"),
    ("http://h/x?loginuse=a&loginpas=s3cret", "http://h/x?loginuse=a&loginpas=***"),
    ("http://h/x?pass%77ord=s3cret", "http://h/x?pass%77ord=***"),
    ("http://h/x?token%3Ds3cret", "http://h/x?token%3D***"),
    ("http://h/x?access_code=s3cret&a=1", "http://h/x?access_code=***&a=1"),
    ("rtsp://h/user=admin_password=s3cret_channel=1", "rtsp://h/user=admin_password=***"),
]


@pytest.mark.parametrize(("address", "shown"), SECRETS, ids=[shown for _, shown in SECRETS])
def test_secrets_are_hidden_wherever_the_address_stands(address: str, shown: str) -> None:
    assert redact(address) == shown
    assert redact(f"cannot open '{address}': timed out") == f"cannot open '{shown}': timed out"
    assert "s3cret" not in _said_of(address)


def test_text_without_an_address_stays() -> None:
    for text in ("12:30:05 clip.mp4: 3 of 4", "a@b.example", "xyxy=[1, 2]", "C:/films/a.mp4"):
        assert redact(text) == text


def test_no_traceback_shows_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    def fails(_: Sequence[str]) -> int:
        try:
            raise OSError("rtsp://admin:s3cret@h/x: refused")
        except OSError as error:
            raise CaptureError("rtsp://h/x?token=s3cret: nobody serves it") from error

    assert guarded(fails, ["--verbose"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "s3cret" not in shown


def _said_of(address: str) -> str:
    try:
        return parse_uri(address).shown
    except (CaptureError, ConfigError) as error:
        return str(error)


@pytest.mark.parametrize(
    "address",
    ["rtsp://cam/1", "rtsp://cam:554/1", "http://h/x?channel=1", "http://h/x?encoder=2"],
)
def test_what_holds_no_secret_stays(address: str) -> None:
    assert redact(address) == address
    assert parse_uri(address).shown == address


@pytest.mark.parametrize("password", ["pa#s", "pa?s", "[s"])
def test_a_password_that_needs_encoding_is_refused_with_the_way_out(password: str) -> None:
    with pytest.raises(ConfigError, match=r"percent-encoded: # as %23") as caught:
        parse_uri(f"rtsp://admin:{password}3cret@h/x")
    assert "3cret" not in str(caught.value)


def test_names_of_no_encoding_are_shown_and_refused_by_opencv() -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    assert shown_name(name) == "caf\\xe9.mp4"
    with pytest.raises(CaptureError, match="the name is no UTF-8 text, which OpenCV needs"):
        text_for_opencv(Path(name))
    assert text_for_opencv(Path("a:b.mp4")) == str(Path.cwd() / "a:b.mp4")
