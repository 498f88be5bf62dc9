"""Vorbis comments, as FLAC and Ogg hold them: NAME=text, and who encoded.

Source: Xiph.Org, Vorbis I specification, section 5; RFC 9639, 8.6.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

from ..errors import DataError, OutputError


def comment_block(tags: Mapping[str, str], vendor: bytes) -> bytes:
    """Tags as one block, without the framing bit that Vorbis puts after it.

    Args:
        tags: name -> text.
        vendor: the name of the encoder.

    Raises:
        OutputError: a name that Vorbis comments cannot hold.
    """
    for name in tags:
        if not name.isascii() or "=" in name or "~" in name:
            raise OutputError(f"metadata key {name!r}: FLAC and OGG want ASCII without '=' and '~'")
    pairs = [f"{name}={text}".encode() for name, text in tags.items()]
    parts = [_counted(vendor), struct.pack("<I", len(pairs)), *map(_counted, pairs)]
    return b"".join(parts)


def _counted(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def read_comments(block: bytes, broken: Callable[[str], DataError]) -> dict[str, str]:
    """The tags in a block; their names know no case, and come back in lower case.

    Args:
        block: vendor and comments, and perhaps more after them.
        broken: makes the error of a file out of what is wrong with it.

    Raises:
        DataError: the block ends before what it announces.
    """
    tags: dict[str, str] = {}
    place = 4 + _length(block, 0, broken)
    left = _number(block, place, broken)
    place += 4
    for _ in range(left):
        size = _length(block, place, broken)
        text = block[place + 4 : place + 4 + size].decode("utf-8", "replace")
        name, equals, text = text.partition("=")
        if equals:
            tags[name.lower()] = text
        place += 4 + size
    return tags


def vendor_of(block: bytes, broken: Callable[[str], DataError]) -> bytes:
    """Who encoded.

    Raises:
        DataError: as ``read_comments``.
    """
    return block[4 : 4 + _length(block, 0, broken)]


def _length(block: bytes, place: int, broken: Callable[[str], DataError]) -> int:
    size = _number(block, place, broken)
    if place + 4 + size > len(block):
        raise broken("a comment is longer than its block")
    return size


def _number(block: bytes, place: int, broken: Callable[[str], DataError]) -> int:
    if place + 4 > len(block):
        raise broken("there are fewer comments than announced")
    return int.from_bytes(block[place : place + 4], "little")
