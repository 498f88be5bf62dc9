"""Curves for docs/how-it-works.md, drawn with Pillow alone in the style of storyboards."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw

from sdcreative.smoothness.plot import round_unit
from sdcreative.storyboard.text import FAINT, GRID, PANEL, SOFT, TEXT, colour, font, width

TITLE, WORDS, NUMBERS = 17, 15, 14
AXIS, HEADING, SCALE = 44, 30, 46
"""room at the left of a plot for numbers, above it for the title, below it for the scale"""
FINE = 3
"""lines are drawn so many times larger, and scaled down: Pillow's have jagged edges"""


@dataclass(frozen=True)
class Curve:
    """A line with its name.

    Attributes:
        points: (x, y) in order.
        dotted: x of points that get a dot.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dotted: Sequence[float] = ()


@dataclass(frozen=True)
class Axes:
    """A plot.

    Attributes:
        title: above it.
        across: what x is.
        curves: at least one.
        low, high: of y.
    """

    title: str
    across: str
    curves: Sequence[Curve]
    low: float = 0.0
    high: float = 1.0


def draw_axes(sheet: Image.Image, axes: Axes, box: tuple[int, int, int, int]) -> None:
    """Draw a plot with title, legend and scales into a box: left, top, right, bottom."""
    left, top, right, bottom = box[0] + AXIS, box[1] + HEADING, box[2], box[3] - SCALE
    pen = ImageDraw.Draw(sheet)
    pen.text((box[0], box[1]), axes.title, TEXT, font(TITLE))
    legend = right
    for number, curve in reversed(list(enumerate(axes.curves))):
        legend -= round(width(curve.name, WORDS))
        pen.text((legend, box[1] + 2), curve.name, SOFT, font(WORDS))
        pen.rounded_rectangle((legend - 26, box[1] + 9, legend - 8, box[1] + 13), 2, colour(number))
        legend -= 44
    xs = [x for curve in axes.curves for x, _ in curve.points]
    first, last = min(xs), max(xs)

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (x - first) / (last - first),
            top + (bottom - top) * (1 - (y - axes.low) / (axes.high - axes.low)),
        )

    pen.rectangle((left, top, right, bottom), PANEL)
    unit = round_unit((axes.high - axes.low) / 5)
    for i in range(math.floor((axes.high - axes.low) / unit + 1e-9) + 1):
        value = axes.low + i * unit
        y = place(first, value)[1]
        pen.line([(left, y), (right, y)], GRID)
        pen.text((left - 8, y), f"{value:.4g}", SOFT, font(NUMBERS), anchor="rm")
    apart = round_unit((last - first) / 10)
    for i in range(math.floor((last - first) / apart + 1e-9) + 1):
        x = place(first + i * apart, axes.low)[0]
        pen.line([(x, bottom), (x, bottom + 5)], FAINT)
        pen.text((x, bottom + 9), f"{first + i * apart:.4g}", SOFT, font(NUMBERS), anchor="mt")
    pen.text(((left + right) / 2, box[3]), axes.across, SOFT, font(WORDS), anchor="mb")
    _lines(sheet, axes, place, (left, top, right, bottom))


def _lines(
    sheet: Image.Image,
    axes: Axes,
    place: Callable[[float, float], tuple[float, float]],
    box: tuple[int, int, int, int],
) -> None:
    edge = 8
    left, top = box[0] - edge, box[1] - edge
    size = (box[2] - box[0] + 2 * edge, box[3] - box[1] + 2 * edge)
    paper = (*ImageColor.getrgb(PANEL)[:3], 0)
    fine = Image.new("RGBA", (FINE * size[0], FINE * size[1]), paper)
    ink = ImageDraw.Draw(fine, "RGBA")

    def on_fine(x: float, y: float) -> tuple[float, float]:
        px, py = place(x, y)
        return FINE * (px - left), FINE * (py - top)

    for number, curve in enumerate(axes.curves):
        hue = colour(number)
        ink.line([on_fine(*point) for point in curve.points], hue, round(2.2 * FINE), joint="curve")
        for x, y in curve.points:
            if x in curve.dotted:
                px, py = on_fine(x, y)
                r = 4 * FINE
                ink.ellipse((px - r, py - r, px + r, py + r), hue)
    drawn = fine.resize(size, Image.Resampling.LANCZOS)
    sheet.paste(drawn, (left, top), drawn)
