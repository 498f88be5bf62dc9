"""Arc length: from the distances between probe pictures to places at equal visual steps.

The probes give points of s(t), the length of the path up to t, which never falls. Frames at equal
steps need its inverse, so t is interpolated over s, by monotone cubics:

    F. N. Fritsch and R. E. Carlson, "Monotone Piecewise Cubic Interpolation", SIAM Journal on
    Numerical Analysis 17 (1980), with the slopes of F. N. Fritsch and J. Butland, "A Method for
    Constructing Local Monotone Piecewise Cubic Interpolants", SIAM Journal on Scientific and
    Statistical Computing 5 (1984), for knots at uneven distances.

Straight lines would be monotone too, but the speed would change abruptly at every probe, and the
step between two frames on either side of it with it. Other cubics overshoot next to a jump, and a
film would run backwards there.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from statistics import median

from ..errors import UsageError

# A smaller share of the length than this is rounding, and its slope could overflow.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Steps:
    """How far apart neighbouring pictures are.

    Attributes:
        largest: distance of the two that differ most.
        median: of all distances.
    """

    largest: float
    median: float

    @property
    def ratio(self) -> float:
        """largest / median, at least 1; infinite for a lone jump, 1 where nothing moves at all."""
        if self.median > 0:
            return self.largest / self.median
        return math.inf if self.largest > 0 else 1.0


def measure_steps(distances: Sequence[float]) -> Steps:
    """The largest and the median of the distances between neighbours.

    >>> measure_steps([1.0, 1.0, 4.0]).ratio
    4.0

    Raises:
        UsageError: no distance, or one that is negative, NaN or infinite.
    """
    if not distances:
        raise UsageError("no distances; measure at least two pictures")
    _check_distances(distances)
    return Steps(max(distances), median(distances))


@dataclass(frozen=True)
class ArcLength:
    """Arc length along one segment; the ``Arc`` of a timeline.

    Parts where neighbouring pictures are equal have no length: no frame is placed inside them.

    Attributes:
        times: t of the probes, increasing from 0 to 1.
        distances: between neighbouring probes, in the metric's unit, each at least 0.

    Raises:
        UsageError: times that do not increase from 0 to 1, distances that are negative, NaN or
            infinite, or not one fewer than the times.
    """

    times: tuple[float, ...]
    distances: tuple[float, ...]

    def __post_init__(self) -> None:
        times = self.times
        if len(times) < 2 or (times[0], times[-1]) != (0.0, 1.0):
            raise UsageError(f"probes at {list(times)}; they have to go from 0 to 1")
        for before, after in pairwise(times):
            if not before < after:
                raise UsageError(f"a probe at {after} follows one at {before}; they must increase")
        if len(self.distances) != len(times) - 1:
            raise UsageError(
                f"{len(self.distances)} distances between {len(times)} probes; "
                f"{len(times) - 1} are due"
            )
        _check_distances(self.distances)
        if not math.isfinite(self.length):
            raise UsageError("the distances between the probes add up to infinity")

    @property
    def length(self) -> float:
        """Sum of the distances between neighbours; at least 0, in the metric's own unit."""
        return sum(self.distances)

    @property
    def steps(self) -> Steps:
        """Largest and median distance between neighbouring probes."""
        return measure_steps(self.distances)

    def at(self, share: float) -> float:
        """The t in [0, 1] by which the share in [0, 1] of the length is covered.

        0 at 0, 1 at 1, never decreasing. Where nothing moves at all it is the share itself.

        Raises:
            UsageError: a share outside [0, 1].
        """
        if not 0 <= share <= 1:
            raise UsageError(f"a share of {share} of the length; give 0 to 1")
        if share in (0, 1) or self.length == 0:
            return float(share)
        # The gap that begins last at or before it is none of width 0, unless that is the very end.
        gap = min(bisect_right(self._starts, share), len(self._widths)) - 1
        while not self._widths[gap]:
            gap -= 1
        start, end = self.times[gap], self.times[gap + 1]
        width = self._widths[gap]
        x = min((share - self._starts[gap]) / width, 1.0)
        slope_start, slope_end = self._slopes[gap]
        t = (
            start * (1 + 2 * x) * (1 - x) ** 2
            + width * slope_start * x * (1 - x) ** 2
            + end * (3 - 2 * x) * x**2
            - width * slope_end * (1 - x) * x**2
        )
        return min(max(t, start), end)

    @cached_property
    def _widths(self) -> list[float]:
        """Share of every gap in the length; 0 where it is lost in rounding."""
        shares = [distance / self.length for distance in self.distances]
        return [share if share > _NOTHING else 0.0 for share in shares]

    @cached_property
    def _starts(self) -> list[float]:
        """Share of the length up to every probe."""
        return list(accumulate(self._widths, initial=0.0))

    @cached_property
    def _slopes(self) -> list[tuple[float, float]]:
        """dt/dshare at both ends of every gap; meaningless in gaps of width 0.

        At a gap of width 0 t leaps, and the curve is made of separate pieces on both sides.
        """
        gaps = [
            (width, (after - before) / width) if width else None
            for (before, after), width in zip(pairwise(self.times), self._widths, strict=True)
        ]
        slopes: list[tuple[float, float]] = []
        for before, here, after in zip([None, *gaps], gaps, [*gaps[1:], None], strict=False):
            if here is None:
                slopes.append((0.0, 0.0))
                continue
            start = _inner_slope(before, here) if before else _outer_slope(here, after)
            end = _inner_slope(here, after) if after else _outer_slope(here, before)
            slopes.append((start, end))
        return slopes


_Gap = tuple[float, float]  # its width, and its rise: dt over the width


def _inner_slope(before: _Gap, after: _Gap) -> float:
    """Weighted harmonic mean of the rises on both sides (Fritsch and Butland, 1984)."""
    (h0, rise0), (h1, rise1) = before, after
    w0, w1 = 2 * h1 + h0, h1 + 2 * h0
    return (w0 + w1) / (w0 / rise0 + w1 / rise1)


def _outer_slope(here: _Gap, neighbour: _Gap | None) -> float:
    """Three-point slope at an end of the curve, kept from turning it backwards."""
    if neighbour is None:
        return here[1]
    (h0, rise0), (h1, rise1) = here, neighbour
    slope = ((2 * h0 + h1) * rise0 - h0 * rise1) / (h0 + h1)
    return max(slope, 0.0)


def _check_distances(distances: Sequence[float]) -> None:
    for index, distance in enumerate(distances):
        if not (math.isfinite(distance) and distance >= 0):
            raise UsageError(f"distance {index} is {distance}; it has to be a number from 0 up")
