"""Tags in sound files: WAV and FLAC here, OGG and MP3 beside.

WAV keeps them packed as the comment of a LIST INFO chunk (Microsoft and IBM, Multimedia Programming
Interface 1.0, chapter 2); FLAC and OGG as Vorbis comments (RFC 9639, 8.6); MP3 as ID3v2. ``title``
and ``encoder`` stand where players look for them.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import OutputError
from .id3_tags import tag_mp3
from .ogg_tags import tag_ogg
from .picture_tags import riff_chunks
from .rewriting import rewritten
from .tags import Source, check_tags, pack, unpack
from .vorbis_comments import comment_block, read_comments

_COMMENTS = 4
_LARGEST_BLOCK = 2**24 - 1
_VENDOR = b"sdcreative"
_INFO = {"title": b"INAM", "encoder": b"ISFT"}
_INFO_NAMES = {chunk: name for name, chunk in _INFO.items()}
MP3_FRAMES = tuple(
    bytes([0xFF, 0xE0 | version << 3 | 2 | bare]) for version in (0, 2, 3) for bare in (0, 1)
)
"""how a frame of layer III begins: MPEG 2.5, 2 and 1, with a checksum and without"""


def tag_sound(path: Path, tags: Mapping[str, str]) -> None:
    """Put tags into a WAV, FLAC, OGG or MP3 file that has just been written.

    Old ones go, but in a WAV.

    Args:
        path: a file that may be changed, such as one that is not yet published.

    Raises:
        OutputError: the tags or the file are too large, or it is another kind of file.
        OSError: from the disk.
    """
    check_tags(tags)
    if not tags:
        return
    with path.open("rb") as file:
        start = file.read(12)
    if start[:4] == b"RIFF" and start[8:] == b"WAVE":
        _tag_wav(path, tags)
    elif start[:4] == b"fLaC":
        _tag_flac(path, tags)
    elif start[:4] == b"OggS":
        tag_ogg(path, tags)
    elif start[:3] == b"ID3" or start[:2] in MP3_FRAMES:
        tag_mp3(path, tags)
    else:
        raise OutputError(f"{path}: is no WAV, FLAC, OGG or MP3; only those take tags")


def _tag_wav(path: Path, tags: Mapping[str, str]) -> None:
    info = b"INFO"
    for name, chunk in _INFO.items():
        if name in tags:
            info += _text_chunk(chunk, tags[name].encode())
    others = {name: text for name, text in tags.items() if name not in _INFO}
    if others:
        info += _text_chunk(b"ICMT", pack(others).encode("ascii"))
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        length = end + end % 2 + 8 + len(info) - 8
        if length >= 2**32:
            raise OutputError(f"{path}: WAV holds 4 GiB; use .flac")
        file.write(b"\0" * (end % 2) + struct.pack("<4sI", b"LIST", len(info)) + info)
        file.seek(4)
        file.write(struct.pack("<I", length))


def _text_chunk(name: bytes, text: bytes) -> bytes:
    text += b"\0" * (2 - len(text) % 2)
    return struct.pack("<4sI", name, len(text)) + text


def _tag_flac(path: Path, tags: Mapping[str, str]) -> None:
    block = comment_block(tags, _VENDOR)
    if len(block) > _LARGEST_BLOCK:
        raise OutputError(f"{path}: {len(block):,} bytes of metadata; FLAC holds 16 MB")
    with rewritten(path) as new, Source(path) as source, path.open("rb") as old:
        blocks = [
            (kind, source.take(length))
            for kind, length in _flac_blocks(source)
            if kind != _COMMENTS
        ]
        blocks.insert(1, (_COMMENTS, block))  # the first describes the stream
        new.write(b"fLaC")
        for number, (kind, data) in enumerate(blocks, 1):
            last = 0x80 if number == len(blocks) else 0
            new.write(struct.pack(">I", (kind | last) << 24 | len(data)) + data)
        old.seek(source.place)
        shutil.copyfileobj(old, new)


def _flac_blocks(source: Source) -> Iterator[tuple[int, int]]:
    """(kind, length) of every metadata block, the source standing at its contents.

    At the end it stands at the sound.
    """
    source.go(4)
    last = False
    while not last:
        head = struct.unpack(">I", source.take(4))[0]
        place, length = source.place, head & 0xFFFFFF
        last = bool(head >> 31)
        yield head >> 24 & 0x7F, length
        source.go(place + length)


def read_wav(source: Source) -> dict[str, str]:
    """Title, program and comment of a WAV file."""
    tags: dict[str, str] = {}
    comment = ""
    for name, length in riff_chunks(source):
        if name == b"LIST" and length >= 4 and source.take(4) == b"INFO":
            place, end = source.place, source.place + length - 4
            while place + 8 <= end:
                source.go(place)
                kind, size = struct.unpack("<4sI", source.take(8))
                if kind in _INFO_NAMES:
                    tags[_INFO_NAMES[kind]] = _text(source, size)
                elif kind == b"ICMT" and not comment:
                    comment = _text(source, size)
                place += 8 + size + size % 2
    return tags | unpack(comment)


def _text(source: Source, size: int) -> str:
    return source.take(size).rstrip(b"\0").decode("utf-8", "replace")


def read_flac(source: Source) -> dict[str, str]:
    """Vorbis comments of a FLAC file; their names know no case, and come back in lower case."""
    tags: dict[str, str] = {}
    for kind, length in _flac_blocks(source):
        if kind == _COMMENTS:
            tags |= read_comments(source.take(length), source.broken)
    return tags
