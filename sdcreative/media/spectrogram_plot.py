"""A spectrogram with its axes, drawn with Pillow alone."""

from __future__ import annotations

import math
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ..spectral.params import SpectrogramParams

LEFT, RIGHT, TOP, BOTTOM, GAP = 72, 84, 34, 44, 12
_WIDTHS = (320, 1600)
_LEAST_HEIGHT = 256
_RANGE = 80
"""decibels below the loudest that are told apart"""
_TEXT = "#444444"
_STOPS = ((0, 0, 4), (60, 15, 110), (145, 40, 125), (220, 75, 90), (250, 150, 60), (252, 253, 190))
_HERTZ = (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


def draw_spectrogram(
    mel: NDArray[numpy.floating[Any]], params: SpectrogramParams, title: str
) -> Image.Image:
    """Loudness in decibels over seconds and Hz; left above right where there are two channels.

    Args:
        mel: (channels, bands, columns).
        params: the bands.
        title: drawn above.

    Returns:
        RGB; one pixel per column and band within limits, scaled beyond them.
    """
    channels, bands, columns = mel.shape
    width = min(max(columns, _WIDTHS[0]), _WIDTHS[1])
    height = max(bands, _LEAST_HEIGHT) if channels == 1 else max(bands // 2, _LEAST_HEIGHT)
    size = (LEFT + width + RIGHT, TOP + channels * (height + GAP) + BOTTOM)
    picture = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(picture)
    pen.text((LEFT, TOP - 10), title, fill="black", anchor="ls")
    loudest = float(mel.max()) or 1.0
    decibels = 20 * numpy.log10(numpy.maximum(mel / loudest, 1e-9))
    share = numpy.clip(1 + decibels / _RANGE, 0, 1)
    for number, channel in enumerate(share):
        top = TOP + number * (height + GAP)
        panel = Image.fromarray(_coloured(channel[::-1]))
        picture.paste(panel.resize((width, height), Image.Resampling.BOX), (LEFT, top))
        _hertz(pen, params, top, height)
        if channels == 2:
            pen.text((LEFT + 6, top + 6), ("left", "right")[number], fill="white")
    ground = TOP + channels * (height + GAP) - GAP
    _seconds(pen, params.seconds(columns), width, ground)
    pen.text((LEFT + width / 2, size[1] - 6), "seconds", fill=_TEXT, anchor="mb")
    pen.text((LEFT - 8, TOP - 10), "Hz", fill=_TEXT, anchor="rs")
    _legend(picture, pen, LEFT + width + 18, ground)
    return picture


def _coloured(share: NDArray[numpy.floating[Any]]) -> NDArray[numpy.uint8]:
    """Shares from 0 to 1 as colours, even in brightness from black to pale yellow."""
    stops = numpy.array(_STOPS, numpy.float64)
    places = numpy.linspace(0, 1, len(stops))
    table = numpy.stack(
        [numpy.interp(numpy.linspace(0, 1, 256), places, stops[:, i]) for i in range(3)], -1
    ).astype(numpy.uint8)
    return table[(share * 255).astype(numpy.uint8)]


def _hertz(pen: ImageDraw.ImageDraw, params: SpectrogramParams, top: int, height: int) -> None:
    corners = params.corners()
    last = math.inf
    for hertz in _HERTZ:
        if not corners[1] <= hertz <= corners[-1]:
            continue
        band = float(numpy.interp(hertz, corners, range(-1, params.bands + 1)))
        y = top + height * (1 - (band + 0.5) / params.bands)
        if last - y < 14:
            continue
        last = y
        pen.line([(LEFT - 5, y), (LEFT, y)], fill=_TEXT)
        pen.text((LEFT - 8, y), f"{hertz:,}", fill=_TEXT, anchor="rm")


def _seconds(pen: ImageDraw.ImageDraw, seconds: float, width: int, ground: int) -> None:
    apart = _round_unit(max(seconds, 1e-3) * 60 / width)
    for step in range(int(seconds / apart + 1e-9) + 1):
        x = LEFT + width * step * apart / max(seconds, 1e-3)
        pen.line([(x, ground), (x, ground + 5)], fill=_TEXT)
        pen.text((x, ground + 8), f"{step * apart:g}", fill=_TEXT, anchor="mt")


def _legend(picture: Image.Image, pen: ImageDraw.ImageDraw, left: int, ground: int) -> None:
    height = ground - TOP
    bar = numpy.repeat(numpy.linspace(1, 0, height)[:, None], 12, 1)
    picture.paste(Image.fromarray(_coloured(bar)), (left, TOP))
    for level in range(0, _RANGE + 1, 20):
        y = TOP + (height - 1) * level / _RANGE
        pen.text((left + 18, y), f"{-level} dB", fill=_TEXT, anchor="lm")


def _round_unit(least: float) -> float:
    """The smallest of 1, 2, 5, 10, ... times a power of ten that is at least that."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))
