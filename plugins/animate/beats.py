"""Times in beats: 'beat 16' and 'bar 5', counted from 1 as musicians do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

Unit = Literal["beat", "bar"]

BEATS_PER_BAR = 4
_BEAT = re.compile(r"(beat|bar) (\d{1,6}(?:\.\d{1,9})?)", re.ASCII)


class Beats(Protocol):
    """What knows when beats are: a sound that was heard, or a tempo."""

    def beat_time(self, number: float, what: Unit = "beat") -> float:
        """Seconds from the film's start at which a beat or bar begins; beat 1 is the first."""


@dataclass(frozen=True)
class Tempo:
    """Beats without a sound: the first is at the film's start, four make a bar.

    Attributes:
        bpm: beats per minute, more than 0.
    """

    bpm: float

    def beat_time(self, number: float, what: Unit = "beat") -> float:
        """Seconds from the film's start; beat 1 and bar 1 are at 0."""
        beats = (number - 1) * (BEATS_PER_BAR if what == "bar" else 1)
        return beats * 60 / self.bpm


def read_beat(text: str) -> tuple[float, Unit]:
    """Number and unit of 'beat 16', or of 'bar 5.5', which is half a bar after bar 5 begins.

    Raises:
        ValueError: anything else, or a number below 1.
    """
    match = _BEAT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no time; give seconds (1.5), 'beat 16' or 'bar 5'")
    number = float(match[2])
    if number < 1:
        raise ValueError(f"{text!r}: they are counted from 1; a film may begin before it")
    return number, "bar" if match[1] == "bar" else "beat"


def on_a_beat(text: str) -> str:
    """The text itself; ValueError where it is no time in beats."""
    read_beat(text)
    return text
