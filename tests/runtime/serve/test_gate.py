"""Tokens, sessions, and the limit on guesses, by a clock that the test moves."""

from __future__ import annotations

import pytest

from runtime.serve.gate import (
    GUESS_EVERY_S,
    GUESSES,
    MAX_ADDRESSES,
    SESSION_S,
    TRUSTED_GUESSES,
    Gate,
    Verdict,
)

TOKEN = "0123456789abcdef"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(clock: Clock) -> Gate:
    return Gate(TOKEN, clock)


@pytest.mark.parametrize(
    ("authorization", "verdict"),
    [
        pytest.param(f"Bearer {TOKEN}", Verdict.IN, id="the token"),
        pytest.param(f"bearer  {TOKEN} ", Verdict.IN, id="with spaces"),
        pytest.param(None, Verdict.MISSING, id="none"),
        pytest.param("Bearer", Verdict.WRONG, id="empty"),
        pytest.param(f"Bearer {TOKEN[:-1]}", Verdict.WRONG, id="a part"),
        pytest.param(f"Bearer {TOKEN}x", Verdict.WRONG, id="more"),
        pytest.param(f"Basic {TOKEN}", Verdict.WRONG, id="another scheme"),
        pytest.param("Bearer \u00e9\udcff", Verdict.WRONG, id="no ASCII"),
    ],
)
def test_what_is_shown(gate: Gate, authorization: str | None, verdict: Verdict) -> None:
    assert gate.check(authorization, None, "10.0.0.1") is verdict


def test_without_a_token_everybody_is_in() -> None:
    assert Gate(None).check(None, None, "10.0.0.1") is Verdict.IN


def test_guesses_come_back_one_by_one(gate: Gate, clock: Clock) -> None:
    for _ in range(GUESSES):
        assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.WRONG
    assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.1") is Verdict.LIMITED
    assert gate.login(TOKEN, "10.0.0.1") == (Verdict.LIMITED, "")
    assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.2") is Verdict.IN
    clock.now += GUESS_EVERY_S
    assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.WRONG
    assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.LIMITED
    clock.now += 2 * GUESS_EVERY_S
    assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.1") is Verdict.IN


def test_an_owner_behind_the_same_address_is_not_shut_out_soon(gate: Gate) -> None:
    assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.1") is Verdict.IN
    for _ in range(TRUSTED_GUESSES):
        assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.1") is Verdict.IN
        assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.WRONG
    assert gate.check(f"Bearer {TOKEN}", None, "10.0.0.1") is Verdict.LIMITED


def test_a_network_of_ipv6_is_one_client(gate: Gate) -> None:
    for i in range(GUESSES):
        gate.check("Bearer x", None, f"2001:db8::{i}")
    assert gate.check("Bearer x", None, "2001:db8::ffff") is Verdict.LIMITED
    assert gate.check("Bearer x", None, "2001:db8:0:1::1") is Verdict.WRONG


def test_memory_of_addresses_is_bounded(gate: Gate) -> None:
    for _ in range(GUESSES):
        gate.check("Bearer x", None, "10.0.0.1")
    for i in range(MAX_ADDRESSES):
        gate.check("Bearer x", None, f"11.{i >> 16}.{i >> 8 & 255}.{i & 255}")
    assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.WRONG  # long forgotten


def test_a_session_lasts_a_day_or_until_it_is_ended(gate: Gate, clock: Clock) -> None:
    verdict, session = gate.login(TOKEN, "10.0.0.1")
    assert verdict is Verdict.IN
    cookies = f"other=1; edge_session={session}"
    for _ in range(TRUSTED_GUESSES):
        gate.check("Bearer x", None, "10.0.0.1")
    assert gate.check("Bearer x", None, "10.0.0.1") is Verdict.LIMITED
    assert gate.check(None, cookies, "10.0.0.1") is Verdict.IN  # the limit is on guesses
    clock.now += SESSION_S + 1
    assert gate.check(None, cookies, "10.0.0.1") is Verdict.MISSING
    _, another = gate.login(TOKEN, "10.0.0.3")
    gate.logout(f"edge_session={another}")
    assert gate.check(None, f"edge_session={another}", "10.0.0.3") is Verdict.MISSING


@pytest.mark.parametrize(
    "cookies", ["", "edge_session", "edge_session=;", "a\x00=b", "=", "x" * 99]
)
def test_strange_cookies_are_nobody(gate: Gate, cookies: str) -> None:
    assert gate.check(None, cookies, "10.0.0.1") is Verdict.MISSING
