"""Words on a sheet: fonts, wrapping and colours that go with them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from PIL import ImageFont

TEXT, SOFT, FAINT, GRID, PANEL, BACKGROUND = (
    "#202124", "#6b6f76", "#a4a8ae", "#e7e8ea", "#f6f6f4", "#ffffff"
)  # fmt: skip
# The first six are those of M. Okabe and K. Ito, "Color Universal Design" (2002), which people
# who do not see all colours can tell apart; yellow, too faint on white, is left out.
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
    "#7b3fa0", "#8c6d31", "#c2185b", "#5f8700",
)  # fmt: skip
MORE, DOT = "...", "  ·  "
HELD = "·°"
"""beside those of ASCII, characters that Pillow's own font has"""
SPELT = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L",
     "đ": "d", "Đ": "D", "ð": "d", "þ": "th", "ı": "i", "“": '"', "”": '"', "„": '"', "«": '"',
     "»": '"', "‘": "'", "’": "'", "‚": ",", "–": "-", "—": "-", "×": "x"}
)  # fmt: skip
"""what stands for letters and marks that the font lacks, and that are no letter with an accent"""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@lru_cache(maxsize=16)
def font(size: int) -> Font:
    """Pillow's own font, in pixels."""
    return ImageFont.load_default(size)


def drawable(text: str) -> str:
    """A text in characters that the font has, as far as it can be: accents are left out.

    >>> drawable("Café “Zürich”, 熊")
    'Cafe "Zurich", 熊'
    """
    found = []
    for letter in text.translate(SPELT):
        plain = unicodedata.normalize("NFKD", letter)
        bare = "".join(part for part in plain if not unicodedata.combining(part))
        found.append(letter if letter in HELD or not bare.isascii() else bare)
    return "".join(found)


def width(text: str, size: int) -> float:
    """Of one line, in pixels."""
    return font(size).getlength(text)


def shorten(text: str, size: int, room: float) -> str:
    """The text, or as much of its beginning as there is room for, in pixels."""
    text = drawable(text)
    if width(text, size) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if width(text[:middle].rstrip() + MORE, size) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + MORE


def wrap(text: str, size: int, room: float, most: int) -> list[str]:
    """Lines of whole words, as far as they fit in the room; at most so many, the last cut.

    Args:
        text: words with spaces between them.
        size: of the font, in pixels.
        room: width of a line, in pixels.
        most: lines, at least 1.
    """
    lines: list[str] = []
    words = drawable(text).split()
    while words and len(lines) < most - 1:
        count = 1
        while count < len(words) and width(" ".join(words[: count + 1]), size) <= room:
            count += 1
        line = " ".join(words[:count])
        cut = _fitting(line, size, room)
        lines.append(line[:cut])
        words = [line[cut:]] * (cut < len(line)) + words[count:]
    if words:
        lines.append(shorten(" ".join(words), size, room))
    return lines


def join(items: Iterable[str], size: int, room: float) -> list[str]:
    """Lines of items with dots between them; no item goes over the end of a line."""
    lines: list[str] = []
    for item in map(drawable, items):
        longer = lines[-1] + DOT + item if lines else item
        if lines and width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(shorten(item, size, room))
    return lines


def colour(index: int) -> str:
    """Of the line of that number; they come again after ten."""
    return COLOURS[index % len(COLOURS)]


def _fitting(word: str, size: int, room: float) -> int:
    """Letters of a line that fit; all of them, unless it is one word longer than the room."""
    count = len(word)
    while count > 1 and width(word[:count], size) > room:
        count -= 1
    return count
