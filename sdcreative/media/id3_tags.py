"""Tags in MP3: ID3v2 before the first frame; 2.4 is written, 2.3 is read as well.

Sources: M. Nilsson, ID3 tag version 2.4.0, Main Structure and Native Frames; ID3 tag version 2.3.0.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Mapping
from pathlib import Path

from ..errors import OutputError
from .rewriting import rewritten
from .tags import Source

_HEAD = struct.Struct(">3sBBB4s")
_FRAME = struct.Struct(">4s4sH")
_TEXT_FRAMES = {"title": b"TIT2", "encoder": b"TSSE"}
_NAMES = {frame: name for name, frame in _TEXT_FRAMES.items()}
_READ = (*_NAMES, b"COMM", b"TXXX")
_UTF8 = b"\x03"
_ENCODINGS = ("latin-1", "utf-16", "utf-16-be", "utf-8")
_LARGEST = 2**28 - 1
_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
# Flags of a frame, version 2.4 and 2.3: grouped, compressed, encrypted.
_SEALED = {4: 0x4C, 3: 0xE0}
_FRAME_UNSYNCHRONISED, _FRAME_COUNTED = 0x02, 0x01


def tag_mp3(path: Path, tags: Mapping[str, str]) -> None:
    """Put tags into an MP3 file, in place of those before its first frame.

    ``title``, ``encoder`` and ``comment`` go where players look for them, others into texts of
    their own name.

    Raises:
        OutputError: the tags are too large.
        OSError: from the disk.
    """
    frames = b"".join(_frame(name, text) for name, text in tags.items())
    if len(frames) > _LARGEST:
        raise OutputError(f"{path}: {len(frames):,} bytes of metadata; MP3 holds 256 MB")
    with rewritten(path) as new, Source(path) as source, path.open("rb") as old:
        if frames:
            new.write(_HEAD.pack(b"ID3", 4, 0, 0, _safe(len(frames))) + frames)
        old.seek(_tag_end(source))
        shutil.copyfileobj(old, new)


def _frame(name: str, text: str) -> bytes:
    value = text.encode()
    if name in _TEXT_FRAMES:
        kind = _TEXT_FRAMES[name]
    elif name == "comment":
        kind, value = b"COMM", b"und\0" + value
    else:
        kind, value = b"TXXX", name.encode() + b"\0" + value
    return kind + _safe(len(value) + 1) + b"\0\0" + _UTF8 + value


def _safe(number: int) -> bytes:
    """28 bits, 7 in each byte, so that nothing looks like the beginning of a frame (2.4, 6.2)."""
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _unsafe(data: bytes) -> int:
    number = 0
    for byte in data:
        number = number << 7 | byte & 0x7F
    return number


def _tag_end(source: Source) -> int:
    """Where the sound begins."""
    if source.size < _HEAD.size:
        return 0
    mark, _, _, flags, size = _HEAD.unpack(source.take(_HEAD.size))
    if mark != b"ID3":
        return 0
    return min(source.size, _HEAD.size + _unsafe(size) + (_HEAD.size if flags & _FOOTER else 0))


def read_mp3(source: Source) -> dict[str, str]:
    """Texts of the ID3v2 tag that an MP3 begins with; none where it begins with sound."""
    if source.size < _HEAD.size:
        return {}
    mark, version, _, flags, size = _HEAD.unpack(source.take(_HEAD.size))
    if mark != b"ID3" or version not in _SEALED:
        return {}
    frames = source.take(_unsafe(size))
    if version == 3 and flags & _UNSYNCHRONISED:
        frames = _synchronised(frames)
    place = _extended_header(frames, version) if flags & _EXTENDED else 0
    tags: dict[str, str] = {}
    while place + _FRAME.size <= len(frames):
        kind, counted, frame_flags = _FRAME.unpack_from(frames, place)
        if not kind.isalnum():  # padding
            break
        length = int.from_bytes(counted, "big") if version == 3 else _unsafe(counted)
        place += _FRAME.size
        if place + length > len(frames):
            raise source.broken(f"frame {kind!r} of {length} bytes is longer than its tag")
        if kind in _READ and not frame_flags & _SEALED[version]:
            data = frames[place : place + length]
            if version == 4:
                data = data[4:] if frame_flags & _FRAME_COUNTED else data
                data = _synchronised(data) if frame_flags & _FRAME_UNSYNCHRONISED else data
            tags |= _texts(kind, data)
        place += length
    return tags


def _synchronised(data: bytes) -> bytes:
    return data.replace(b"\xff\0", b"\xff")


def _extended_header(frames: bytes, version: int) -> int:
    """How long it is; its own length counts in 2.4 only."""
    if version == 3:
        return 4 + int.from_bytes(frames[:4], "big")
    return _unsafe(frames[:4])


def _texts(kind: bytes, data: bytes) -> dict[str, str]:
    """What one frame says: nothing where it is empty, or a comment for programs."""
    if not data or data[0] >= len(_ENCODINGS):
        return {}
    encoding = _ENCODINGS[data[0]]
    value = data[4:] if kind == b"COMM" else data[1:]
    parts = value.decode(encoding, "replace").split("\0")
    if kind in _NAMES:
        return {_NAMES[kind]: parts[0]}
    name, text = parts[0], parts[1].lstrip("\ufeff") if len(parts) > 1 else ""
    if kind == b"COMM":
        return {} if name else {"comment": text}
    return {name: text} if name else {}
