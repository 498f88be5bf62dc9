"""Tags in Ogg: the comments in the second packet of a Vorbis or Opus stream.

Sources: RFC 3533 (pages, lacing, checksum); Xiph.Org, Vorbis I specification, 4.2.1, 5 and A.2;
RFC 7845, 5.2 (Opus).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from .rewriting import rewritten
from .tags import MOST_BYTES, Source
from .vorbis_comments import comment_block, read_comments, vendor_of

_HEAD = struct.Struct("<4sBBqIIIB")
_CONTINUED, _FIRST = 1, 2
_NOTHING_ENDS = -1
_MOST_SEGMENTS = 255
_PER_PAGE = 256
"""bytes that a page counts for beside its own, since empty ones cost time as well"""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_COMMENTS = {b"\x01vorbis": b"\x03vorbis", b"OpusHead": b"OpusTags"}
_VORBIS_HEADERS = 3


@dataclass(frozen=True)
class Page:
    """A page of an Ogg file.

    Attributes:
        flags: 1 continues a packet, 2 is the first of its stream, 4 the last.
        granule: the sample at which the last packet that ends here ends; -1 where none does.
        serial: which stream it belongs to.
        number: in the stream, from 0.
        lacing: the lengths of its segments; one below 255 ends a packet.
        body: all segments.
    """

    flags: int
    granule: int
    serial: int
    number: int
    lacing: bytes
    body: bytes

    def encoded(self) -> bytes:
        """The page with its checksum."""
        bare = self._with(0)
        return self._with(_checksum(bare))

    def _with(self, checksum: int) -> bytes:
        numbers = (self.flags, self.granule, self.serial, self.number, checksum)
        head = _HEAD.pack(b"OggS", 0, *numbers, len(self.lacing))
        return head + self.lacing + self.body


def _checksum(data: bytes) -> int:
    """CRC-32 with the highest bit first, from 0: zlib's, seen in a mirror (RFC 3533, 6)."""
    mirrored = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def _page(source: Source) -> Page:
    """The page at which the source stands.

    Raises:
        DataError: there is none, or it does not match its checksum.
    """
    mark, version, flags, granule, serial, number, checksum, count = _HEAD.unpack(
        source.take(_HEAD.size)
    )
    if mark != b"OggS" or version != 0:
        raise source.broken("a page does not begin where the one before it ends")
    lacing = source.take(count)
    page = Page(flags, granule, serial, number, lacing, source.take(sum(lacing)))
    if page.encoded()[22:26] != checksum.to_bytes(4, "little"):
        raise source.broken("a page does not match its checksum")
    return page


def _packets(source: Source) -> Iterator[bytes]:
    """The packets of the stream that begins the file, for as long as they are asked for."""
    serial: int | None = None
    parts: list[bytes] = []
    while True:
        page = _page(source)
        source.spend(_PER_PAGE)
        serial = page.serial if serial is None else serial
        if page.serial != serial:
            continue
        place = 0
        for length in page.lacing:
            parts.append(page.body[place : place + length])
            place += length
            if length < 255:
                yield b"".join(parts)
                parts = []


def read_ogg(source: Source) -> dict[str, str]:
    """Comments of an Ogg file with Vorbis or Opus; their names come back in lower case."""
    packets = _packets(source)
    mark = _COMMENTS.get(_kind(next(packets)), b"")
    comments = next(packets) if mark else b""
    if not mark:
        return {}
    if not comments.startswith(mark):
        raise source.broken("its second packet holds no comments")
    return read_comments(comments[len(mark) :], source.broken)


def _kind(packet: bytes) -> bytes:
    return packet[:8] if packet.startswith(b"Opus") else packet[:7]


def tag_ogg(path: Path, tags: Mapping[str, str]) -> None:
    """Put tags into an Ogg Vorbis file, in place of those it has.

    The number of the stream, which encoders draw by chance, is made out of the contents, so that
    the same sound and tags are the same bytes.

    Raises:
        OutputError: this is no Ogg with one Vorbis stream, or a name cannot be kept.
        OSError: from the disk.
    """
    with rewritten(path) as new, Source(path) as source:
        stream = _page(source).serial
        source.go(0)
        packets = _packets(source)
        headers = [next(packets) for _ in range(_VORBIS_HEADERS)]
        mark = _COMMENTS[b"\x01vorbis"]
        if _kind(headers[0]) != b"\x01vorbis" or not headers[1].startswith(mark):
            raise source.broken("it holds no Vorbis")
        vendor = vendor_of(headers[1][len(mark) :], source.broken)
        headers[1] = mark + comment_block(tags, vendor) + b"\x01"
        serial = zlib.crc32(b"".join(headers) + struct.pack("<Q", source.size))
        written = 0
        # The identification has a page of its own, and the sound begins on a new one (A.2).
        for page in (*_pages(headers[:1], serial, 0), *_pages(headers[1:], serial, 1)):
            new.write(page.encoded())
            written += 1
        place, size = source.place, source.size
        while place < size:
            # A long song is more than metadata may be: each page has the whole allowance.
            with Source(path) as rest:
                rest.go(place)
                while place < size and rest.left > MOST_BYTES // 2:
                    page = _page(rest)
                    if page.serial != stream or page.flags & _FIRST:
                        raise rest.broken("it holds more than one stream")
                    new.write(replace(page, serial=serial, number=written).encoded())
                    written += 1
                    place = rest.place


def _pages(packets: list[bytes], serial: int, number: int) -> Iterator[Page]:
    """Header packets on as few pages as hold them; all are at sample 0."""
    lacing, body = b"", b"".join(packets)
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])
    place = 0
    flags = 0 if number else _FIRST
    for start in range(0, len(lacing), _MOST_SEGMENTS):
        part = lacing[start : start + _MOST_SEGMENTS]
        length = sum(part)
        granule = 0 if any(each < 255 for each in part) else _NOTHING_ENDS
        yield Page(flags, granule, serial, number, part, body[place : place + length])
        flags = _CONTINUED if part[-1] == 255 else 0
        place += length
        number += 1
