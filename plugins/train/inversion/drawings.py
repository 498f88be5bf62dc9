"""Drawings of a toy that the built-in model was never shown: a smiling sun of simple shapes.

Drawn here, so that something can be learned on a machine that has no pictures at all.
"""

from __future__ import annotations

from math import cos, pi, sin

from PIL import Image, ImageDraw

SIZE = 64
_SCALE = 4
_POINTS = 12
_TURNS = ((0, 0, 0, 0.96), (-7, 2, -1, 0.9), (6, -2, 1, 0.9), (0, 1, 2, 0.82), (-3, -1, -2, 0.86))
"""degrees, shift to the right and down in pixels, size"""


def draw_toy(count: int) -> list[Image.Image]:
    """Pictures of the toy, RGBA, 64 pixels, each held and placed in another way.

    Args:
        count: 1 to 5.
    """
    return [_draw(*turn) for turn in _TURNS[:count]]


def _draw(degrees: float, right: float, down: float, size: float) -> Image.Image:
    side = SIZE * _SCALE
    canvas = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    _toy(ImageDraw.Draw(canvas))
    small = canvas.rotate(degrees, Image.Resampling.BICUBIC).resize(
        (round(side * size),) * 2, Image.Resampling.LANCZOS
    )
    placed = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    room = (side - small.width) // 2
    placed.alpha_composite(small, (room + round(right * _SCALE), room + round(down * _SCALE)))
    return placed.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _toy(pen: ImageDraw.ImageDraw) -> None:
    """256 x 256: a smiling sun with twelve points."""
    yellow, orange, brown, blush = "#ffcc33", "#f08c2e", "#5a3010", "#ff9a5c"
    for number in range(_POINTS):
        turn = 2 * pi * number / _POINTS
        pen.polygon([_at(84, turn - 0.2), _at(126, turn), _at(84, turn + 0.2)], fill=orange)
    pen.ellipse((42, 42, 214, 214), fill=yellow)
    for x in (88, 144):
        pen.ellipse((x, 94, x + 24, 124), fill=brown)
    pen.arc((80, 96, 176, 180), 25, 155, fill=brown, width=12)
    for x in (58, 166):
        pen.ellipse((x, 134, x + 32, 158), fill=blush)


def _at(radius: float, turn: float) -> tuple[float, float]:
    """A point about the middle of the drawing."""
    return 128 + radius * cos(turn), 128 + radius * sin(turn)
