"""`--shard I/N`: which share of a job a run does, so that several processes do it together."""

from __future__ import annotations

from runtime.errors import ConfigError


def parse_shard(text: str) -> tuple[int, int]:
    """Turn I/N into the share from 0 and the number of shares.

    Raises:
        ConfigError: It is not of that form.
    """
    left, slash, right = text.partition("/")
    whole = all(part.isascii() and part.isdecimal() for part in (left, right))
    if not (slash and whole and 1 <= int(left) <= int(right)):
        raise ConfigError(f"--shard is {text!r}, expected I/N with 1 <= I <= N, such as 1/4")
    return int(left) - 1, int(right)
