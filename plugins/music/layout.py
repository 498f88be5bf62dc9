"""How long music is, and how it is cut into pictures."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from sdcreative import UsageError

from .grid import (
    LONGEST_LOOP,
    SHORTEST_LOOP,
    fit_grid,
    fit_loop,
    pictures_needed,
    section_times,
)
from .settings import LONGEST, MusicSettings

if TYPE_CHECKING:
    from sdcreative import ModelFacts

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
        """Seconds, as heard, of the middle of what a picture adds to the others."""
        start = number * self.hop + (self.overlap if number else 0)
        end = number * self.hop + self.width
        if self.loop and number == self.pictures - 1:
            end -= self.overlap  # there, it is the first one
        return (start + end) / 2 * self.step * self.stretch


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
    params, tempo = facts.spectrogram, settings.tempo
    seconds = song_seconds(settings)
    if settings.loop:
        return _circle(settings, facts, width, seconds)
    walking = settings.join == "walk"
    stretch = 1.0
    if columns is not None:
        overlap = _multiple(width / (SHARED if settings.morph_to else 4), facts.multiple)
    elif tempo is not None:
        grid = fit_grid(
            tempo=tempo,
            step_ms=params.step_ms,
            multiple=facts.multiple,
            width=width,
            beats_per_bar=settings.bar,
            overlap_share=0.25 if walking else 0.5,
        )
        overlap, stretch = grid.overlap, grid.stretch
    else:
        overlap = _multiple(width / (SHARED if walking else 2), facts.multiple)
    if columns is not None:
        heard = columns
    elif seconds is not None:
        heard = 1 + round(seconds * 1000 / params.step_ms)
    else:
        heard = int(width * stretch)
    least = params.window_ms // params.step_ms // 2 + 3  # half a window is heard at each end
    if heard < least:
        said = params.seconds(heard) if columns is not None or seconds is None else seconds
        raise UsageError(
            f"{said:g} s of music is too short; give at least {params.seconds(least):g} s"
        )
    count = pictures_needed(ceil(heard / stretch), width, overlap)
    return Layout(width, overlap, count, heard, stretch, tempo, params.step_ms / 1000, False)


def song_seconds(settings: MusicSettings) -> float | None:
    """Seconds that the settings say; None if they do not.

    Raises:
        UsageError: more than can be.
    """
    seconds = settings.span if settings.sections is None else times_of(settings)[-1][1]
    if seconds is not None and seconds > LONGEST:
        raise UsageError(f"{seconds:g} s of music; up to {LONGEST} are made at a time")
    return seconds


def times_of(settings: MusicSettings) -> list[tuple[float, float]]:
    """Seconds at which the sections begin and end."""
    named = [
        (one.name or f"{number}", one.bars, one.beats, one.seconds)
        for number, one in enumerate(settings.sections or [], 1)
    ]
    return section_times(named, settings.tempo, settings.bar)


def _circle(
    settings: MusicSettings, facts: ModelFacts, width: int, seconds: float | None
) -> Layout:
    step_ms, tempo = facts.spectrogram.step_ms, settings.tempo
    if seconds is None:
        seconds = width * step_ms / 1000
        if tempo is not None:
            bar = settings.bar * 60 / tempo
            seconds = max(1, round(seconds / bar)) * bar
    if not SHORTEST_LOOP <= round(seconds * 1000 / step_ms) <= LONGEST_LOOP:
        shortest, longest = (n * step_ms / 1000 for n in (SHORTEST_LOOP, LONGEST_LOOP))
        raise UsageError(f"a loop of {seconds:g} s; give {shortest:g} to {longest:g} s")
    ring = fit_loop(
        tempo=tempo or 60,
        beats=seconds * (tempo or 60) / 60,
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
        None if tempo is None else ring.tempo,
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
    if width % facts.multiple or width < 2 * facts.multiple:
        raise UsageError(
            f"size {width}x{height}: give a width that is a multiple of {facts.multiple}, at least "
            f"{2 * facts.multiple}"
        )
    return width, height
