"""Colours of loudness: from near black over violet, red and orange to pale yellow.

Even steps in loudness are even steps in lightness, and hue turns one way, in OKLab (B. Ottosson,
"A perceptual color space for image processing", 2020), whose matrices are used here.
"""

from __future__ import annotations

from functools import lru_cache

import numpy
from numpy.typing import NDArray

_LEVELS = 256
_LIGHTNESS = (0.128, 0.975)
_SHARES = (0.0, 0.12, 0.3, 0.5, 0.7, 0.86, 1.0)
_HUES = (288, 293, 312, 360, 398, 432, 464)
_CHROMAS = (0.022, 0.09, 0.165, 0.205, 0.19, 0.16, 0.07)
_TO_CONES = ((1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728),
             (1, -0.0894841775, -1.2914855480))  # fmt: skip
_TO_LINEAR = ((4.0767416621, -3.3077115913, 0.2309699292),
              (-1.2684380046, 2.6097574011, -0.3413193965),
              (-0.0041960863, -0.7034186147, 1.7076147010))  # fmt: skip
_HALVINGS = 20

Colours = NDArray[numpy.uint8]
Floats = NDArray[numpy.float64]


@lru_cache(maxsize=1)
def colours() -> Colours:
    """(256, 3) RGB, from silence to the loudest."""
    share = numpy.linspace(0, 1, _LEVELS)
    lightness = _LIGHTNESS[0] + (_LIGHTNESS[1] - _LIGHTNESS[0]) * share
    hue = numpy.radians(numpy.interp(share, _SHARES, _HUES))
    # As colourful as asked for, or as the screen allows without another lightness or hue.
    low, high = numpy.zeros(_LEVELS), numpy.interp(share, _SHARES, _CHROMAS)
    fits = _shown(lightness, high, hue)
    low[fits] = high[fits]
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = _shown(lightness, middle, hue)
        low, high = numpy.where(fits, middle, low), numpy.where(fits, high, middle)
    return numpy.rint(255 * _encoded(_linear(lightness, low, hue))).astype(numpy.uint8)


def background() -> tuple[int, int, int]:
    """The colour of silence, and of all around the picture."""
    red, green, blue = colours()[0].tolist()
    return red, green, blue


def _linear(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """(count, 3) linear RGB; outside 0 to 1 no screen shows it."""
    lab = numpy.stack([lightness, chroma * numpy.cos(hue), chroma * numpy.sin(hue)], -1)
    linear: Floats = (lab @ numpy.array(_TO_CONES).T) ** 3 @ numpy.array(_TO_LINEAR).T
    return linear


def _shown(lightness: Floats, chroma: Floats, hue: Floats) -> NDArray[numpy.bool_]:
    linear = _linear(lightness, chroma, hue)
    return numpy.asarray(((linear >= 0) & (linear <= 1)).all(-1))


def _encoded(linear: Floats) -> Floats:
    """IEC 61966-2-1: linear light as sRGB, both from 0 to 1."""
    linear = numpy.clip(linear, 0, 1)
    return numpy.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
