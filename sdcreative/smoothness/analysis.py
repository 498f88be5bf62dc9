"""Figures of a film's smoothness, found in one pass over its pictures."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy
from PIL import Image

from ..core.retiming import measure_steps
from ..errors import DataError
from ..metrics import Metric, along

NOISE = 0.5 / 255
"""root mean square of pixel differences that 8 bits and an encoder make of equal pictures"""
JUMP = 5.0
"""a jump is so many robust standard deviations above the median"""
LEAST_SPREAD = 0.1
"""robust standard deviation that is assumed at least, in medians: a film may be even to the bit"""
MOSTLY_STILL = 0.1
"""where less of a film's steps than this move at all, every move is a jump"""
BLACK, FLAT = 12 / 255, 2 / 255
"""brightest pixel of a black picture; standard deviation of a flat one; after encoding"""


@dataclass(frozen=True)
class Smoothness:
    """What is even and uneven in a film of N frames. Step i goes from frame i to frame i + 1.

    Attributes:
        steps: N - 1 distances between neighbours, in the metric's unit.
        largest: of the steps.
        median: of the steps.
        ratio: largest / median; infinite where the median is 0 and something moves.
        jumps: steps far above the others: over the median of those that move by ``JUMP`` times
            their robust standard deviation, 1.4826 times the median absolute deviation (F. R.
            Hampel, "The influence curve and its role in robust estimation", JASA 69, 1974), which
            a few jumps do not raise.
        duplicates: steps that change no pixel beyond ``NOISE``.
        black: frames that are black all over.
        flat: frames of one colour, black ones left out.
        flicker: how much of the change in mean brightness turns back at once, in [0, 1]; see
            ``flicker_of``.
        seam: distance from the last frame to the first, which a loop plays as one more step.
    """

    steps: tuple[float, ...]
    largest: float
    median: float
    ratio: float
    jumps: tuple[int, ...]
    duplicates: tuple[int, ...]
    black: tuple[int, ...]
    flat: tuple[int, ...]
    flicker: float
    seam: float

    @property
    def frames(self) -> int:
        """Number of frames, at least 2."""
        return len(self.steps) + 1

    @property
    def limit(self) -> float:
        """The jumps are the steps above this; infinite where nothing moves."""
        return jump_limit(self.steps, set(self.duplicates))


def analyse(pictures: Iterable[Image.Image], metric: Metric) -> Smoothness:
    """Measure a film; a few pictures of it are held at a time.

    Args:
        pictures: in order, of one size.
        metric: as from ``find_metric``.

    Raises:
        DataError: fewer than two pictures.
        UsageError: pictures that differ in size, or that the metric cannot take.
    """
    watch = _Watch()
    steps = list(along(watch.over(pictures), metric))
    if watch.first is None or watch.last is None or not steps:
        count = f"{watch.frames} picture{'' if watch.frames == 1 else 's'}"
        raise DataError(f"{count}; a film to be measured has at least 2")
    found = measure_steps(steps)
    [seam] = metric([watch.last, watch.first])
    duplicates = tuple(i for i, change in enumerate(watch.changes) if change <= NOISE)
    return Smoothness(
        steps=tuple(steps),
        largest=found.largest,
        median=found.median,
        ratio=found.ratio,
        jumps=_jumps(steps, set(duplicates)),
        duplicates=duplicates,
        black=tuple(watch.black),
        flat=tuple(watch.flat),
        flicker=flicker_of(watch.brightness),
        seam=seam,
    )


def flicker_of(brightness: Sequence[float]) -> float:
    """Mean square of the second differences over 4 times that of the first.

    The second difference is the change of the change, and at most twice the larger of two changes.
    By Parseval the figure is the mean of sin^2(w / 2) over the frequencies w of the changes: 0 for
    a steady fade, which has w = 0 only, 1/2 where every change is independent of the one before,
    3/4 for independent frames, 1 where light and dark alternate. It is 0 where the second
    differences are within ``NOISE``.

    Args:
        brightness: means of frames, in [0, 1].

    Returns:
        In [0, 1]; 0 for fewer than three frames.

    >>> flicker_of([0.2, 0.8, 0.2, 0.8]), flicker_of([0.2, 0.4, 0.6])
    (1.0, 0.0)
    """
    if len(brightness) < 3:
        return 0.0
    first = numpy.diff(numpy.asarray(brightness, dtype=numpy.float64))
    second = numpy.square(numpy.diff(first)).mean()
    if second <= NOISE**2:
        return 0.0
    return round(min(1.0, float(second / (4 * numpy.square(first).mean()))), 12)


def jump_limit(steps: Sequence[float], still: Collection[int]) -> float:
    """The largest step that is no jump yet.

    Args:
        steps: distances between neighbours.
        still: indexes of those that change no pixel.
    """
    moving = [step for i, step in enumerate(steps) if i not in still]
    if not moving:
        return math.inf
    if len(moving) < MOSTLY_STILL * len(steps):
        return 0.0
    middle = median(moving)
    spread = 1.4826 * median(abs(step - middle) for step in moving)
    return middle + JUMP * max(spread, LEAST_SPREAD * middle)


def _jumps(steps: Sequence[float], still: Collection[int]) -> tuple[int, ...]:
    limit = jump_limit(steps, still)
    return tuple(i for i, step in enumerate(steps) if step > limit and i not in still)


class _Watch:
    """Takes notes of every picture that passes."""

    def __init__(self) -> None:
        self.first: Image.Image | None = None
        self.last: Image.Image | None = None
        self.frames = 0
        self.brightness: list[float] = []
        self.changes: list[float] = []
        self.black: list[int] = []
        self.flat: list[int] = []

    def over(self, pictures: Iterable[Image.Image]) -> Iterator[Image.Image]:
        before: numpy.ndarray | None = None
        for number, picture in enumerate(pictures):
            pixels = numpy.asarray(picture.convert("RGB"), numpy.float32) / 255
            self.brightness.append(float(pixels.mean(dtype=numpy.float64)))
            if pixels.max() <= BLACK:
                self.black.append(number)
            elif pixels.std(axis=(0, 1)).max() <= FLAT:
                self.flat.append(number)
            if before is not None and before.shape == pixels.shape:
                change = numpy.square(pixels - before).mean(dtype=numpy.float64)
                self.changes.append(float(numpy.sqrt(change)))
            self.first = self.first or picture
            self.last, before = picture, pixels
            self.frames += 1
            yield picture
