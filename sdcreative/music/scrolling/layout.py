"""Where everything is in a scrolling spectrogram: lanes, playhead, overview and labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ...errors import UsageError
from ...spectral.params import SpectrogramParams

SMALLEST, LARGEST = (160, 90), 8192
FPS = (1, 240)
_SHORT_SIDE = 720
"""pixels of the shorter side for which the lengths below are given"""
_TEXT = 19
LEAST_TEXT = 9
"""below it, letters are no longer read"""
_PADDING, _GAP, _OVERVIEW, _LINE = 20, 6, 34, 2
_SPEED = 0.27
"""pixels per second, as a share of the side of a square of the same area: some four seconds"""
_APART = 2.1
"""from one label to the next, in heights of their letters"""
_PLAYHEAD = 3
"""the playhead is after one of so many parts of the width"""
_HERTZ = (1000, 100, 10_000, 5000, 200, 2000, 500, 20_000, 50, 20)
"""what is labelled; the first ones take their room before the others"""
_MORE_HERTZ = tuple(first * 10**zeros for zeros in (1, 2, 3, 4) for first in (3, 4, 6, 7, 8, 9))
"""what is labelled where less than two of the others are seen"""


@dataclass(frozen=True)
class Lane:
    """The rows of one channel: from ``top``, ``height`` of them."""

    top: int
    height: int


@dataclass(frozen=True)
class Label:
    """A frequency at the side of a lane.

    Attributes:
        said: such as "500 Hz" or "2 kHz".
        y: where it is, in pixels from the lane's top.
        middle: of the letters, which keep inside the lane.
    """

    said: str
    y: float
    middle: float


@dataclass(frozen=True)
class Layout:
    """Lengths and places, in pixels.

    Attributes:
        size: (width, height) of the picture.
        rate: frames per second.
        step: by which the spectrogram moves from frame to frame: whole pixels, so that every
            frame shows the same ones, and nothing trembles or blurs.
        lanes: of the channels, the first on top.
        ground: where the lanes end.
        playhead: distance of what is heard from the left.
        text: height of letters.
        padding: around what is not spectrogram.
        overview: height of the sketch of the whole.
        line: width of the playhead.
    """

    size: tuple[int, int]
    rate: Fraction
    step: int
    lanes: tuple[Lane, ...]
    ground: int
    playhead: int
    text: int
    padding: int
    overview: int
    line: int

    @property
    def speed(self) -> Fraction:
        """Pixels per second."""
        return self.step * self.rate

    def scaled(self, length: float) -> int:
        """A length that is given for a picture 720 pixels high; at least 1."""
        return max(1, round(length * min(self.size) / _SHORT_SIDE))


def lay_out(size: tuple[int, int], rate: Fraction, channels: int) -> Layout:
    """Divide a picture.

    Args:
        size: (width, height).
        rate: frames per second.
        channels: 1 or 2.

    Raises:
        UsageError: a size that is odd, too small or too large, or a frame rate out of range.
    """
    _check_size(size)
    if not FPS[0] <= rate <= FPS[1]:
        raise UsageError(
            f"fps is {float(rate):g}; a scrolling spectrogram takes from {FPS[0]} to {FPS[1]}"
        )
    width, height = size
    scale = min(size) / _SHORT_SIDE
    text = max(LEAST_TEXT, round(_TEXT * scale))
    padding = max(3, round(_PADDING * scale))
    overview = max(text, round(_OVERVIEW * scale))
    ground = height - overview - 2 * padding
    gap = max(2, round(_GAP * scale))
    each = (ground - gap * (channels - 1)) // channels
    tops = [ground - each - (each + gap) * below for below in reversed(range(channels))]
    lanes = tuple(Lane(top, each) for top in tops)
    step = max(1, round(_SPEED * math.sqrt(width * height) / rate))
    line = max(1, round(_LINE * scale))
    return Layout(
        size, rate, step, lanes, ground, width // _PLAYHEAD, text, padding, overview, line
    )


def _check_size(size: tuple[int, int]) -> None:
    given = f"size {size[0]}x{size[1]}"
    if size[0] < SMALLEST[0] or size[1] < SMALLEST[1] or max(size) > LARGEST:
        raise UsageError(
            f"{given}: a scrolling spectrogram takes from {SMALLEST[0]}x{SMALLEST[1]} to "
            f"{LARGEST}x{LARGEST}"
        )
    if size[0] % 2 or size[1] % 2:
        nearest = "x".join(str(side + side % 2) for side in size)
        raise UsageError(f"{given}: H.264 takes even sizes only; give {nearest}")


def height_of(hertz: float, params: SpectrogramParams) -> float:
    """How high a frequency is, 0 at the bottom of the lowest row and 1 at the top of the highest.

    Args:
        hertz: within the corners of the lowest and highest band.
        params: the bands, whose tops are in the middle of their rows.
    """
    corners = params.corners()
    above = next((i for i, corner in enumerate(corners) if corner >= hertz), len(corners) - 1)
    below = max(above - 1, 0)
    apart = corners[above] - corners[below]
    # Corner i is the top of band i - 1, in the middle of whose row it is.
    place = below + ((hertz - corners[below]) / apart if apart else 0)
    return (place - 0.5) / params.bands


def frequency_labels(params: SpectrogramParams, lane: Lane, layout: Layout) -> list[Label]:
    """Round frequencies along a lane, from the top; as many as have room."""
    apart = _APART * layout.text
    found: list[Label] = []
    for hertz in (*_HERTZ, *_MORE_HERTZ):
        if len(found) > 1 and hertz in _MORE_HERTZ:
            break
        if not params.min_hz <= hertz <= params.max_hz:
            continue
        y = lane.height * (1 - height_of(hertz, params))
        middle = max(y, apart / 2)
        inside = middle <= lane.height - apart / 2
        if inside and all(abs(middle - other.middle) >= apart for other in found):
            found.append(Label(_frequency(hertz), y, middle))
    return sorted(found, key=lambda label: label.y)


def _frequency(hertz: int) -> str:
    return f"{hertz} Hz" if hertz < 1000 else f"{hertz // 1000} kHz"


def clock(seconds: float) -> str:
    """A time as players show it.

    >>> clock(83.9), clock(3600)
    ('1:23', '1:00:00')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
