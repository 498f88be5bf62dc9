"""Tags in MP4, QuickTime and Matroska: how ffmpeg is told them, and reading them without it.

Sources: Apple, QuickTime File Format, Metadata; ISO/IEC 14496-12; RFC 8794 (EBML); RFC 9559
(Matroska), 5.1.8; ffmpeg-formats, Metadata.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

from .tags import Source

_ITUNES = {
    b"\xa9cmt": "comment", b"\xa9nam": "title", b"\xa9too": "encoder", b"desc": "description",
}  # fmt: skip
_TEXT = 1
_SEGMENT, _CLUSTER, _TAGS, _TAG = 0x18538067, 0x1F43B675, 0x1254C367, 0x7373
_TARGETS, _TRACK, _SIMPLE, _NAME, _STRING = 0x63C0, 0x63C5, 0x67C8, 0x45A3, 0x4487


def ffmetadata(tags: Mapping[str, str]) -> str:
    r"""Tags as ffmpeg reads them from a file; a command line has no room for long ones.

    >>> ffmetadata({"a": "1=2\n"})
    ';FFMETADATA1\na=1\\=2\\\n\n'
    """
    result = ";FFMETADATA1\n"
    for name, text in tags.items():
        # After a backslash, even an escaped one, ffmpeg takes no new line for the end.
        end = "\0\n" if text.endswith("\\") else "\n"
        result += f"{_escape(name)}={_escape(text)}{end}"
    return result


def _escape(text: str) -> str:
    return re.sub(r"([=;#\\\r\n])", r"\\\1", text)


def read_iso(source: Source) -> dict[str, str]:
    """Tags of an MP4 or QuickTime film: in moov/udta/meta or moov/meta."""
    tags: dict[str, str] = {}
    for kind, start, end in _boxes(source, 0, source.size):
        if kind != b"moov":
            continue
        for inner, inner_start, inner_end in _boxes(source, start, end):
            if inner == b"meta":
                tags |= _meta(source, inner_start, inner_end)
            elif inner == b"udta":
                for last, last_start, last_end in _boxes(source, inner_start, inner_end):
                    if last == b"meta":
                        tags |= _meta(source, last_start, last_end)
    return tags


def _boxes(source: Source, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start and end of the contents) of every box from start to end."""
    while start + 8 <= end:
        source.go(start)
        size, kind = struct.unpack(">I4s", source.take(8))
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", source.take(8))[0], 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            raise source.broken(f"box {kind!r} of {size} bytes, where {end - start} are left")
        yield kind, start + header, start + size
        start += size


def _meta(source: Source, start: int, end: int) -> dict[str, str]:
    source.go(start)
    if end - start >= 8 and source.take(8)[4:] != b"hdlr":
        start += 4  # MP4 has a version here, QuickTime has not
    names: list[str] = []
    tags: dict[str, str] = {}
    for kind, inner, inner_end in _boxes(source, start, end):
        if kind == b"keys":
            source.go(inner + 8)  # a version and the number of keys
            names = [
                _take(source, key_start, key_end)
                for _, key_start, key_end in _boxes(source, inner + 8, inner_end)
            ]
        elif kind == b"ilst":
            for item, item_start, item_end in _boxes(source, inner, inner_end):
                number = int.from_bytes(item, "big")
                name = names[number - 1] if 1 <= number <= len(names) else _ITUNES.get(item)
                for part, part_start, part_end in _boxes(source, item_start, item_end):
                    if name and part == b"data" and part_end - part_start >= 8:
                        source.go(part_start)
                        if struct.unpack(">I", source.take(4))[0] == _TEXT:
                            tags[name] = _take(source, part_start + 8, part_end)
    return tags


def _take(source: Source, start: int, end: int) -> str:
    source.go(start)
    return source.take(end - start).decode("utf-8", "replace")


def read_matroska(source: Source) -> dict[str, str]:
    """Tags of a Matroska or WebM film as a whole; Matroska has no small letters, we no large."""
    tags: dict[str, str] = {}
    for kind, start, end in _elements(source, 0, source.size):
        if kind != _SEGMENT:
            continue
        for inner, inner_start, inner_end in _elements(source, start, end):
            if inner != _TAGS:
                continue
            for tag, tag_start, tag_end in _elements(source, inner_start, inner_end):
                if tag == _TAG:
                    tags |= _matroska_tag(source, tag_start, tag_end)
    return tags


def _matroska_tag(source: Source, start: int, end: int) -> dict[str, str]:
    tags: dict[str, str] = {}
    for kind, inner, inner_end in _elements(source, start, end):
        if kind == _TARGETS:
            if any(target == _TRACK for target, *_ in _elements(source, inner, inner_end)):
                return {}
        elif kind == _SIMPLE:
            pair = {
                part: _take(source, part_start, part_end).rstrip("\0")
                for part, part_start, part_end in _elements(source, inner, inner_end)
                if part in (_NAME, _STRING)
            }
            if _NAME in pair and _STRING in pair:
                tags[pair[_NAME].lower()] = pair[_STRING]
    return tags


def _elements(source: Source, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(identifier, start and end of the contents) of every EBML element from start to end."""
    while start < end:
        source.go(start)
        kind, _ = _number(source, 4)
        size, unknown = _number(source, 8, keep_mark=False)
        inner = source.place
        if unknown:
            if kind == _CLUSTER:
                return  # a stream that was never closed; where it ends only a decoder can say
            size = end - inner
        if inner + size > end:
            raise source.broken(f"element {kind:X} of {size} bytes, where {end - inner} are left")
        yield kind, inner, inner + size
        start = inner + size


def _number(source: Source, most: int, keep_mark: bool = True) -> tuple[int, bool]:
    """A number of variable length, and whether all its bits are set, which means unknown."""
    first = source.take(1)[0]
    length = 9 - first.bit_length()
    if length > most:
        raise source.broken(f"byte {first:#04x} begins no number")
    whole = int.from_bytes(bytes([first]) + source.take(length - 1), "big")
    largest = (1 << 7 * length) - 1
    bare = whole & largest
    return (whole if keep_mark else bare), bare == largest
