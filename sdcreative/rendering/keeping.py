"""Finished frames written to the disk beside the making of the next ones."""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor

from PIL import Image

from ..runs.kept import Kept, KeptFrames

KEEPERS = 4
"""threads at most that write pictures, most of whose time goes into compressing them"""


def keepers(device: str) -> int:
    """How many threads write pictures beside a model that computes on such a device."""
    return 1 if device == "cpu" else max(1, min(KEEPERS, (os.cpu_count() or 1) // 2))


class KeptBeside(Kept):
    """Frames in a store, as ``KeptFrames`` has them, written by threads of their own.

    As a context manager: leaving waits until all that was begun is written, whatever happened.

    Args:
        kept: the frames.
        threads: that write.
        ahead: frames that wait to be written at most; who gives another one waits as well.
    """

    def __init__(self, kept: KeptFrames, threads: int, ahead: int) -> None:
        self._kept, self._ahead = kept, max(threads, ahead)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="keeper")
        self._begun: dict[str, Future[None]] = {}

    @property
    def batch_size(self) -> int:
        return self._kept.batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        self._kept.batch_size = size

    @property
    def made(self) -> int:  # type: ignore[override]
        return self._kept.made

    def composes(self, index: int) -> bool:
        return self._kept.composes(index)

    def finished(self, index: int) -> bool:
        # In this order: a frame is written before it is taken off those that were begun.
        return self._kept.keys[index] in self._begun or self._kept.finished(index)

    def picture(self, index: int) -> Image.Image:
        begun = self._begun.get(self._kept.keys[index])
        if begun is not None:
            begun.result()
        return self._kept.picture(index)

    def keep(self, index: int, picture: Image.Image) -> None:
        """Begin to write a frame.

        Raises:
            OutputError: it, or one of those before it, could not be written.
        """
        # Whoever gets the picture next may draw on it.
        copy = picture.copy()
        self._begun[self._kept.keys[index]] = self._pool.submit(self._kept.keep, index, copy)
        while self._begun and (len(self._begun) > self._ahead or self._first.done()):
            self._take_first()

    def settle(self) -> None:
        """Wait until all frames are written.

        Raises:
            OutputError: one could not be.
        """
        while self._begun:
            self._take_first()

    @property
    def _first(self) -> Future[None]:
        return next(iter(self._begun.values()))

    def _take_first(self) -> None:
        """Wait for the frame that has waited longest."""
        key, first = next(iter(self._begun.items()))
        try:
            first.result()
        finally:
            if first.done():
                del self._begun[key]

    def __enter__(self) -> KeptBeside:
        return self

    def __exit__(self, *details: object) -> None:
        self._pool.shutdown(wait=True)
