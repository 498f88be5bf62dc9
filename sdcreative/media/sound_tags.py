"""Tags in WAV and FLAC.

WAV keeps them packed as the comment of a LIST INFO chunk (Microsoft and IBM, Multimedia Programming
Interface 1.0, chapter 2); FLAC as Vorbis comments (RFC 9639, 8.6).
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import DataError, OutputError
from .picture_tags import riff_chunks
from .tags import Source, check_tags, pack, unpack

_COMMENTS = 4
_LARGEST_BLOCK = 2**24 - 1
_VENDOR = b"sdcreative"


def tag_sound(path: Path, tags: Mapping[str, str]) -> None:
    """Put tags into a WAV or FLAC file that has just been written; a FLAC's old ones go.

    Args:
        path: a file that may be changed, such as one that is not yet published.

    Raises:
        OutputError: the tags or the file are too large, or it is neither WAV nor FLAC.
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
    else:
        raise OutputError(f"{path}: is neither WAV nor FLAC; only those take tags")


def _tag_wav(path: Path, tags: Mapping[str, str]) -> None:
    text = pack(tags).encode("ascii") + b"\0"
    text += b"\0" * (len(text) % 2)
    info = b"INFO" + struct.pack("<4sI", b"ICMT", len(text)) + text
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        length = end + end % 2 + 8 + len(info) - 8
        if length >= 2**32:
            raise OutputError(f"{path}: WAV holds 4 GiB; use .flac")
        file.write(b"\0" * (end % 2) + struct.pack("<4sI", b"LIST", len(info)) + info)
        file.seek(4)
        file.write(struct.pack("<I", length))


def _tag_flac(path: Path, tags: Mapping[str, str]) -> None:
    for name in tags:
        if not name.isascii() or "=" in name or "~" in name:
            raise OutputError(f"metadata key {name!r}: FLAC wants ASCII without '=' and '~'")
    pairs = [f"{name}={text}".encode() for name, text in tags.items()]
    block = struct.pack("<I", len(_VENDOR)) + _VENDOR + struct.pack("<I", len(pairs))
    block += b"".join(struct.pack("<I", len(pair)) + pair for pair in pairs)
    if len(block) > _LARGEST_BLOCK:
        raise OutputError(f"{path}: {len(block):,} bytes of metadata; FLAC holds 16 MB")
    tagged = path.with_name(path.name + ".tags")
    try:
        with Source(path) as source, path.open("rb") as old, tagged.open("wb") as new:
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
        tagged.replace(path)
    except DataError as error:
        raise OutputError(str(error)) from error
    finally:
        tagged.unlink(missing_ok=True)


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
    """The comment of a WAV file."""
    for name, length in riff_chunks(source):
        if name == b"LIST" and length >= 4 and source.take(4) == b"INFO":
            place, end = source.place, source.place + length - 4
            while place + 8 <= end:
                source.go(place)
                kind, size = struct.unpack("<4sI", source.take(8))
                if kind == b"ICMT":
                    return unpack(source.take(size).rstrip(b"\0").decode("utf-8", "replace"))
                place += 8 + size + size % 2
    return {}


def read_flac(source: Source) -> dict[str, str]:
    """Vorbis comments of a FLAC file; their names know no case, and come back in lower case."""
    tags: dict[str, str] = {}
    for kind, length in _flac_blocks(source):
        if kind != _COMMENTS:
            continue
        end = source.place + length
        source.skip(_little(source))
        for _ in range(_little(source)):
            size = _little(source)
            if source.place + size > end:
                raise source.broken("a comment is longer than its block")
            name, equals, text = source.take(size).decode("utf-8", "replace").partition("=")
            if equals:
                tags[name.lower()] = text
    return tags


def _little(source: Source) -> int:
    return int.from_bytes(source.take(4), "little")
