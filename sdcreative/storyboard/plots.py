"""Values over the frames, drawn with Pillow alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from PIL import Image, ImageColor, ImageDraw

from ..smoothness.plot import round_unit
from .board import Board
from .series import Line, Plot
from .text import FAINT, GRID, PANEL, SOFT, TEXT, colour, font, shorten, width

HEIGHT, GAP = 118, 30
"""of a plot, and below it; in pixels"""
HEADING, CAPTION, SMALL = 17, 15, 14
AXIS, STRIP, SCALE = 76, 38, 50
"""room left of a plot, above the first and below the last"""
LEGEND_ROWS, LONGEST = 3, 340
"""rows of a legend, and pixels of an entry"""
TINTED, DOTTED = 8, 60
"""with no more lines than the first their areas are tinted; with no more frames they have dots"""
FINE = 3
"""lines are drawn so many times larger, and scaled down: Pillow's have jagged edges"""


@dataclass(frozen=True)
class _Frame:
    """Where frames lie from left to right."""

    left: int
    right: int
    last: int

    def x(self, frame: float) -> float:
        return self.left + (self.right - self.left) * frame / max(1, self.last)


def plots_height(plots: Sequence[Plot], room: int) -> int:
    """Pixels that they take, one below the other."""
    if not plots:
        return 0
    return STRIP + sum(_height(plot, room) for plot in plots) - GAP + SCALE


def draw_plots(
    sheet: Image.Image, plots: Sequence[Plot], board: Board, left: int, top: int, right: int
) -> None:
    """Plots below each other, keyframes as vertical lines through all of them.

    Args:
        sheet: drawn on.
        plots: at least one.
        board: whose film it is, of two frames or more.
        left: in pixels, as are the others.
    """
    pen = ImageDraw.Draw(sheet)
    across = _Frame(left + AXIS, right - 12, board.length - 1)
    below = top + STRIP
    panels = []
    for plot in plots:
        heading = _legend(pen, plot, left, below, right)
        panels.append((below + heading, below + heading + HEIGHT))
        _panel(sheet, plot, board, across, below + heading, right)
        below += heading + HEIGHT + GAP
    _strip(pen, board, across, top)
    for upper, lower in panels:
        _keyframes(sheet, board, across, upper, lower)
    _scale(pen, board, across, panels[-1][1])


def _height(plot: Plot, room: int) -> int:
    rows = len(_entries(plot, room))
    return _heading(rows) + HEIGHT + GAP


def _heading(rows: int) -> int:
    return 34 + max(0, rows - 1) * 22


def _entries(plot: Plot, room: int) -> list[list[tuple[float, int, str]]]:
    """Rows of the legend: x, number of the line, and its name; what does not fit is counted."""
    named = [(i, line.name) for i, line in enumerate(plot.lines) if line.name]
    if plot.marks:
        named.append((-1, "beats"))
    start = width(plot.title, HEADING) + 28
    rows: list[list[tuple[float, int, str]]] = [[]]
    x = start
    for done, (number, name) in enumerate(named):
        text = shorten(name, CAPTION, LONGEST)
        wide = 26 + width(text, CAPTION) + 24
        if x + wide > room and rows[-1]:
            if len(rows) == LEGEND_ROWS:
                rows[-1][-1] = (rows[-1][-1][0], -2, f"and {len(named) - done + 1} more")
                break
            rows.append([])
            x = start
        rows[-1].append((x, number, text))
        x += wide
    return rows


def _legend(pen: ImageDraw.ImageDraw, plot: Plot, left: int, top: int, right: int) -> int:
    """The title, and what the lines are, beside it; returns the pixels that it takes."""
    pen.text((left, top), plot.title, TEXT, font(HEADING))
    rows = _entries(plot, right - left)
    for row, entries in enumerate(rows):
        y = top + 22 * row + 2
        for x, number, name in entries:
            if number == -1:
                pen.line([(left + x + 8, y + 2), (left + x + 8, y + 16)], FAINT, 2)
            elif number >= 0:
                pen.rounded_rectangle((left + x, y + 7, left + x + 18, y + 11), 2, colour(number))
            pen.text((left + x + 26, y), name, SOFT, font(CAPTION))
    return _heading(len(rows))


