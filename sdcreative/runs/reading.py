"""Finished frames read from the disk ahead of their turn, by several threads."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

from PIL import Image

from .kept import READERS, Kept


class Reader:
    """Pictures of kept frames for whoever takes them in order.

    While one of them is used, as many of the next ones are read as there are threads. As a context
    manager: leaving forgets what nobody asked for.

    Args:
        kept: the frames.
        length: how many there are.
        threads: that read at a time.
    """

    def __init__(self, kept: Kept, length: int, threads: int = READERS) -> None:
        self._kept, self._length, self._threads = kept, length, threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._begun: dict[int, Future[Image.Image]] = {}

    def picture(self, index: int) -> Image.Image:
        """The picture of a finished frame.

        Raises:
            RenderError: it was damaged or removed meanwhile.
        """
        for other in range(index, min(self._length, index + 1 + self._threads)):
            if other not in self._begun and self._kept.finished(other):
                self._begun[other] = self._pool.submit(self._kept.picture, other)
        return self._begun.pop(index).result()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def in_order(kept: Kept, length: int) -> Generator[Image.Image, None, None]:
    """All pictures, where every frame is there; raises as ``Reader.picture``."""
    with Reader(kept, length) as reader:
        yield from map(reader.picture, range(length))
