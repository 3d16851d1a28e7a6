"""Say why a file is not a video, from its first bytes and its boxes."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD_BYTES = 4096
MAX_BOXES = 1000
ISO_SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".3gp"})


def why_not_a_video(path: Path) -> str:
    """Return one clause that explains why a reader refused a file, and what to do.

    Args:
        path: A file that exists, is not empty, and could not be opened as a video.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            boxes = _top_boxes(path) if head[4:8] == b"ftyp" else None
    except OSError as error:
        return f"cannot be read ({error.strerror}); check its permissions"
    if _is_text(head):
        return "it holds text, not a video"
    if boxes is not None and "moov" not in boxes:
        return "it was cut off before its index (no 'moov' box); copy or record it again"
    if boxes is None and path.suffix.lower() in ISO_SUFFIXES:
        return f"it is named {path.suffix} but does not begin as such a file does"
    return "its format or codec is not known to this OpenCV; convert it to H.264 in MP4"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        # The last character may be cut by the block's end.
        if error.start < len(head) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\r\n\t\f" for character in text)


def _top_boxes(path: Path) -> set[str]:
    """Return the names of an ISO media file's top boxes, as far as they can be walked."""
    names: set[str] = set()
    size = path.stat().st_size
    with path.open("rb") as file:
        offset = 0
        for _ in range(MAX_BOXES):
            file.seek(offset)
            header = file.read(16)
            if len(header) < 8:
                break
            length, name = struct.unpack(">I4s", header[:8])
            names.add(name.decode("latin-1"))
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            if length < 8 or offset + length > size:
                break
            offset += length
    return names
