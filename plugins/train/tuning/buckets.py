"""Sizes for pictures of any form: alike in area, so that none is distorted and little is cut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Size = tuple[int, int]
LONGEST = 4.0
"""sides of a bucket are at most this far apart"""


def bucket_sizes(area: int, step: int) -> list[Size]:
    """Pairs (width, height) of multiples of ``step`` that come near an area without exceeding it.

    >>> bucket_sizes(128 * 128, 64)
    [(64, 192), (64, 256), (128, 128), (192, 64), (256, 64)]

    Args:
        area: in pixels.
        step: in pixels.

    Returns:
        for every side the longest other one, turned both ways, by width; one side is at most four
        times the other. The step itself where the area holds no more.
    """
    found = set()
    for side in range(step, area // step + 1, step):
        other = area // side // step * step
        if other and max(side, other) <= LONGEST * min(side, other):
            found |= {(side, other), (other, side)}
    return sorted(found) or [(step, step)]


def nearest_bucket(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket whose form is most like a picture's; of several, the one of the largest area."""
    form = math.log(size[0] / size[1])
    return min(
        buckets, key=lambda one: (abs(math.log(one[0] / one[1]) - form), -one[0] * one[1], one)
    )


@dataclass(frozen=True)
class Placement:
    """How a picture fills its bucket: scaled evenly until it covers it, the rest cut off.

    Attributes:
        original: (width, height) of the picture.
        scaled: the same after scaling.
        left, top: what of ``scaled`` is cut off there, in pixels.
        bucket: (width, height) of what is left.
    """

    original: Size
    scaled: Size
    left: int
    top: int
    bucket: Size

    @property
    def cut(self) -> float:
        """Share of the picture that is cut off, in [0, 1)."""
        return 1 - self.bucket[0] * self.bucket[1] / (self.scaled[0] * self.scaled[1])

    @property
    def enlarged(self) -> bool:
        """Whether the picture has fewer pixels than its bucket."""
        return self.scaled[0] > self.original[0] or self.scaled[1] > self.original[1]

    @property
    def conditioning(self) -> tuple[int, int, int, int, int, int]:
        """What SDXL is told (Podell et al. 2023, sec. 2.2): original height and width, top and
        left of the crop, target height and width."""
        return (*self.original[::-1], self.top, self.left, *self.bucket[::-1])


def place(size: Size, bucket: Size) -> Placement:
    """Where a picture of a size goes in a bucket: in its middle.

    >>> place((100, 50), (64, 64)).scaled
    (128, 64)
    """
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    width = max(bucket[0], round(size[0] * scale))
    height = max(bucket[1], round(size[1] * scale))
    left, top = (width - bucket[0]) // 2, (height - bucket[1]) // 2
    return Placement(size, (width, height), left, top, bucket)
