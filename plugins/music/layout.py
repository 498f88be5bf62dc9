"""How long music is, and how it is cut into pictures."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from sdcreative import ModelFacts, UsageError

from .grid import fit_grid, fit_loop, pictures_needed, section_times
from .settings import MusicSettings

ROUND = 32
"""A circle in one picture is a multiple of it, so that every depth of a U-Net closes."""
SHARED = 8
"""Pictures that do not go on from one another share an eighth of their width."""


@dataclass(frozen=True)
class Layout:
    """Pictures of music, one after another.

    Attributes:
        width: columns of a picture.
        overlap: columns that it shares with the one before; in a circle the first with the last.
        pictures: how many.
        columns: that are heard.
        stretch: columns heard per column made.
        tempo: beats per minute of what is heard, None if nothing says.
        step: seconds of a column.
        loop: whether it is a circle.
    """

    width: int
    overlap: int
    pictures: int
    columns: int
    stretch: float
    tempo: float | None
    step: float
    loop: bool

    @property
    def hop(self) -> int:
        """Columns from the beginning of a picture to the next."""
        return self.width - self.overlap

    @property
    def beats_per_minute_made(self) -> float | None:
        """The tempo before it is stretched."""
        return None if self.tempo is None else self.tempo * self.stretch

    def middle(self, number: int) -> float:
        """Seconds, as heard, of the middle of what a picture adds to those before it."""
        start = number * self.hop + (self.overlap if number else 0)
        return (start + number * self.hop + self.width) / 2 * self.step * self.stretch


def lay_out(settings: MusicSettings, facts: ModelFacts, width: int, columns: int | None) -> Layout:
    """Cut music into pictures.

    Args:
        settings: how long it is, and how its pictures are joined.
        facts: of the model.
        width: of a picture.
        columns: of the sound that it is made from; None if it is made anew.

    Raises:
        UsageError: a length or tempo that no pictures fit.
    """
    step_ms = facts.spectrogram.step_ms
    tempo = settings.tempo
    if columns is not None:
        overlap = _multiple(width / (SHARED if settings.morph_to else 4), facts.multiple)
        count = pictures_needed(columns, width, overlap)
        return Layout(width, overlap, count, columns, 1.0, tempo, step_ms / 1000, False)
    seconds = song_seconds(settings) or (width - 1) * step_ms / 1000
    if settings.loop:
        return _circle(settings, facts, width, seconds)
    heard = 1 + round(seconds * 1000 / step_ms)
    walking = settings.join == "walk"
    if tempo is not None:
        grid = fit_grid(
            tempo=tempo,
            step_ms=step_ms,
            multiple=facts.multiple,
            width=width,
            beats_per_bar=settings.beats_per_bar,
            overlap_share=0.25 if walking else 0.5,
        )
        overlap, stretch = grid.overlap, grid.stretch
    else:
        overlap = _multiple(width / (SHARED if walking else 2), facts.multiple)
        stretch = 1.0
    count = pictures_needed(ceil(heard / stretch), width, overlap)
    return Layout(width, overlap, count, heard, stretch, tempo, step_ms / 1000, False)


def song_seconds(settings: MusicSettings) -> float:
    """Seconds that the settings say; 0 if they do not."""
    if settings.sections is None:
        return settings.span
    return times_of(settings)[-1][1]


def times_of(settings: MusicSettings) -> list[tuple[float, float]]:
    """Seconds at which the sections begin and end."""
    named = [
        (one.name or f"{number}", one.bars, one.beats, one.seconds)
        for number, one in enumerate(settings.sections or [], 1)
    ]
    return section_times(named, settings.tempo, settings.beats_per_bar)


def _circle(settings: MusicSettings, facts: ModelFacts, width: int, seconds: float) -> Layout:
    tempo = settings.tempo or 60.0
    step_ms = facts.spectrogram.step_ms
    ring = fit_loop(
        tempo=tempo,
        beats=seconds * tempo / 60,
        step_ms=step_ms,
        multiple=facts.multiple,
        width=width,
        alone=max(ROUND, facts.multiple),
    )
    return Layout(
        ring.hop + ring.overlap,
        ring.overlap,
        ring.pictures,
        ring.columns_heard,
        ring.stretch,
        None if settings.tempo is None else ring.tempo,
        step_ms / 1000,
        True,
    )


def _multiple(columns: float, multiple: int) -> int:
    return max(multiple, round(columns / multiple) * multiple)


def picture_size(settings: MusicSettings, facts: ModelFacts) -> tuple[int, int]:
    """(width, height) of a picture.

    Raises:
        UsageError: a height that is not that of the bands.
    """
    width, height = settings.size or facts.size
    bands = facts.spectrogram.bands
    if height != bands:
        if settings.size is not None:
            raise UsageError(
                f"size {width}x{height}: {settings.model} has {bands} bands, a row each"
            )
        raise UsageError(
            f"model {settings.model!r} makes pictures {height} pixels high, and no spectrograms; "
            f"use riff, or a model that makes them {bands} high, such as Riffusion's"
        )
    if width % facts.multiple:
        raise UsageError(
            f"size {width}x{height}: give a width that is a multiple of {facts.multiple}"
        )
    return width, height
