"""Drawings of a toy that is not in the data of any model: a monster of simple shapes.

Drawn here, so that something can be learned on a machine that has no pictures at all.
"""

from __future__ import annotations

from PIL import Image, ImageDraw

SIZE = 64
_SCALE = 4
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
    """256 x 256: round and purple, with one eye, a pale belly, yellow horns and feet."""
    dark, purple, pale, yellow, teal = "#241a38", "#7d3fc8", "#d9b8ff", "#ffc928", "#19b5a5"
    pen.polygon([(62, 84), (44, 16), (112, 52)], fill=yellow)
    pen.polygon([(194, 84), (212, 16), (144, 52)], fill=yellow)
    for x in (64, 136):
        pen.ellipse((x, 208, x + 56, 248), fill=yellow)
    pen.ellipse((36, 38, 220, 232), fill=purple)
    pen.ellipse((76, 150, 180, 224), fill=pale)
    pen.ellipse((82, 62, 174, 154), fill="white")
    pen.ellipse((104, 84, 152, 132), fill=teal)
    pen.ellipse((116, 96, 140, 120), fill=dark)
    pen.arc((100, 146, 156, 190), 20, 160, fill=dark, width=8)
