"""Pictures in rows, each with its words below, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .text import BACKGROUND, GRID, SOFT, TEXT, font, shorten, wrap

WIDTH, MARGIN = 960, 24
"""of a sheet, and around what is on it; in pixels"""
NAME, CAPTION, NOTE, LINE = 16, 16, 14, 20
"""sizes of words, and height of a line"""
LEFT, BELOW, BETWEEN = 112, 8, 18
"""room for the names of rows; above the words of a picture, and below them"""


@dataclass(frozen=True, eq=False)
class Tile:
    """A picture with its words.

    Attributes:
        picture: enlarged by whole numbers, so that its pixels stay pixels.
        caption: a line below it.
        note: a smaller line below that.
    """

    picture: Image.Image
    caption: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class TileRow:
    """Pictures beside each other; None leaves a place empty.

    Attributes:
        tiles: from left to right.
        name: at the left, in as many lines as it takes.
    """

    tiles: Sequence[Tile | None]
    name: str = ""


def tiles_height(rows: Sequence[TileRow], side: int) -> int:
    """Pixels that rows take, one below the other, without margins."""
    return sum(side + _depth(row) + BETWEEN for row in rows) - BETWEEN


def draw_tiles(sheet: Image.Image, rows: Sequence[TileRow], side: int, top: int) -> None:
    """Rows below each other, spread over the width of a sheet.

    Args:
        sheet: drawn on; ``WIDTH`` pixels wide.
        rows: at least one; the longest decides how far pictures are apart.
        side: of a picture on the sheet, in pixels; its longer side is not larger.
        top: in pixels.
    """
    pen = ImageDraw.Draw(sheet)
    left = MARGIN + (LEFT if any(row.name for row in rows) else 0)
    columns = max(len(row.tiles) for row in rows)
    apart = (sheet.width - MARGIN - side - left) / max(1, columns - 1)
    for row in rows:
        lines = wrap(row.name, NAME, LEFT - 16, 4)
        above = top + side / 2 - len(lines) * LINE / 2
        for number, line in enumerate(lines):
            pen.text((MARGIN, above + number * LINE), line, TEXT, font(NAME))
        for column, tile in enumerate(row.tiles):
            if tile is not None:
                _draw(sheet, pen, tile, round(left + column * apart), top, side, apart)
        top += side + _depth(row) + BETWEEN


def tile_sheet(rows: Sequence[TileRow], side: int = 128) -> Image.Image:
    """A sheet with nothing but rows of pictures, RGB, ``WIDTH`` pixels wide."""
    sheet = Image.new("RGB", (WIDTH, 2 * MARGIN + tiles_height(rows, side)), BACKGROUND)
    draw_tiles(sheet, rows, side, MARGIN)
    return sheet


def enlarged(picture: Image.Image, side: int) -> Image.Image:
    """The picture as large as fits: by a whole number, or scaled down where it is larger."""
    longest = max(picture.size)
    if longest > side:
        size = tuple(max(1, round(length * side / longest)) for length in picture.size)
        return picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.LANCZOS)
    factor = side // longest
    size = (picture.width * factor, picture.height * factor)
    return picture.convert("RGB").resize(size, Image.Resampling.NEAREST)


def _draw(
    sheet: Image.Image,
    pen: ImageDraw.ImageDraw,
    tile: Tile,
    left: int,
    top: int,
    side: int,
    apart: float,
) -> None:
    shown = enlarged(tile.picture, side)
    x, y = left + (side - shown.width) // 2, top + (side - shown.height) // 2
    sheet.paste(shown, (x, y))
    pen.rectangle((x - 1, y - 1, x + shown.width, y + shown.height), outline=GRID)
    room = max(side, apart - 6)
    below = top + side + BELOW
    for text, size, ink in ((tile.caption, CAPTION, TEXT), (tile.note, NOTE, SOFT)):
        if text:
            line = shorten(text, size, room)
            pen.text((left + side / 2, below), line, ink, font(size), anchor="ma")
            below += LINE


def _depth(row: TileRow) -> int:
    """Pixels that words take below the pictures of a row."""
    some = [tile for tile in row.tiles if tile is not None]
    lines = any(tile.caption for tile in some) + any(tile.note for tile in some)
    return BELOW + LINE * lines if lines else 0
