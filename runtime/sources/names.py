"""Names of files and addresses: how they are shown, and how they reach C++."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from runtime.errors import CaptureError


def shown_name(path: Path | str) -> str:
    """Return a name as text that can be printed: bytes of no encoding become escapes."""
    text = str(path)
    raw = text.encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "backslashreplace")


def text_for_opencv(path: Path) -> str:
    """Return a path as OpenCV, and other C++, takes it: absolute, so no protocol begins it.

    Raises:
        CaptureError: The name's bytes are no UTF-8 text: a `str` cannot carry them to C++.
    """
    text = str(path.absolute())
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise CaptureError(
            f"{shown_name(path)}: the name is no UTF-8 text, which OpenCV needs; rename it"
        ) from None
    return text


def badly_encoded(address: str) -> bool:
    """Tell whether a password in an address has characters that end the host's part early."""
    _, _, rest = address.partition("://")
    try:
        parts = urlsplit(address)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        return "@" in rest
    return "@" in rest and "@" not in parts.netloc and not port_is_a_number
