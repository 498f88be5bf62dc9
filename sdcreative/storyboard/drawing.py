"""A storyboard as a picture: heading, stills with what they are made from, and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .board import Board, Still
from .plots import diamond, draw_plots, plots_height
from .series import Plot
from .text import (
    BACKGROUND,
    FAINT,
    GRID,
    PANEL,
    SOFT,
    TEXT,
    colour,
    font,
    join,
    shorten,
    wrap,
)

WIDTH, MARGIN, GAP, BETWEEN_ROWS = 1600, 56, 24, 34
TALLEST, LEAST_COLUMNS, COLUMNS = 360, 4, 6
"""height of a still, in pixels; stills in a row"""
TITLE, SUBTITLE, NUMBER, PROMPT, SMALL = 36, 18, 19, 17, 15
LINE = 22
ABOVE_PLOTS = 24
SEEDS_SHOWN = 3
LEAST_SHARE = 0.005
"""smaller ones would be 0 %"""


@dataclass(frozen=True)
class _Word:
    """A line of text in a cell."""

    text: str
    size: int
    colour: str
    chip: str | None = None
    indent: int = 0
    above: int = 0


def draw_board(
    board: Board,
    pictures: Sequence[Image.Image | None],
    title: str,
    subtitle: str,
    sound: Plot | None = None,
) -> Image.Image:
    """The sheet.

    Args:
        board: what it shows.
        pictures: one per still; None where it cannot be shown yet.
        title: of the film.
        subtitle: what else there is to say of it, on a line of its own.
        sound: of the film, if it has any; the last plot.

    Returns:
        RGB, 1600 pixels wide and as high as it takes.
    """
    plots = [*board.plots, *([sound] if sound else [])] if board.length > 1 else []
    cells = _Cells(board, pictures)
    inside = WIDTH - 2 * MARGIN
    facts = join(board.facts, SUBTITLE, inside)
    top = MARGIN + 52 + 28 * (1 + len(facts)) + 24
    middle = top + cells.height
    height = middle + MARGIN
    if plots:
        height += ABOVE_PLOTS + plots_height(plots, inside) - MARGIN // 3
    sheet = Image.new("RGB", (WIDTH, height), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, MARGIN - 10), shorten(title, TITLE, inside), TEXT, font(TITLE))
    y = MARGIN + 46
    for line in (shorten(subtitle, SUBTITLE, inside), *facts):
        pen.text((MARGIN, y), line, SOFT, font(SUBTITLE))
        y += 28
    cells.draw(sheet, top)
    if plots:
        pen.line([(MARGIN, middle), (WIDTH - MARGIN, middle)], GRID)
        draw_plots(sheet, plots, board, MARGIN, middle + ABOVE_PLOTS, WIDTH - MARGIN)
    return sheet


class _Cells:
    """Stills in rows, each with its words below."""

    def __init__(self, board: Board, pictures: Sequence[Image.Image | None]) -> None:
        self.board, self.pictures = board, pictures
        count = len(pictures)
        rows = -(-count // COLUMNS)
        self.columns = max(LEAST_COLUMNS, -(-count // rows))
        self.width = (WIDTH - 2 * MARGIN - GAP * (self.columns - 1)) // self.columns
        self.shown = self._fitted()
        numbers = {
            line.name: i
            for plot in board.plots
            if plot.title == "prompts"
            for i, line in enumerate(plot.lines)
        }
        self._chips = {name: colour(i) for name, i in numbers.items()}
        self._several = bool(numbers)
        self.words = [self._words(still) for still in board.stills]
        self.heights = [
            max(self._depth(words) for words in self.words[i : i + self.columns])
            for i in range(0, count, self.columns)
        ]

    @property
    def height(self) -> int:
        rows = len(self.heights)
        return sum(self.heights) + rows * self.shown[1] + rows * BETWEEN_ROWS

    def draw(self, sheet: Image.Image, top: int) -> None:
        for number, still in enumerate(self.board.stills):
            row, column = divmod(number, self.columns)
            x = MARGIN + column * (self.width + GAP)
            y = top + sum(self.heights[:row]) + row * (self.shown[1] + BETWEEN_ROWS)
            self._cell(sheet, still, self.pictures[number], self.words[number], x, y)

    def _cell(
        self,
        sheet: Image.Image,
        still: Still,
        picture: Image.Image | None,
        words: Sequence[_Word],
        x: int,
        y: int,
    ) -> None:
        pen = ImageDraw.Draw(sheet)
        wide, high = self.shown
        if picture is None:
            pen.rectangle((x, y, x + wide - 1, y + high - 1), PANEL, GRID)
            lines = ["not rendered yet:", "it follows from the", "frames before it"]
            text = "\n".join(shorten(line, SMALL, wide - 12) for line in lines)
            centre = (x + wide / 2, y + high / 2)
            pen.multiline_text(centre, text, SOFT, font(SMALL), anchor="mm", align="center")
        else:
            sheet.paste(picture.convert("RGB").resize(self.shown, Image.Resampling.LANCZOS), (x, y))
            pen.rectangle((x - 1, y - 1, x + wide, y + high), outline=GRID)
        y += high + 12
        left = x
        if still.keyframe:
            diamond(pen, x + 5, y + 12)
        else:
            pen.ellipse((x + 1, y + 8, x + 9, y + 16), outline=FAINT, width=2)
        left += 18
        pen.text((left, y), str(still.frame), TEXT, font(NUMBER))
        if not self.board.sheet:
            seconds = f"{still.frame / self.board.fps:.2f} s"
            pen.text((x + self.shown[0], y + 2), seconds, SOFT, font(SMALL), anchor="ra")
        y += 30
        for word in words:
            if word.chip is not None:
                pen.rounded_rectangle((x, y + 4, x + 10, y + 14), 3, word.chip)
            y += word.above
            pen.text((x + word.indent, y), word.text, word.colour, font(word.size))
            y += LINE

    def _fitted(self) -> tuple[int, int]:
        """(width, height) in which stills are shown."""
        some = next((picture for picture in self.pictures if picture is not None), None)
        wide, high = some.size if some is not None else (1, 1)
        scale = min(self.width / wide, TALLEST / high)
        return max(1, round(scale * wide)), max(1, round(scale * high))

    @staticmethod
    def _depth(words: Sequence[_Word]) -> int:
        return 12 + 30 + sum(LINE + word.above for word in words)

    def _words(self, still: Still) -> list[_Word]:
        """Prompts with their shares, then what else the still is made from."""
        found: list[_Word] = []
        indent = 18 if self._several else 0
        prompts = shown_shares(still.prompts)
        mixed = len(prompts) > 1
        for name, share in prompts.items():
            text = f"{100 * share:.0f} %  {name}" if mixed else name
            chip = self._chips.get(name, FAINT) if self._several else None
            lines = wrap(text, PROMPT, self.width - indent, 2 if mixed else 4)
            for i, line in enumerate(lines):
                found.append(_Word(line, PROMPT, TEXT, None if i else chip, indent))
        for i, line in enumerate(join(self._details(still), SMALL, self.width)):
            found.append(_Word(line, SMALL, SOFT, above=0 if i else 4))
        return found

    @staticmethod
    def _details(still: Still) -> list[str]:
        return [*seed_words(still.seeds), f"guidance {still.shot.guidance_scale:.3g}"] + (
            [f"strength {still.shot.strength:.3g}"] if still.shot.image is not None else []
        )


def shown_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Those that are more than nothing when they are rounded to percents."""
    return {name: share for name, share in shares.items() if share >= LEAST_SHARE}


def seed_words(shares: Mapping[str, float]) -> list[str]:
    """Where noise comes from, the largest shares first.

    >>> seed_words({"seed 3": 0.25, "seed 8": 0.75})
    ['75 % seed 8', '25 % seed 3']
    """
    shown = shown_shares(shares)
    if len(shown) == 1:
        return list(shown)
    largest = sorted(shown, key=lambda name: -shown[name])
    words = [f"{100 * shown[name]:.0f} % {name}" for name in largest[:SEEDS_SHOWN]]
    more = len(largest) - SEEDS_SHOWN
    return [*words, f"{more} others"] if more > 0 else words
