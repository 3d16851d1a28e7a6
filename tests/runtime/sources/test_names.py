"""Secrets of addresses are never shown; names of any bytes are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.errors import CaptureError, ConfigError
from runtime.sources import parse_uri
from runtime.sources.names import redact, shown_name, text_for_opencv

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
]


@pytest.mark.parametrize(("address", "shown"), SECRETS, ids=[shown for _, shown in SECRETS])
def test_secrets_are_hidden_wherever_the_address_stands(address: str, shown: str) -> None:
    assert redact(address) == shown
    assert redact(f"cannot open '{address}': timed out") == f"cannot open '{shown}': timed out"
    assert "s3cret" not in _said_of(address)


def _said_of(address: str) -> str:
    try:
        return parse_uri(address).shown
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize("address", ["rtsp://cam/1", "rtsp://cam:554/1", "http://h/x?channel=1"])
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
