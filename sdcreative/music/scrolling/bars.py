"""A sketch of the whole piece: bars, as high as it is loud."""

from __future__ import annotations

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .colours import background, colours
from .layout import Layout

_BAR, _GAP = 4, 3
_UNPLAYED = (66, 58, 88)
_PLAYED = (120, 232)
"""the levels of the colours that quiet and loud bars have"""
_LEAST = 1e-9


def draw_bars(
    layout: Layout, loudness: NDArray[numpy.float32], columns: float, room: int
) -> tuple[Image.Image, Image.Image]:
    """The whole, not yet played and played.

    Args:
        layout: of the picture; says how high.
        loudness: of each column, at least one.
        columns: that the whole lasts; where it is longer than they are, it is silent.
        room: width in pixels, at least 1.

    Returns:
        RGB pictures of that width.
    """
    bar = layout.scaled(_BAR)
    count = max(1, (room - bar) // (bar + layout.scaled(_GAP)) + 1)
    share = bar_levels(loudness, columns, count)
    places = numpy.rint(numpy.linspace(0, max(0, room - bar), count)).astype(int)
    unplayed, played = (Image.new("RGB", (room, layout.overview), background()) for _ in range(2))
    pens = ImageDraw.Draw(unplayed), ImageDraw.Draw(played)
    quiet, loud = _PLAYED
    for left, level in zip(places.tolist(), share.tolist(), strict=True):
        height = max(bar, round(level * layout.overview))
        top = (layout.overview - height) // 2
        box = (left, top, left + bar - 1, top + height - 1)
        red, green, blue = colours()[round(quiet + (loud - quiet) * level)].tolist()
        for pen, fill in zip(pens, (_UNPLAYED, (red, green, blue)), strict=True):
            pen.rounded_rectangle(box, bar // 2, fill)
    return unplayed, played


def bar_levels(
    loudness: NDArray[numpy.float32], columns: float, count: int
) -> NDArray[numpy.float64]:
    """(count,) means of equal parts of the whole; the loudest is 1, unless all are silent."""
    sums = numpy.concatenate([[0.0], numpy.cumsum(loudness, dtype=numpy.float64)])
    # Between two columns the sum is interpolated, so that bars narrower than one are as high.
    ends = numpy.interp(numpy.linspace(0, columns, count + 1), numpy.arange(len(sums)), sums)
    means: NDArray[numpy.float64] = numpy.diff(ends)
    means /= max(float(means.max()), _LEAST)
    return means
