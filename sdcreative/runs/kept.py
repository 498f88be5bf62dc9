"""What the renderer asks of frames that are finished already."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise

from PIL import Image

from ..core.timeline import Between, Timeline
from ..errors import RenderError
from .store import FrameStore, frame_file

READERS = max(1, min(16, os.cpu_count() or 1))
"""threads that read frames at a time"""
CHECKED = 64
"""frames that one of them looks at in one go"""


class Kept:
    """Nothing is kept: every frame is made, and given to whoever asked for it.

    Attributes:
        batch_size: pictures denoised together, as it was after the last frame.
        made: number of frames that were kept.
    """

    batch_size = 0
    made = 0

    def composes(self, index: int) -> bool:
        """Whether the frame is part of a batch; it may be finished nevertheless."""
        return True

    def finished(self, index: int) -> bool:
        """Whether the frame's picture is at hand."""
        return False

    def picture(self, index: int) -> Image.Image:
        """The picture of a finished frame."""
        raise RenderError(f"frame {index} is not kept")

    def file(self, index: int) -> bytes:
        """The same as a file of the store."""
        raise RenderError(f"frame {index} is not kept")

    def keep(self, index: int, picture: Image.Image) -> None:
        """Take a frame that has just been made."""

    def keep_file(self, index: int, data: bytes) -> None:
        """The same for one that was made elsewhere, as ``store.frame_file`` writes it."""


class KeptFrames(Kept):
    """Frames in a store, under their keys.

    Pictures that are denoised together come out the same bit for bit only in batches of the same
    size. So a render that goes on composes its batches as it did before it was stopped, of the
    frames that were missing then, and leaves out those batches of which every frame is finished.
    """

    def __init__(
        self, store: FrameStore, keys: Sequence[str], composed: Iterable[int] | None = None
    ) -> None:
        """
        Args:
            store: where the pictures are.
            keys: of every frame, in order.
            composed: frames that batches were made of when the render began; None if it begins
                now. Frames that are missing are added to them.
        """
        self.store, self.keys = store, keys
        self._sound = _sound(store, keys)
        first: dict[str, int] = {}
        for index, key in enumerate(keys):
            first.setdefault(key, index)
        # A frame that comes again, as where a film holds, is made once.
        self.missing = frozenset(index for key, index in first.items() if not self._sound[key])
        self.composed = self.missing | frozenset(composed or ())
        self.there = sum(map(self.finished, range(len(keys))))

    def around(self, timeline: Timeline) -> None:
        """Have the shots on both sides of a missing in-between denoised with it."""
        before, wanted = 0, False
        extra: set[int] = set()
        for index, frame in enumerate(timeline):
            if isinstance(frame, Between):
                wanted = wanted or index in self.composed
                continue
            if wanted:
                extra |= {before, index}
            before, wanted = index, False
        if wanted:  # the last shot leads back to the first
            extra |= {before, 0}
        self.composed |= extra

    def only(self, indexes: Iterable[int]) -> None:
        """Have no other frames made here; batches are composed as before."""
        self.missing &= frozenset(indexes)

    def composes(self, index: int) -> bool:
        return index in self.composed

    def finished(self, index: int) -> bool:
        return self._sound[self.keys[index]]

    def picture(self, index: int) -> Image.Image:
        picture = self.store.read(self.keys[index])
        if picture is None:
            raise self._gone(index)
        return picture

    def file(self, index: int) -> bytes:
        self.picture(index)
        return self.store.path(self.keys[index]).read_bytes()

    def _gone(self, index: int) -> RenderError:
        """What there is to say; a file that could only not be read just now stays."""
        key = self.keys[index]
        if self.store.whole(key) and self.store.read(key) is None:
            # By its checksums alone it would be taken for sound the next time, too.
            self.store.remove(key)
        return RenderError(
            f"frame {index}: its file {self.store.path(key)} was damaged, changed or "
            "removed; run the same command again, and it is made anew"
        )

    def keep(self, index: int, picture: Image.Image) -> None:
        self.keep_file(index, frame_file(picture))

    def keep_file(self, index: int, data: bytes) -> None:
        self.store.put(self.keys[index], data)
        self._sound[self.keys[index]] = True
        self.made += 1


def _sound(store: FrameStore, keys: Sequence[str]) -> dict[str, bool]:
    """Which frames are there and undamaged; each is read once."""
    once = list(dict.fromkeys(keys))
    parts = [once[start : start + CHECKED] for start in range(0, len(once), CHECKED)]

    def check(part: list[str]) -> list[bool]:
        return [*map(store.whole, part)]

    with ThreadPoolExecutor(READERS, thread_name_prefix="checker") as pool:
        return dict(zip(once, chain.from_iterable(pool.map(check, parts)), strict=True))


def spans(indexes: Iterable[int]) -> list[list[int]]:
    """Indexes as [first, last] pairs of what follows without a gap.

    >>> spans([0, 1, 2, 5, 7, 8])
    [[0, 2], [5, 5], [7, 8]]
    """
    ordered = sorted(indexes)
    if not ordered:
        return []
    breaks = [(a, b) for a, b in pairwise(ordered) if b != a + 1]
    firsts = [ordered[0], *(b for _, b in breaks)]
    lasts = [*(a for a, _ in breaks), ordered[-1]]
    return [[first, last] for first, last in zip(firsts, lasts, strict=True)]


def unspan(pairs: Iterable[Sequence[int]]) -> set[int]:
    """The indexes that ``spans`` was given.

    >>> sorted(unspan([[0, 2], [5, 5]]))
    [0, 1, 2, 5]
    """
    return {index for first, last in pairs for index in range(first, last + 1)}
