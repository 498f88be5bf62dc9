"""Curves of ``growth.py`` on one sheet, both axes logarithms, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from sdcreative.storyboard.text import BACKGROUND, GRID, PANEL, SOFT, TEXT, colour, font, width

PANEL_SIZE, COLUMNS = (520, 330), 2
LEFT, RIGHT, TOP, BOTTOM = 70, 18, 58, 50
TITLE, WORDS, NUMBERS = 17, 14, 13
DASHES = 90
Curve = Sequence[tuple[float, float]]


def draw_sheet(
    curves: Mapping[str, Sequence[tuple[float, Mapping[str, float]]]], units: Mapping[str, str]
) -> Image.Image:
    """Seconds of the processor, and MiB at the peak, of every curve; dashes rise linearly.

    Args:
        curves: title -> points (x, figures); figures hold cpu and peak.
        units: title -> what x counts.

    Returns:
        RGB, a panel for every title.
    """
    rows = -(-len(curves) // COLUMNS)
    sheet = Image.new("RGB", (PANEL_SIZE[0] * COLUMNS, PANEL_SIZE[1] * rows), BACKGROUND)
    for number, (title, points) in enumerate(curves.items()):
        row, column = divmod(number, COLUMNS)
        lines = {
            "CPU, s": [(x, max(one["cpu"], 1e-3)) for x, one in points],
            "peak, MiB": [(x, one["peak"]) for x, one in points],
        }
        panel = draw_panel(title, units[title], lines)
        sheet.paste(panel, (column * PANEL_SIZE[0], row * PANEL_SIZE[1]))
    return sheet


def draw_panel(
    title: str,
    across: str,
    curves: Mapping[str, Curve],
    size: tuple[int, int] = PANEL_SIZE,
    through: int = -1,
) -> Image.Image:
    """One plot on logarithmic axes, with a dashed line that rises linearly.

    Args:
        title: above it.
        across: what x is.
        curves: name -> points in order, all above 0.
        size: (width, height) in pixels.
        through: which point of the first curve the dashed line goes through.

    Returns:
        RGB, of that size.
    """
    picture = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(picture)
    left, top, right, bottom = LEFT, TOP, size[0] - RIGHT, size[1] - BOTTOM
    xs = [math.log10(x) for points in curves.values() for x, _ in points]
    ys = [math.log10(y) for points in curves.values() for _, y in points]
    x0, x1 = min(xs), max(max(xs), min(xs) + 0.1)
    y0, y1 = math.floor(min(ys)), math.ceil(max(max(ys), math.floor(min(ys)) + 1))

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (math.log10(x) - x0) / (x1 - x0),
            top + (bottom - top) * (1 - (math.log10(y) - y0) / (y1 - y0)),
        )

    pen.text((left, 8), title, TEXT, font(TITLE))
    pen.rectangle((left, top, right, bottom), PANEL)
    for power in range(y0, y1 + 1):
        y = place(10**x0, 10.0**power)[1]
        pen.line([(left, y), (right, y)], GRID)
        pen.text((left - 8, y), short(10.0**power), SOFT, font(NUMBERS), anchor="rm")
    free = left
    for x in sorted({x for points in curves.values() for x, _ in points}):
        at = place(x, 10.0**y0)[0]
        room = width(short(x), NUMBERS) / 2
        if at - room >= free - room or at == left:
            pen.line([(at, bottom), (at, bottom + 4)], SOFT)
            pen.text((at, bottom + 7), short(x), SOFT, font(NUMBERS), anchor="mt")
            free = at + 2 * room + 8
    pen.text(((left + right) / 2, size[1] - 6), across, SOFT, font(WORDS), anchor="mb")
    x, y = next(iter(curves.values()))[through]
    ends = [place(each, y * each / x) for each in (10**x0, 10**x1)]
    _dashes(pen, ends, (top, bottom))
    legend = left
    for number, (name, points) in enumerate(curves.items()):
        hue = colour(number)
        pen.line([place(*point) for point in points], hue, 3, joint="curve")
        for point in points:
            x, y = place(*point)
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), hue)
        pen.line([(legend, 44), (legend + 18, 44)], hue, 4)
        pen.text((legend + 24, 44), name, SOFT, font(WORDS), anchor="lm")
        legend += round(width(name, WORDS)) + 52
    return picture


def _dashes(
    pen: ImageDraw.ImageDraw, ends: Sequence[tuple[float, float]], rows: tuple[int, int]
) -> None:
    """A dashed line as far as it lies between two rows."""
    (ax, ay), (bx, by) = ends
    for i in range(0, DASHES, 2):
        line = [(ax + (bx - ax) * j / DASHES, ay + (by - ay) * j / DASHES) for j in (i, i + 1)]
        if all(rows[0] <= y <= rows[1] for _, y in line):
            pen.line(line, SOFT, 1)


def short(value: float) -> str:
    """A number in few letters.

    >>> short(1000), short(0.01), short(262144), short(1_000_000)
    ('1k', '0.01', '262k', '1M')
    """
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{letter}"
    return f"{value:.3g}"
