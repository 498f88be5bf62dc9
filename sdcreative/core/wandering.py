"""A random walk of noise with momentum, on the sphere of the weights of a ``Mixture``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from random import Random

from ..errors import UsageError
from .sphere import Vector, angle_between, combine, slerp, unit, without
from .walks import Terms, as_terms, check_different

# A looped wandering turns back to its start on the last part of its way, of this length.
_HOMEWARD = 1.5 * math.pi
# Of making the steps of a closed wandering equal; it converges fast.
_ROUNDS = 8


def seed_wander(
    seeds: Sequence[int],
    frames: int,
    step: float,
    random_seed: int,
    *,
    closed: bool = False,
    turning: float = 0.6,
) -> Iterator[Terms]:
    """A random walk with momentum on the sphere that seeds span, from the first one of them.

    Every frame is one step straight ahead, which carries the direction along (parallel
    transport), and then turns the direction a little, to a random side. A longer film begins like
    a shorter one.

    Args:
        seeds: three or more different ones; the more, the further from any of them it gets.
        frames: number of frames, at least 1.
        step: angle between neighbouring frames in radians, in (0, pi / 2].
        random_seed: of the turns.
        closed: come back: frame ``frames``, which is not given, would be frame 0, with the same
            direction. On the last part of the way the walk is faded into one that arrives at the
            start. Its steps are equal within 1 %, and within 3 % of ``step``; in a film of under
            24 frames, too short to turn round in, they may be shorter.
        turning: standard deviation of the turns in radians, over one radian of the way.

    Returns:
        An iterator over one set of terms per frame.

    Raises:
        UsageError: too few seeds or frames, or a step out of range.
    """
    check_different(seeds)
    if len(seeds) < 3:
        raise UsageError(f"a random walk among the seeds {list(seeds)}; give three or more")
    if frames < (3 if closed else 1):
        raise UsageError(f"a random walk of {frames} frames; give at least {3 if closed else 1}")
    if not 0 < step <= math.pi / 2:
        raise UsageError(f"step is {step}; it has to be above 0 and at most pi / 2")
    if closed:
        points = iter(_closed(len(seeds), frames, step, turning, random_seed))
    else:
        points = islice(_wander(len(seeds), step, turning, random_seed, 1.0), frames)
    return (as_terms(seeds, point) for point in points)


def _wander(
    size: int, step: float, turning: float, random_seed: int, sign: float
) -> Iterator[Vector]:
    """Points from the first axis on, leaving it along the second one, or its negative."""
    random = Random(random_seed)

    def normal() -> float:
        # Box and Muller (1958): of random.Random only random() stays the same in every Python.
        radius = math.sqrt(-2 * math.log(1 - random.random()))
        return radius * math.cos(2 * math.pi * random.random())

    here = [1.0, *[0.0] * (size - 1)]
    heading = [0.0, sign, *[0.0] * (size - 2)]
    while True:
        yield here
        here, heading = (
            unit(combine(here, math.cos(step), heading, math.sin(step))),
            combine(heading, math.cos(step), here, -math.sin(step)),
        )
        heading = unit(without(heading, here))
        side = without(without([normal() for _ in here], here), heading)
        turn = turning * math.sqrt(step) * normal()
        heading = unit(combine(heading, math.cos(turn), unit(side), math.sin(turn)))


def _closed(size: int, frames: int, step: float, turning: float, random_seed: int) -> list[Vector]:
    """A walk that fades into one that ends where, and as, it began itself."""
    fade = max(2, min(frames, math.ceil(_HOMEWARD / step)))
    pace, tries = step, []
    for _ in range(_ROUNDS):
        leaving = list(islice(_wander(size, pace, turning, random_seed, 1.0), frames + 1))
        arriving = list(islice(_wander(size, pace, turning, random_seed + 1, -1.0), fade + 1))
        path = leaving[: frames - fade]
        crossing = zip(leaving[frames - fade :], arriving[::-1], strict=True)
        for index, (old, new) in enumerate(crossing):
            share = index / fade
            angle = math.pi / 2 * share * share * (3 - 2 * share)
            path.append(unit(combine(old, math.cos(angle), new, math.sin(angle))))
        mean = math.fsum(angle_between(a, b) for a, b in pairwise(path)) / frames
        tries.append((abs(math.log(mean / step)), path))
        if tries[-1][0] < 0.01:
            break
        # Where the two cross, the way is shorter or longer than either; half a correction, lest
        # it swing.
        pace *= math.sqrt(step / mean)
    return _spread_evenly(min(tries)[1], frames)


def _spread_evenly(path: list[Vector], count: int) -> list[Vector]:
    """Points of a closed path, from its start on, each equally far from the next."""
    places = [index * (len(path) - 1) / count for index in range(count + 1)]
    for _ in range(_ROUNDS):
        points = [_along(path, place) for place in places]
        reached = list(accumulate((angle_between(a, b) for a, b in pairwise(points)), initial=0.0))
        arc = 0
        spread = [0.0]
        for index in range(1, count):
            wanted = reached[-1] * index / count
            while arc < count - 1 and reached[arc + 1] < wanted:
                arc += 1
            length = reached[arc + 1] - reached[arc]
            share = min((wanted - reached[arc]) / length, 1.0) if length > 0 else 0.0
            spread.append(places[arc] + share * (places[arc + 1] - places[arc]))
        places = [*spread, places[-1]]
    return [_along(path, place) for place in places[:-1]]


def _along(path: list[Vector], place: float) -> Vector:
    arc = min(int(place), len(path) - 2)
    return slerp(path[arc], path[arc + 1], place - arc)
