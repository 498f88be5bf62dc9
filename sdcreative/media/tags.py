"""What tags are: names and texts; their rules, and the one text that some formats keep them in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from ..errors import DataError, OutputError

MOST_BYTES = 16_000_000
"""that are looked at in a file, so that a hostile one costs neither memory nor time"""


def check_tags(tags: Mapping[str, str]) -> None:
    """Refuse tags that not every format can hold, so that one rule is true of all.

    Raises:
        OutputError: a name that is not 1 to 79 printable Latin-1 characters, or text with a NUL or
            with half of a surrogate pair.
    """
    for name, text in tags.items():
        if not 1 <= len(name) <= 79 or not name.isprintable() or max(map(ord, name)) > 255:
            raise OutputError(f"metadata key {name!r}: give 1 to 79 Latin-1 characters")
        if "\0" in text:
            raise OutputError(f"metadata {name!r}: holds a NUL character; remove it")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise OutputError(
                f"metadata {name!r}: character {error.start + 1} is half of a pair and no "
                "Unicode text; remove it"
            ) from error


def pack(tags: Mapping[str, str]) -> str:
    """Tags as one text of ASCII, for formats that have room for a comment only.

    >>> pack({"parameters": "熊"})
    '{"parameters": "\\\\u718a"}'
    """
    return json.dumps(dict(tags))


def unpack(text: str) -> dict[str, str]:
    """The tags in a comment; another program's comment is the tag ``comment``."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    return {"comment": text} if text.strip("\0 \r\n\t") else {}


class Source:
    """A file read by small steps: never beyond its end, never more than ``MOST_BYTES`` in all.

    Attributes:
        size: of the file in bytes.

    Raises:
        DataError: the file is missing, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = MOST_BYTES
        try:
            self._file = path.open("rb")
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        self.size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)

    @property
    def place(self) -> int:
        return self._file.tell()

    def go(self, place: int) -> None:
        """Go on reading from there.

        Raises:
            DataError: that is beyond the end.
        """
        if not 0 <= place <= self.size:
            raise self.broken(f"{place - self.size} bytes are missing at the end")
        self._file.seek(place)

    def skip(self, count: int) -> None:
        """Leave out so many bytes; see ``go``."""
        self.go(self.place + count)

    def take(self, count: int) -> bytes:
        """The next bytes, exactly as many as asked for.

        Raises:
            DataError: the file ends before, or too much of it has been read.
        """
        missing = self.place + count - self.size
        if missing > 0:
            raise self.broken(f"{missing} bytes are missing at the end")
        self.spend(count)
        return self._file.read(count)

    def spend(self, count: int) -> None:
        """Count bytes that were unpacked from few.

        Raises:
            DataError: it is too much.
        """
        self._left -= count
        if self._left < 0:
            raise self.broken(f"its metadata is over {MOST_BYTES:,} bytes")

    @property
    def left(self) -> int:
        """How many bytes may be looked at yet."""
        return self._left

    def broken(self, why: str) -> DataError:
        """The error of a file that is not what it begins as."""
        return DataError(f"{self._path}: this file is broken, truncated or hostile: {why}")

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()
