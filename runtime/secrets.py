"""Hide the secrets of addresses in any text that is printed, logged or sent."""

from __future__ import annotations

import re
from urllib.parse import unquote

HIDDEN = "***"

# A password may hold what ends other words, so a login goes on to the last @ of the line.
_ADDRESS = re.compile(
    r"\b(?P<scheme>[a-z][a-z0-9+.\-]*):(?P<slashes>/{1,3})"
    r"(?P<rest>(?:[^\s/:@]*:[^\n]*@)?[^\s'\"<>]+)",
    re.IGNORECASE,
)
# An address whose scheme was left out.
_LOGIN = re.compile(r"(?<![\w/:.\-%])(?P<user>[\w.\-%]+):(?!/)[^\s@'\"<>]+@(?=[\w\[])")
_NAME = re.compile(r"(?P<name>[\w.\-%]+?)(?:=|%3D)", re.IGNORECASE)
_VALUE = re.compile(r"[^&;\s'\"<>]+")
_IN_NAMES = ("pass", "pwd", "secret", "token", "key", "auth", "sig", "credential")
_NAMES = frozenset(("pas", "loginpas", "psw", "pw", "code", "accesscode", "session"))


def redact(text: str) -> str:
    """Return a text with the secrets of the addresses in it hidden.

    A password is what lies between `user:` and the last `@`, also where it has characters that
    should have been percent-encoded; a user alone may be a key; and so is the value of a parameter
    whose name says so.
    """
    return _LOGIN.sub(rf"\g<user>:{HIDDEN}@", _ADDRESS.sub(_address, text))


def _address(match: re.Match[str]) -> str:
    head, at, tail = match["rest"].rpartition("@")
    user, colon, _ = head.partition(":")
    login = f"{user}:{HIDDEN}@" if colon else f"{HIDDEN}@" if at else ""
    return f"{match['scheme']}:{match['slashes']}{login}{_parameters(tail)}"


def _parameters(rest: str) -> str:
    """Hide the values of parameters that are secrets, wherever in the path they stand."""
    shown, place = "", 0
    while (found := _NAME.search(rest, place)) is not None:
        shown, place = shown + rest[place : found.end()], found.end()
        value = _VALUE.match(rest, place)
        if value is not None and _is_secret(found["name"]):
            shown, place = shown + HIDDEN, value.end()
    return shown + rest[place:]


def _is_secret(name: str) -> bool:
    plain = unquote(name).lower()
    parts = re.split(r"[^a-z0-9]+", plain)
    return any(word in plain for word in _IN_NAMES) or any(part in _NAMES for part in parts)
