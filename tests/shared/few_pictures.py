"""A few pictures from which a word is learned."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw


def draw_few(folder: Path) -> Path:
    """Four pictures, square and wide; one is turned by its EXIF tag, one transparent."""
    folder.mkdir()
    for place, colour in enumerate(("red", "green", "blue")):
        picture = Image.new("RGB", (40, 40) if place < 2 else (40, 80), "white")
        ImageDraw.Draw(picture).ellipse((4 * place, 4, 24 + 4 * place, 30), fill=colour)
        exif = Image.Exif()
        if colour == "blue":
            exif[0x0112] = 6
        picture.save(folder / f"{colour}.png", exif=exif)
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((10, 0, 29, 39), fill="purple")
    clear.save(folder / "clear.png")
    return folder
