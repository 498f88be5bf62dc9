"""EXIF of one entry, the user comment, where web pages and AUTOMATIC1111 look for a prompt.

Source: CIPA DC-008-2019 (Exif 2.32), 4.6.5, table 9; TIFF 6.0, section 2.
"""

from __future__ import annotations

import struct

_EXIF_FOLDER = 0x8769
_USER_COMMENT = 0x9286
_LONG, _UNDEFINED = 4, 7
_UNICODE = b"UNICODE\0"
PREFIX = b"Exif\0\0"


def exif_of(comment: str) -> bytes:
    """A TIFF structure that holds a user comment, as UTF-16 and with the big end first."""
    text = _UNICODE + comment.encode("utf-16-be")
    header = struct.pack(">2sHI", b"MM", 42, 8)
    main = struct.pack(">HHHIII", 1, _EXIF_FOLDER, _LONG, 1, 26, 0)
    inner = struct.pack(">HHHIII", 1, _USER_COMMENT, _UNDEFINED, len(text), 44, 0)
    return header + main + inner + text


def comment_in(exif: bytes) -> str | None:
    """The user comment of EXIF data; None where there is none, or the data is broken."""
    exif = exif.removeprefix(PREFIX)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        inner = _entry(exif, order, start, _EXIF_FOLDER)
        found = inner and _entry(exif, order, inner[1], _USER_COMMENT)
    except struct.error:
        return None
    if not found:
        return None
    count, place = found
    return _text(exif[place : place + count])


def _entry(exif: bytes, order: str, start: int, wanted: int) -> tuple[int, int] | None:
    """(count, value or place of the value) of an entry in the folder at ``start``."""
    (entries,) = struct.unpack_from(order + "H", exif, start)
    for number in range(entries):
        tag, _, count, place = struct.unpack_from(order + "HHII", exif, start + 2 + 12 * number)
        if tag == wanted:
            return count, place
    return None


def _text(data: bytes) -> str | None:
    code, text = data[:8], data[8:]
    if code == _UNICODE:
        # The standard leaves the order of the bytes open; of most text, one half is zeros.
        even, odd = text[::2].count(0), text[1::2].count(0)
        found = text.decode("utf-16-le" if odd > even else "utf-16-be", "replace")
    else:
        found = text.decode("utf-8", "replace")
    return found.strip("\0") or None
