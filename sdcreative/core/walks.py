"""Walks of noise: paths on the unit sphere of the weights that a ``Mixture`` gives to its seeds.

Noises of different seeds are independent standard normal vectors, so in every mixture of unit
weight the noise is standard normal again, and where the weights turn by an angle the noise turns
by the same one, up to 1/sqrt(dimensions) (R. Vershynin, "High-Dimensional Probability", 2018,
section 3.1). Seeds take the place of orthogonal unit vectors here, a quarter turn apart.

Each function gives (seed, weight) terms: every seed once, none of weight 0, the squares of the
weights adding up to 1; on a seed exactly ((seed, 1.0),).

>>> seed_arc(3, 8, 0.0), seed_arc(3, 8, 1.0)
(((3, 1.0),), ((8, 1.0),))
>>> [(seed, round(weight, 3)) for seed, weight in seed_arc(3, 8, 1 / 3)]
[(3, 0.866), (8, 0.5)]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..errors import UsageError
from .sphere import Vector, combine, slerp

Terms = tuple[tuple[int, float], ...]

# Weights below this come of rounding: cos(pi / 2) is 6e-17.
_NOTHING = 1e-12


def seed_arc(start: int, end: int, t: float) -> Terms:
    """The point at t on the great arc between two seeds, walked at constant speed.

    Args:
        start: seed at t = 0.
        end: seed at t = 1; the same one stands still.
        t: in [0, 1].

    Raises:
        UsageError: t out of range.
    """
    _check_share(t)
    if start == end:
        return ((start, 1.0),)
    angle = t * math.pi / 2
    return as_terms([start, end], [math.cos(angle), math.sin(angle)])


def seed_curve(seeds: Sequence[int], segment: int, t: float, closed: bool = False) -> Terms:
    """A point on the smooth curve through seeds: neither place nor velocity jumps at any of them.

    Each segment is a cubic Bezier curve of great arcs (K. Shoemake, "Animating Rotation with
    Quaternion Curves", SIGGRAPH 1985). At a seed the velocity lies half way between those of the
    arcs to it and from it, and is as fast: pi / 2 per segment. The speed stays within 10 % of its
    mean where four seeds in a row differ. Where the path turns round, as in 1, 2, 1, it comes to
    rest for a moment.

    Args:
        seeds: the seeds in order, two or more.
        segment: index of the seed before the point; in a closed curve the last seed has one too.
        t: share of that segment, in [0, 1]; the same time is taken for every segment.
        closed: go on from the last seed to the first.

    Raises:
        UsageError: fewer than two seeds, no such segment, or t out of range.
    """
    _check_share(t)
    segments = len(seeds) - (0 if closed else 1)
    if len(seeds) < 2:
        raise UsageError(f"a curve through the seeds {list(seeds)}; give two or more")
    if not 0 <= segment < segments:
        raise UsageError(f"segment {segment} of a curve of {segments}; count them from 0")

    def near(index: int) -> int | None:
        if closed:
            return seeds[index % len(seeds)]
        return seeds[index] if 0 <= index < len(seeds) else None

    start, end = seeds[segment], seeds[(segment + 1) % len(seeds)]
    before, after = near(segment - 1), near(segment + 2)
    if t in (0, 1) or start == end:
        return (((end if t == 1 else start), 1.0),)
    basis = list(dict.fromkeys(seed for seed in (before, start, end, after) if seed is not None))
    leave = _handle(basis, before, start, end)
    arrive = _handle(basis, start, end, after)
    corner, goal = _axis(basis, start), _axis(basis, end)
    controls = [corner, _shoot(corner, leave), _shoot(goal, [-x for x in arrive]), goal]
    while len(controls) > 1:
        controls = [slerp(a, b, t) for a, b in pairwise(controls)]
    return as_terms(basis, controls[0])


def seed_circle(first: int, second: int, turn: float) -> Terms:
    """A point on the great circle through two seeds: cos a of the first, sin a of the second.

    It closes, and is never at rest. Past the second seed it goes through the negatives of both,
    which are noises as good as theirs.

    Args:
        first: seed at turn = 0.
        second: seed at turn = 1/4; another one.
        turn: share of the circle, a / (2 pi); any number, 1 is 0 again.

    Raises:
        UsageError: one seed given twice.
    """
    check_different([first, second])
    angle = 2 * math.pi * (turn % 1)
    return as_terms([first, second], [math.cos(angle), math.sin(angle)])


def seed_orbit(centre: int, first: int, second: int, radius: float, turn: float) -> Terms:
    """A point on the circle around one seed: all its pictures are as far from that seed's.

    cos(radius) of the centre and sin(radius) of a point on the great circle of the other two.

    Args:
        centre: seed that is walked around, and never reached.
        first: seed that the circle is nearest to at turn = 0.
        second: likewise at turn = 1/4.
        radius: angle between the centre and the circle, in radians, in (0, pi / 2]; at pi / 2
            the centre has no part in it.
        turn: share of the circle; any number, 1 is 0 again.

    Raises:
        UsageError: seeds that are not three different ones, or a radius out of range.
    """
    check_different([centre, first, second])
    if not 0 < radius <= math.pi / 2:
        raise UsageError(f"radius is {radius}; it has to be above 0 and at most pi / 2")
    angle = 2 * math.pi * (turn % 1)
    rim = math.sin(radius)
    weights = [math.cos(radius), rim * math.cos(angle), rim * math.sin(angle)]
    return as_terms([centre, first, second], weights)


def _handle(basis: list[int], before: int | None, here: int, after: int | None) -> Vector:
    """A third of the velocity at a seed, tangent to the sphere there."""
    to = [0.0] * len(basis) if after in (here, None) else _axis(basis, after)
    back = [0.0] * len(basis) if before in (here, None) else _axis(basis, before)
    velocity = [math.pi / 2 * (x - y) for x, y in zip(to, back, strict=True)]
    length = math.sqrt(math.fsum(x * x for x in velocity))
    scale = math.pi / 6 / length if length > 0 else 0.0
    return [scale * x for x in velocity]


def _axis(basis: Sequence[int], seed: int | None) -> Vector:
    return [1.0 if seed == each else 0.0 for each in basis]


def _shoot(point: Vector, tangent: Vector) -> Vector:
    """Where a great arc leads that leaves a point in this direction and is this long."""
    length = math.sqrt(math.fsum(x * x for x in tangent))
    if length == 0:
        return point
    return combine(point, math.cos(length), tangent, math.sin(length) / length)


def as_terms(seeds: Sequence[int], weights: Sequence[float]) -> Terms:
    """Seeds with their weights, without those that are only rounding."""
    kept = [pair for pair in zip(seeds, weights, strict=True) if abs(pair[1]) > _NOTHING]
    if len(kept) == 1:
        return ((kept[0][0], math.copysign(1.0, kept[0][1])),)
    return tuple(kept)


def _check_share(t: float) -> None:
    if not 0 <= t <= 1:
        raise UsageError(f"t is {t}; it has to be in [0, 1]")


def check_different(seeds: Sequence[int]) -> None:
    """Raises UsageError if a seed comes twice."""
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"a walk among the seeds {list(seeds)}; give each of them once")
