"""Tempo and pictures: how many columns beats take, and where pictures of them begin.

A picture is as many columns wide as its model works well with, and a model takes widths in steps
only, so that beats seldom fit. What is made is therefore re-timed by a few percent, ``stretch``,
and the tempo of what is heard is exact. Riffusion's relation between the two, beats per minute =
6000 * beats / columns at 10 ms a column, is ``beat_columns`` turned around (S. Forsgren and
H. Martiros, "Riffusion", 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite

from sdcreative import UsageError

SLOWEST, FASTEST = 20.0, 400.0
"""beats per minute"""
SHORTEST_LOOP, LONGEST_LOOP = 16, 16_384
"""columns"""
LEAST_OVERLAP, MOST_OVERLAP = 0.25, 0.75
"""shares of a picture's width"""

_MOST_STRETCH = 0.04
_MOST_OF_RINGS = 0.06
# One picture may be so much wider than the model's own: it stays whole.
_WIDEST = 1.75
# Halves, quarters ... of a beat, where a beat is wider than a picture.
_FRACTIONS = tuple(1 / 2**power for power in range(1, 9))

Section = tuple[str, float | None, float | None, float | None]
"""name, then its length in bars, beats or seconds: one of them, the others None"""


@dataclass(frozen=True)
class Grid:
    """Pictures that each begin a musical length after the one before.

    Attributes:
        width: columns of a picture.
        overlap: columns it shares with the one before.
        hop: columns from the beginning of one to the next; a multiple of what the model takes.
        beats_per_hop: beats from the beginning of one to the next, once re-timed.
        stretch: columns heard per column made.
        tempo: beats per minute of what is heard.
    """

    width: int
    overlap: int
    hop: int
    beats_per_hop: float
    stretch: float
    tempo: float

    def span(self, k: int) -> tuple[int, int]:
        """Columns made from which to which picture ``k`` reaches, the first is 0."""
        return span(k, self.width, self.overlap)


@dataclass(frozen=True)
class Loop:
    """Pictures in a circle.

    Attributes:
        columns_made: around the circle; a multiple of what the model takes.
        columns_heard: the same, re-timed.
        stretch: columns heard per column made.
        tempo: beats per minute that whole columns give; it is a little off the one asked for.
        pictures: how many; one alone is as wide as the circle.
        overlap: columns that a picture shares with the one before; 0 if there is one only.
        hop: columns from the beginning of one to the next.
    """

    columns_made: int
    columns_heard: int
    stretch: float
    tempo: float
    pictures: int
    overlap: int
    hop: int

    def span(self, k: int) -> tuple[int, int]:
        """Columns made from which to which picture ``k`` reaches; the last passes the seam."""
        return span(k, self.hop + self.overlap, self.overlap)


def beat_columns(tempo: float, step_ms: float) -> float:
    """Columns that a beat takes.

    Raises:
        UsageError: a tempo out of its range.

    >>> 8 * beat_columns(100, 10)
    480.0
    """
    if not SLOWEST <= tempo <= FASTEST:
        raise UsageError(f"tempo {tempo:g}: give {SLOWEST:g} to {FASTEST:g} beats per minute")
    return 60_000 / tempo / step_ms


