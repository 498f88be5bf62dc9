"""The part of a spectrogram that is in sight, enlarged once, moving along."""

from __future__ import annotations

import math

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from ...spectral.params import SpectrogramParams
from .layout import Layout, frequency_labels

_QUIET = 255
"""the level of silence in pictures"""
_REACH = 8
"""columns beyond the ends of a tile that the filter needs, where it does not make them fewer"""
_TILE = 512
"""pixels that are made at a time, at least"""
_GLOW, _GLOWING = 7, 100
"""how far what is heard shines, on a picture 720 pixels high, and the levels that do"""
_GRID = 22
"""levels by which the lines of labelled frequencies are brighter"""

Columns = NDArray[numpy.uint8]


class Strip:
    """Brightness of a spectrogram, pixel by pixel.

    Its pixel 0 is the middle of column 0, time 0; before it is silence, as after the end, unless
    it is a loop.

    Args:
        columns: (channels, bands, columns), loud 0, low frequencies in the last row.
        curve: (256,) from their levels to brightness.
        params: the bands.
        layout: of the picture.
        loop: whether the end comes before the beginning, and the other way round.

    Attributes:
        calm: as wide as the picture and more, for cropping.
        shining: the same as it is heard: what is bright sheds light.
    """

    def __init__(
        self,
        columns: Columns,
        curve: NDArray[numpy.uint8],
        params: SpectrogramParams,
        layout: Layout,
        loop: bool,
    ) -> None:
        self._columns, self._params, self._layout, self._loop = columns, params, layout, loop
        self._curve = curve.tolist()
        hops = params.sample_rate / params.hop_length
        self._per_pixel = hops / float(layout.speed)
        self._width = layout.size[0]
        self._room = self._width + max(self._width, _TILE)
        self.calm, self.shining = (Image.new("L", (self._room, layout.ground)) for _ in range(2))
        self._end: int | None = None

    def reach(self, first: int) -> int:
        """Bring pixels into sight, from this one on, as many as the picture is wide.

        Args:
            first: no less than at the call before.

        Returns:
            Where they begin in ``calm`` and ``shining``.
        """
        if self._end is None or first + self._width > self._end:
            kept = 0 if self._end is None else max(0, self._end - first)
            self._end = first + self._room
            for picture, tile in zip(
                (self.calm, self.shining), self._made(first + kept, self._end), strict=True
            ):
                picture.paste(picture.crop((self._room - kept, 0, *picture.size)), (0, 0))
                picture.paste(tile, (kept, 0))
        return first - (self._end - self._room)

    def _made(self, first: int, end: int) -> tuple[Image.Image, Image.Image]:
        """The pixels from one on until before another, calm and shining."""
        calm, shining = (Image.new("L", (end - first, self._layout.ground)) for _ in range(2))
        glow = self._layout.scaled(_GLOW)
        margin = 4 * glow
        for channel, lane in enumerate(self._layout.lanes):
            seen = self._enlarged(channel, first - margin, end + margin, lane.height)
            labels = frequency_labels(self._params, lane, self._layout)
            for picture, part in ((calm, seen), (shining, _shining(seen, glow))):
                for label in labels:
                    _rule(part, round(label.y))
                inside = part.crop((margin, 0, margin + end - first, lane.height))
                picture.paste(inside, (0, lane.top))
        return calm, shining

    def _enlarged(self, channel: int, first: int, end: int, height: int) -> Image.Image:
        """Brightness of pixels from one on until before another; each in the middle of its time."""
        left, right = ((pixel - 0.5) * self._per_pixel + 0.5 for pixel in (first, end))
        reach = _REACH * max(1, math.ceil(self._per_pixel))
        start, stop = math.floor(left) - reach, math.ceil(right) + reach
        source = Image.fromarray(self._between(channel, start, stop))
        box = (left - start, 0, right - start, source.height)
        wide = source.resize((end - first, height), Image.Resampling.BICUBIC, box)
        return wide.point(self._curve)

    def _between(self, channel: int, start: int, stop: int) -> Columns:
        """(bands, stop - start) columns."""
        count = self._columns.shape[-1]
        wanted = numpy.arange(start, stop)
        if self._loop:
            return numpy.ascontiguousarray(self._columns[channel][:, wanted % count])
        found = numpy.full((self._params.bands, stop - start), _QUIET, numpy.uint8)
        low, high = max(start, 0), min(stop, count)
        if low < high:
            found[:, low - start : high - start] = self._columns[channel, :, low:high]
        return found


def _shining(seen: Image.Image, radius: int) -> Image.Image:
    """Brightness, and light from what is bright upon what is around it."""
    bright = seen.point([max(0, level - _GLOWING) for level in range(256)])
    return ImageChops.add(seen, bright.filter(ImageFilter.GaussianBlur(radius)))


def _rule(part: Image.Image, y: int) -> None:
    """A faint line across."""
    box = (0, y, part.width, y + 1)
    part.paste(part.crop(box).point([min(255, level + _GRID) for level in range(256)]), box)
