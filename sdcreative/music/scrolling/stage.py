"""A frame put together: the strip under its playhead, labels, the time, a sketch of the whole."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFont

from ...spectral.params import SpectrogramParams
from .bars import draw_bars
from .colours import background, colours
from .layout import LEAST_TEXT, Layout, clock, frequency_labels
from .strip import Strip

_BRIGHT, _SOFT = (245, 241, 250), (176, 168, 192)
_AHEAD, _PAST = 0.9, 0.55
"""brightness of what is to come and of what is past; what is heard has 1"""
_AFTERGLOW = 0.6
"""seconds in which what was heard fades to what is past"""
_SHADE, _SHADE_RIGHT = 5.5, 1.6
"""how far it fades in from the left, under the labels, and the right, in heights of letters"""
_HALO, _HALO_STRENGTH = 12, 0.3
_LINE_STRENGTH = 0.92
_LABEL = 0.82
"""height of the labels' letters, in that of the others"""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Stage:
    """Draws frames, in order.

    Args:
        layout: where everything is.
        params: the bands.
        strip: what scrolls.
        loudness: (columns,) of the whole.
        seconds: length of the whole.
    """

    def __init__(
        self,
        layout: Layout,
        params: SpectrogramParams,
        strip: Strip,
        loudness: NDArray[numpy.float32],
        seconds: float,
    ) -> None:
        self._layout, self._strip, self._seconds = layout, strip, seconds
        width, height = layout.size
        ground, playhead = layout.ground, layout.playhead
        lit = min(playhead, max(1, round(_AFTERGLOW * float(layout.speed))))
        fading = numpy.linspace(0, 1, lit) ** 2
        self._afterglow = _across(fading, ground)
        left = min(playhead, round(_SHADE * layout.text))
        right = round(_SHADE_RIGHT * layout.text)
        gains = numpy.full(width, _AHEAD)
        gains[:playhead] = _PAST
        gains[playhead - lit : playhead] += (1 - _PAST) * fading
        gains[:left] *= _eased(left)
        gains[width - right :] *= _eased(right)[::-1]
        self._gains = _across(gains, height)
        self._palette = colours().tobytes()
        self._line = _across(_playhead(layout), ground)
        self._labels = _words(layout, params)
        self._panel = Image.new("RGB", (width, height - ground), background())
        self._middle = self._panel.height // 2
        said, words = clock(seconds), _font(layout.text)
        pen = ImageDraw.Draw(self._panel)
        pen.text((width - layout.padding, self._middle), said, _SOFT, words, "rm")
        self._bars_at = (
            2 * layout.padding + round(words.getlength(said)),
            self._middle - layout.overview // 2,
        )
        room = max(1, width - 2 * self._bars_at[0])
        unplayed, self._played = draw_bars(layout, loudness, self._columns(params), room)
        self._panel.paste(unplayed, self._bars_at)

    def _columns(self, params: SpectrogramParams) -> float:
        return self._seconds * params.sample_rate / params.hop_length

    def frame(self, number: int) -> Image.Image:
        """The frame of that number, from 0; a new picture each."""
        layout = self._layout
        (width, height), ground, playhead = layout.size, layout.ground, layout.playhead
        at = self._strip.reach(number * layout.step - playhead)
        # What is cropped beyond the strip's ground is dark, and the panel's place.
        seen = self._strip.calm.crop((at, 0, at + width, height))
        lit = playhead - self._afterglow.width
        heard = self._strip.shining.crop((at + lit, 0, at + playhead, ground))
        seen.paste(heard, (lit, 0), self._afterglow)
        seen = ImageChops.multiply(seen, self._gains)
        seen.putpalette(self._palette)
        picture = seen.convert("RGB")
        for place, word in self._labels:
            picture.paste(_SOFT, place, word)
        picture.paste(_BRIGHT, (playhead - self._line.width // 2, 0), self._line)
        time = float(number / layout.rate)
        panel = self._panel.copy()
        done = round(self._played.width * min(1.0, time / self._seconds))
        if done:
            panel.paste(self._played.crop((0, 0, done, layout.overview)), self._bars_at)
        pen = ImageDraw.Draw(panel)
        pen.text((layout.padding, self._middle), clock(time), _BRIGHT, _font(layout.text), "lm")
        picture.paste(panel, (0, ground))
        return picture


@lru_cache(maxsize=8)
def _font(size: int) -> Font:
    """Pillow's own, in pixels."""
    return ImageFont.load_default(size)


def _across(strengths: NDArray[numpy.float64], height: int) -> Image.Image:
    """A mask whose columns have these strengths, 0 to 1."""
    row = numpy.rint(255 * numpy.clip(strengths, 0, 1)).astype(numpy.uint8)
    return Image.fromarray(numpy.repeat(row[None], height, 0))


def _eased(count: int) -> NDArray[numpy.float64]:
    """From 0 to 1, level at both ends."""
    share = numpy.linspace(0, 1, max(count, 1))
    return share * share * (3 - 2 * share)


def _playhead(layout: Layout) -> NDArray[numpy.float64]:
    """Strengths across the line and the light around it."""
    reach = layout.scaled(_HALO)
    # The pixel of the moment is the middle one of the line, or the one right of its middle.
    side = 2 * reach + layout.line
    away = numpy.abs(numpy.arange(side) - (side - 1) / 2)
    halo = _HALO_STRENGTH * numpy.clip(1 - away / (reach + layout.line / 2), 0, 1) ** 3
    return numpy.where(away < layout.line / 2, _LINE_STRENGTH, halo)


def _words(layout: Layout, params: SpectrogramParams) -> list[tuple[tuple[int, int], Image.Image]]:
    """(left, top) and mask of each label over the strip."""
    words = _font(max(LEAST_TEXT, round(layout.text * _LABEL)))
    found = []
    for number, lane in enumerate(layout.lanes):
        for label in frequency_labels(params, lane, layout):
            place = (layout.padding, lane.top + label.middle)
            found.append(_word(place, label.said, words, "lm"))
        if len(layout.lanes) > 1:
            corner = (layout.size[0] - layout.padding, lane.top + layout.text)
            found.append(_word(corner, "LR"[number], words, "rm"))
    return found


def _word(
    place: tuple[float, float], said: str, words: Font, anchor: str
) -> tuple[tuple[int, int], Image.Image]:
    pen = ImageDraw.Draw(Image.new("L", (1, 1)))
    left, top, right, bottom = pen.textbbox(place, said, words, anchor)
    corner = (math.floor(left), math.floor(top))
    mask = Image.new("L", (math.ceil(right) - corner[0], math.ceil(bottom) - corner[1]))
    inside = (place[0] - corner[0], place[1] - corner[1])
    ImageDraw.Draw(mask).text(inside, said, 255, words, anchor)
    return corner, mask