def fit_grid(
    *,
    tempo: float,
    step_ms: int,
    multiple: int,
    width: int,
    beats_per_bar: int,
    overlap_share: float = 0.5,
) -> Grid:
    """Where pictures begin, so that each does on a bar, or else on a half of one, a beat, or less.

    Of what is musically alike, the hop nearest to the one asked for is taken; of the hops for so
    many beats, the one that is stretched least.

    Args:
        tempo: beats per minute, 20 to 400.
        step_ms: milliseconds from one column to the next.
        multiple: hops are multiples of it.
        width: columns of a picture, also a multiple of it.
        beats_per_bar: at least 1.
        overlap_share: how much of its width a picture should share with the one before.

    Raises:
        UsageError: a value out of its range, or a width that leaves no hop.
    """
    beat = beat_columns(tempo, step_ms)
    _check_width(width, multiple)
    _check_bar(beats_per_bar)
    if not LEAST_OVERLAP <= overlap_share <= MOST_OVERLAP:
        raise UsageError(
            f"overlap {overlap_share:g}: give a share of a picture's width from {LEAST_OVERLAP:g} "
            f"to {MOST_OVERLAP:g}"
        )
    hops = _hops(width, multiple, 1 - MOST_OVERLAP)
    wanted = width * (1 - overlap_share)
    for unit in _units(beats_per_bar):
        best = min(_fits(beat, unit, hops), key=lambda fit: _badness(fit, wanted), default=None)
        if best is not None:
            hop, beats, stretch = best
            return Grid(width, width - hop, hop, beats, stretch, tempo)
    raise UsageError(
        f"tempo {tempo:g}: pictures of {width} columns in steps of {multiple} do not fit its beats "
        "within 4 %; give another tempo or wider pictures"
    )


