"""Who may come in: one token, shown as a bearer or exchanged for a cookie; guesses are limited."""

from __future__ import annotations

import enum
import hmac
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import TypeVar

T = TypeVar("T")

COOKIE = "edge_session"
SESSION_S = 24 * 3600.0
MAX_SESSIONS = 256
# So many wrong tokens at once, and then one more each so many seconds, for each address.
GUESSES, GUESS_EVERY_S = 10, 6.0
# Where the right one was shown before, others behind the same address (a proxy, a router) must not
# shut its owner out so easily; a token of 16 characters is not guessed by this many either.
TRUSTED_GUESSES = 20_000
MAX_ADDRESSES = 10_000


class Verdict(enum.Enum):
    """What is known of a client."""

    IN = "in"
    MISSING = "missing"
    WRONG = "wrong"
    LIMITED = "limited"


class Limiter:
    """Counts wrong tokens by address, in bounded memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nobody known."""
        self._clock = clock
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._trusted: OrderedDict[str, None] = OrderedDict()

    def full(self, address: str) -> bool:
        """Tell whether an address has to wait."""
        most = TRUSTED_GUESSES if _network(address) in self._trusted else GUESSES
        return self._count(address) > most - 1

    def trust(self, address: str) -> None:
        """Note that the right token came from there."""
        _remember(self._trusted, _network(address), None)

    def add(self, address: str) -> None:
        """Count a wrong token."""
        count = self._count(address) + 1
        _remember(self._spent, _network(address), (count, self._clock()))

    def _count(self, address: str) -> float:
        count, at = self._spent.get(_network(address), (0.0, 0.0))
        return max(0.0, count - (self._clock() - at) / GUESS_EVERY_S)


class Gate:
    """Checks tokens and sessions."""

    def __init__(
        self, token: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        """Take the token; None lets everybody in."""
        self._token = None if token is None else token.encode("ascii")
        self._clock = clock
        self._limiter = Limiter(clock)
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self.refused = 0

    @property
    def open(self) -> bool:
        """Tell whether no token is needed."""
        return self._token is None

    def check(self, authorization: str | None, cookies: str | None, address: str) -> Verdict:
        """Judge a request by its headers `Authorization` and `Cookie`."""
        if self._token is None or self._session(cookies):
            return Verdict.IN
        if authorization is None:
            self.refused += 1
            return Verdict.MISSING
        scheme, _, shown = authorization.partition(" ")
        return self._compare(shown.strip() if scheme.lower() == "bearer" else "", address)

    def login(self, shown: str, address: str) -> tuple[Verdict, str]:
        """Compare a token and return a new session where it is right."""
        verdict = self._compare(shown, address)
        if verdict is not Verdict.IN:
            return verdict, ""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = self._clock() + SESSION_S
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return verdict, session

    def logout(self, cookies: str | None) -> None:
        """End a session."""
        self._sessions.pop(_cookie(cookies), None)

    def _compare(self, shown: str, address: str) -> Verdict:
        # A limited client is not even told that a guess was right: it would go on guessing.
        if self._limiter.full(address):
            self.refused += 1
            return Verdict.LIMITED
        given = shown.encode("utf-8", "surrogateescape")
        if self._token is not None and hmac.compare_digest(given, self._token):
            self._limiter.trust(address)
            return Verdict.IN
        self._limiter.add(address)
        self.refused += 1
        return Verdict.WRONG

    def _session(self, cookies: str | None) -> bool:
        session = _cookie(cookies)
        until = self._sessions.get(session)
        if until is None:
            return False
        if until < self._clock():
            del self._sessions[session]
            return False
        return True


def _cookie(cookies: str | None) -> str:
    try:
        morsel = SimpleCookie(cookies or "").get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


def _remember(known: OrderedDict[str, T], key: str, value: T) -> None:
    """Put a value in as the newest, and forget the oldest of too many."""
    known.pop(key, None)
    known[key] = value
    if len(known) > MAX_ADDRESSES:
        known.popitem(last=False)


def _network(address: str) -> str:
    """Return what counts as one client: of IPv6 the network that a provider gives out."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    return str(ip.ipv4_mapped or ipaddress.ip_network((ip, 64), strict=False))
