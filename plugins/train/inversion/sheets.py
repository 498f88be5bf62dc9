"""The sheet of a look: a row for each seed, a column for each thing asked for."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

LEAST_WIDTH = 128
"""of a column in pixels, so that its title can be read; small pictures are enlarged"""
LINE, MARGIN = 13, 4


def draw_sheet(titles: Sequence[str], columns: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Pictures in columns under their titles.

    Args:
        titles: one for each column.
        columns: as many pictures in each, all of one size.
    """
    width, height = columns[0][0].size
    times = -(-LEAST_WIDTH // width)
    width, height = width * times, height * times
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    font = ImageFont.load_default()
    lines = [_broken(title, width - 2 * MARGIN, pen, font) for title in titles]
    top = LINE * max(map(len, lines)) + 2 * MARGIN
    sheet = Image.new("RGB", (width * len(columns), top + height * len(columns[0])), "white")
    pen = ImageDraw.Draw(sheet)
    for column, (said, pictures) in enumerate(zip(lines, columns, strict=True)):
        for row, line in enumerate(said):
            pen.text((column * width + MARGIN, MARGIN + row * LINE), line, "black", font)
        for row, picture in enumerate(pictures):
            shown = picture.resize((width, height), Image.Resampling.NEAREST)
            sheet.paste(shown, (column * width, top + row * height))
    return sheet


def _broken(text: str, width: int, pen: ImageDraw.ImageDraw, font: object) -> list[str]:
    """A text in lines of at most so many pixels; a longer word has a line of its own."""
    # The font that Pillow brings has no signs beyond Latin-1 in its older form.
    shown = text.encode("latin-1", "replace").decode("latin-1")
    lines: list[str] = []
    for word in shown.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and pen.textlength(longer, font) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines or [""]
