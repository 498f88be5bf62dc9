"""Pictures that overlap, one after another, to one line of columns."""

from __future__ import annotations

from typing import Any

import numpy
from numpy.typing import NDArray

from ..errors import UsageError

Levels = NDArray[numpy.uint8]


class Stitcher:
    """Crossfades what neighbouring pictures share, evenly in the levels of the pictures.

    Args:
        overlap: columns that each picture shares with the one before it, at least 0.
    """

    def __init__(self, overlap: int) -> None:
        if overlap < 0:
            raise UsageError(f"overlap is {overlap}; give 0 columns or more")
        self._overlap = overlap
        self._tail: Levels | None = None

    def add(self, picture: Levels) -> Levels:
        """The next picture, (channels, bands, width), to the columns that it completes.

        Raises:
            UsageError: it is no wider than the overlap.
        """
        if picture.shape[-1] <= self._overlap:
            raise UsageError(
                f"pictures of {picture.shape[-1]} columns cannot overlap by {self._overlap}"
            )
        if self._tail is not None:
            head = crossfade(self._tail, picture[..., : self._overlap])
            picture = numpy.concatenate([head, picture[..., self._overlap :]], -1)
        end = picture.shape[-1] - self._overlap
        self._tail = picture[..., end:]
        return picture[..., :end]

    def finish(self) -> Levels | None:
        """What the last picture shares with none; None without pictures."""
        tail, self._tail = self._tail, None
        return tail


def crossfade(before: NDArray[Any], after: NDArray[Any]) -> Levels:
    """From one to the other along the columns, both (..., columns) of levels; rounded."""
    columns = before.shape[-1]
    share = (numpy.arange(columns, dtype=numpy.float32) + 0.5) / max(1, columns)
    mixed = before + share * (after.astype(numpy.float32) - before)
    levels: Levels = numpy.rint(mixed).astype(numpy.uint8)
    return levels