def fit_loop(
    *,
    tempo: float,
    beats: float,
    step_ms: int,
    multiple: int,
    width: int,
    alone: int | None = None,
) -> Loop:
    """A loop of so many beats: one seamless picture, or the fewest that overlap all around.

    Several share from a quarter to three eighths of their width with each neighbour, so that the
    last one, which has two, has as much left of its own. The fewest are taken that are stretched by
    less than 6 percent; if there are none, those that are stretched least.

    Args:
        tempo: beats per minute, 20 to 400.
        beats: more than 0.
        step_ms: milliseconds from one column to the next.
        multiple: columns are made in multiples of it.
        width: columns of a picture, also a multiple of it.
        alone: one seamless picture is a multiple of it, which is one of ``multiple`` itself.

    Raises:
        UsageError: a value out of its range, or a loop shorter than 16 columns or longer than
            16,384.

    >>> fit_loop(tempo=120, beats=8, step_ms=10, multiple=8, width=512).columns_made
    400
    """
    beat = beat_columns(tempo, step_ms)
    if not (isfinite(beats) and beats > 0):
        raise UsageError(f"a loop of {beats:g} beats: give more than 0")
    heard = round(beats * beat)
    if not SHORTEST_LOOP <= heard <= LONGEST_LOOP:
        remedy = "more beats" if heard < SHORTEST_LOOP else "fewer beats"
        raise UsageError(
            f"a loop of {beats:g} beats at tempo {tempo:g} has {heard} columns, "
            f"{SHORTEST_LOOP} to {LONGEST_LOOP} are possible; give {remedy}"
        )
    exact = beats * 60_000 / (heard * step_ms)
    unit = alone or multiple
    below = max(1, heard // unit)
    whole = min((below, below + 1), key=lambda n: abs(heard / (n * unit) - 1)) * unit
    if whole <= _WIDEST * width:
        return Loop(whole, heard, heard / whole, exact, 1, 0, whole)
    _check_width(width, multiple)
    hops = _hops(width, multiple, 5 / 8)
    if not hops:
        raise UsageError(
            f"a loop of several pictures of {width} columns, in steps of {multiple}, does not "
            "close; give another width"
        )
    rings = [
        (count, min(hops, key=lambda hop: abs(heard / (count * hop) - 1)))
        for count in range(2, ceil(heard / hops[0]) + 1)
    ]
    pictures, hop = min(rings, key=lambda ring: _ring_badness(ring, heard))
    made = pictures * hop
    return Loop(made, heard, heard / made, exact, pictures, width - hop, hop)


def section_times(
    sections: Sequence[Section], tempo: float | None, beats_per_bar: int
) -> list[tuple[float, float]]:
    """Seconds at which sections, one after the other, begin and end.

    Args:
        sections: names and lengths.
        tempo: beats per minute; None where there is none.
        beats_per_bar: at least 1.

    Raises:
        UsageError: bars or beats without a tempo; a length that is no positive number, missing
            or given twice.

    >>> section_times([("intro", 2, None, None), ("end", None, None, 1.5)], 120, 4)
    [(0.0, 4.0), (4.0, 5.5)]
    """
    _check_bar(beats_per_bar)
    times: list[tuple[float, float]] = []
    start = 0.0
    for name, bars, beats, seconds in sections:
        lengths = {"bars": bars, "beats": beats, "seconds": seconds}
        given = {unit: length for unit, length in lengths.items() if length is not None}
        if len(given) != 1:
            many = " and ".join(given) or "no length"
            raise UsageError(f"section {name!r} has {many}; give bars, beats or seconds")
        unit, length = next(iter(given.items()))
        if not (isfinite(length) and length > 0):
            raise UsageError(f"section {name!r}: {unit} are {length:g}; give more than 0")
        if unit != "seconds":
            if tempo is None:
                raise UsageError(
                    f"section {name!r} is given in {unit}, which needs a tempo; give one, or "
                    "its length in seconds"
                )
            length *= beat_columns(tempo, 1) / 1000 * (beats_per_bar if unit == "bars" else 1)
        times.append((start, start + length))
        start += length
    return times


def pictures_needed(columns: int, width: int, overlap: int) -> int:
    """How many pictures cover so many columns, at least 1.

    >>> pictures_needed(512, 512, 256), pictures_needed(513, 512, 256)
    (1, 2)
    """
    return 1 + max(0, ceil((columns - width) / (width - overlap)))


def span(k: int, width: int, overlap: int) -> tuple[int, int]:
    """Columns from which to which the picture with number ``k`` reaches, the first is 0."""
    start = k * (width - overlap)
    return start, start + width


def _check_width(width: int, multiple: int) -> None:
    if multiple < 1 or width < 2 * multiple or width % multiple:
        raise UsageError(
            f"pictures of {width} columns: give a multiple of {multiple}, at least {2 * multiple}"
        )


def _check_bar(beats_per_bar: int) -> None:
    if beats_per_bar < 1:
        raise UsageError(f"{beats_per_bar} beats per bar: give 1 or more")


def _hops(width: int, multiple: int, least: float) -> range:
    """Hops that leave pictures to overlap by a quarter of their width, ``least`` the smallest."""
    first = ceil(width * least / multiple) * multiple
    return range(first, floor(width * (1 - LEAST_OVERLAP) / multiple) * multiple + 1, multiple)


def _units(beats_per_bar: int) -> Iterator[float]:
    """Lengths in beats that a hop may be a whole number of, the best first."""
    yield float(beats_per_bar)
    if beats_per_bar % 2 == 0 and beats_per_bar > 2:
        yield beats_per_bar / 2
    if beats_per_bar > 1:
        yield 1.0
    yield from _FRACTIONS


def _fits(beat: float, unit: float, hops: range) -> Iterator[tuple[int, float, float]]:
    """Hops that are nearly a whole number of units: hop, beats in it, stretch."""
    for hop in hops:
        about = hop / (unit * beat)
        for count in {floor(about), ceil(about)} - {0}:
            stretch = count * unit * beat / hop
            if abs(stretch - 1) <= _MOST_STRETCH:
                yield hop, count * unit, stretch


def _badness(fit: tuple[int, float, float], wanted: float) -> tuple[float, float]:
    hop, _, stretch = fit
    # What is heard decides which number of beats is nearest; it is the same for all their hops.
    return round(abs(hop * stretch - wanted), 6), abs(stretch - 1)


def _ring_badness(ring: tuple[int, int], heard: int) -> tuple[bool, float]:
    pictures, hop = ring
    off = abs(heard / (pictures * hop) - 1)
    too_far = off > _MOST_OF_RINGS
    return too_far, off if too_far else pictures
