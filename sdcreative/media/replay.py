"""Playing pictures back without keeping them in memory."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Generator, Iterable

from PIL import Image


def there_and_back(pictures: Iterable[Image.Image]) -> Generator[Image.Image, None, None]:
    """All pictures, then all but the last and the first again, backwards.

    N pictures become 2 N - 2, so that a film played in a circle shows none twice in a row. They
    wait in a temporary file, compressed without loss.
    """
    places: list[tuple[int, int, str, tuple[int, int]]] = []
    with tempfile.TemporaryFile() as spool:
        for picture in pictures:
            packed = zlib.compress(picture.tobytes(), 1)
            places.append((spool.tell(), len(packed), picture.mode, picture.size))
            spool.write(packed)
            yield picture
        for start, length, mode, size in places[-2:0:-1]:
            spool.seek(start)
            yield Image.frombytes(mode, size, zlib.decompress(spool.read(length)))
