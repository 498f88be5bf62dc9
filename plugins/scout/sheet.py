"""A sheet of pictures, each with a label below it."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN = 6
NARROWEST = 144


def sheet_size(size: tuple[int, int], count: int, columns: int) -> tuple[int, int]:
    """(width, height) in pixels of the sheet that ``labelled_sheet`` makes."""
    width, height = _cell(size)
    columns = min(columns, count)
    return columns * width, -(-count // columns) * height


def labelled_sheet(
    pictures: Sequence[Image.Image], labels: Sequence[str], columns: int
) -> Image.Image:
    """Pictures row by row, small ones enlarged, each with its two-line label below.

    Args:
        pictures: of one size; at least one.
        labels: one for each, of up to two lines.
        columns: at least 1.
    """
    size = pictures[0].size
    columns = min(columns, len(pictures))
    sheet = Image.new("RGB", sheet_size(size, len(pictures), columns), "white")
    draw = ImageDraw.Draw(sheet)
    width, height = _cell(size)
    font = _font()
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = width * (index % columns), height * (index // columns)
        shown = picture.resize(_shown(size), Image.Resampling.LANCZOS)
        sheet.paste(shown, (left + MARGIN, top + MARGIN))
        below = top + 2 * MARGIN + shown.height
        draw.multiline_text((left + MARGIN, below), label, "black", font=font)
    return sheet


def _shown(size: tuple[int, int]) -> tuple[int, int]:
    """Labels need some room, so small pictures are enlarged by a whole number."""
    scale = -(-NARROWEST // size[0])
    return scale * size[0], scale * size[1]


def _cell(size: tuple[int, int]) -> tuple[int, int]:
    width, height = _shown(size)
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    label = pen.multiline_textbbox((0, 0), "Ag\nAg", font=_font())
    return width + 2 * MARGIN, height + 4 * MARGIN + round(label[3])


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(14)