def _panel(
    sheet: Image.Image, plot: Plot, board: Board, across: _Frame, top: int, right: int
) -> None:
    """One plot: ground, grid, numbers at its left, marks and lines."""
    pen = ImageDraw.Draw(sheet)
    low, high, unit = _range(plot)

    def y(value: float) -> float:
        return HEIGHT * (1 - (value - low) / (high - low))

    edge = 8  # lines at an end of the scale are not cut in half
    box = (across.left - edge, top, right, top + HEIGHT)
    pen.rectangle(box, PANEL)
    for i in range(round((high - low) / unit) + 1):
        value = low + i * unit
        pen.line([(box[0], top + y(value)), (right, top + y(value))], GRID)
        pen.text((box[0] - 10, top + y(value)), f"{value:.4g}", SOFT, font(SMALL), anchor="rm")

    fine = Image.new(
        "RGBA", (FINE * (right - box[0]), FINE * (HEIGHT + 2 * edge)), (*_rgb(PANEL), 0)
    )
    ink = ImageDraw.Draw(fine, "RGBA")

    def place(frame: float, value: float) -> tuple[float, float]:
        return FINE * (across.x(frame) - box[0]), FINE * (y(value) + edge)

    for mark in plot.marks:
        x, ground = place(mark, low)
        ink.line([(x, place(mark, high)[1]), (x, ground)], (*_rgb(FAINT), 150), FINE)
    for number, line in enumerate(plot.lines):
        rgb = _rgb(colour(number))
        for part in _parts(line) if plot.shares else [line.points]:
            points = [place(frame, value) for frame, value in part]
            if plot.shares and len(points) > 1 and len(plot.lines) <= TINTED:
                ends = [(points[i][0], place(0, 0)[1]) for i in (-1, 0)]
                tint = Image.new("L", fine.size)
                ImageDraw.Draw(tint).polygon([*points, *ends], 26)
                fine.alpha_composite(_tinted(rgb, tint))
            ink.line(points, (*rgb, 255), round(2.2 * FINE), joint="curve")
            for px, py in points if board.length <= DOTTED else ():
                r = 2.6 * FINE
                ink.ellipse((px - r, py - r, px + r, py + r), (*rgb, 255))
    drawn = fine.resize((fine.width // FINE, fine.height // FINE), Image.Resampling.LANCZOS)
    sheet.paste(drawn, (box[0], top - edge), drawn)


def _parts(line: Line) -> Iterator[list[tuple[int, float]]]:
    """A line without those stretches where it lies on the ground, among others."""
    part: list[tuple[int, float]] = []
    for point in line.points:
        if point[1] > 0:
            part.append(point)
        elif part and part[-1][1] > 0:
            yield [*part, point]
            part = [point]
        else:
            part = [point]
    if any(value > 0 for _, value in part):
        yield part


def _tinted(rgb: tuple[int, int, int], tint: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", tint.size, (*rgb, 0))
    layer.putalpha(tint)
    return layer


def _strip(pen: ImageDraw.ImageDraw, board: Board, across: _Frame, top: int) -> None:
    """Above the plots: a diamond per keyframe, a ring per other still, with their numbers."""
    shown = {still.frame for still in board.stills}
    rings = shown - set(board.keyframes)
    free = -math.inf
    for frame in sorted({*board.keyframes, *shown}):
        x, y = across.x(frame), top + 20
        if frame in rings:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), outline=FAINT, width=2)
        else:
            diamond(pen, x, y)
        half = width(str(frame), SMALL) / 2
        if x - half >= free:
            pen.text((x, y - 9), str(frame), TEXT, font(SMALL), anchor="ms")
            free = x + half + 8


def _keyframes(sheet: Image.Image, board: Board, across: _Frame, top: int, bottom: int) -> None:
    pen = ImageDraw.Draw(sheet, "RGBA")
    for frame in board.keyframes:
        x = across.x(frame)
        for y in range(top, bottom, 8):
            pen.line([(x, y), (x, min(bottom, y + 4))], (*_rgb(TEXT), 120))


def _scale(pen: ImageDraw.ImageDraw, board: Board, across: _Frame, bottom: int) -> None:
    """Numbers of frames, and seconds, below the last plot."""
    rows = [
        ("frame", 1.0, bottom + 10, max(1.0, round_unit(board.length / 14))),
        ("seconds", board.fps, bottom + 30, round_unit(board.length / board.fps / 14)),
    ]
    for name, per_unit, y, unit in rows:
        pen.text((across.left - 18, y), name, FAINT, font(SMALL), anchor="rt")
        count = math.floor((board.length - 1) / per_unit / unit + 1e-9)
        for i in range(count + 1):
            x = across.x(i * unit * per_unit)
            pen.text((x, y), f"{i * unit:.6g}", SOFT, font(SMALL), anchor="mt")
            if name == "frame":
                pen.line([(x, bottom), (x, bottom + 5)], FAINT)


def diamond(pen: ImageDraw.ImageDraw, x: float, y: float, fill: str = TEXT) -> None:
    """The sign of a keyframe."""
    pen.polygon([(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)], fill)


def _range(plot: Plot) -> tuple[float, float, float]:
    """Lowest and highest value of the scale, and the distance of its lines."""
    if plot.shares:
        return 0.0, 1.0, 0.5
    values = [value for line in plot.lines for _, value in line.points]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    unit = round_unit((high - low) / 3)
    low, high = unit * math.floor(low / unit + 1e-9), unit * math.ceil(high / unit - 1e-9)
    return low, high, unit


def _rgb(name: str) -> tuple[int, int, int]:
    red, green, blue = ImageColor.getrgb(name)[:3]
    return red, green, blue
