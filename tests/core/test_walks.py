"""Walks of noise against closed forms: unit weights, constant speed, no corners, exact seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import islice, pairwise

import pytest
import torch

from sdcreative.core.noise import draw_noise, mix_noise
from sdcreative.core.walks import Terms, seed_arc, seed_circle, seed_curve, seed_orbit
from sdcreative.core.wandering import seed_wander
from sdcreative.errors import UsageError

QUARTER = math.pi / 2


def vector(terms: Terms, size: int = 8) -> list[float]:
    weights = dict(terms)
    assert len(weights) == len(terms)
    assert 0 not in weights.values()
    return [weights.get(seed, 0.0) for seed in range(size)]


def angle(a: Sequence[float], b: Sequence[float]) -> float:
    return 2 * math.asin(min(1.0, math.dist(a, b) / 2))


def steps(path: Sequence[Terms]) -> list[float]:
    return [angle(vector(a), vector(b)) for a, b in pairwise(path)]


def velocity(place: Callable[[float], Terms], t: float, towards: float) -> list[float]:
    """A one-sided difference of second order."""
    h = 1e-4 * towards
    points = [vector(place(t + i * h)) for i in range(3)]
    return [(-3 * a + 4 * b - c) / (2 * h) for a, b, c in zip(*points, strict=True)]


PATHS: dict[str, list[Terms]] = {
    "arc": [seed_arc(2, 5, i / 40) for i in range(41)],
    "curve": [seed_curve([0, 1, 2, 3, 4], 1, i / 40) for i in range(41)],
    "curve's end": [seed_curve([0, 1, 2], 1, i / 40) for i in range(41)],
    "closed curve": [seed_curve([0, 1, 2], 2, i / 40, True) for i in range(41)],
    "circle": [seed_circle(3, 1, i / 40) for i in range(41)],
    "orbit": [seed_orbit(0, 1, 2, 0.4, i / 40) for i in range(41)],
    "wandering": list(seed_wander(range(8), 3000, 0.05, 1)),
    "closed wandering": list(seed_wander(range(8), 300, 0.05, 1, closed=True)),
}


@pytest.mark.parametrize("name", PATHS)
def test_every_walk_stays_on_the_unit_sphere(name: str) -> None:
    for terms in PATHS[name]:
        assert abs(math.fsum(weight**2 for _, weight in terms) - 1) < 1e-9


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("arc", QUARTER / 40),
        ("circle", 4 * QUARTER / 40),
        ("orbit", 2 * math.asin(math.sin(0.4) * math.sin(math.pi / 40))),
        ("wandering", 0.05),
    ],
)
def test_walks_of_constant_speed_keep_it(name: str, step: float) -> None:
    assert steps(PATHS[name]) == pytest.approx([step] * (len(PATHS[name]) - 1), rel=1e-9)


def test_an_arc_follows_its_closed_form_and_meets_both_seeds() -> None:
    assert seed_arc(7, 4, 0) == ((7, 1.0),)
    assert seed_arc(7, 4, 1) == ((4, 1.0),)
    assert seed_arc(7, 7, 0.3) == ((7, 1.0),)
    for t in (0.1, 0.5, 0.9):
        first, second = seed_arc(7, 4, t)
        assert first == (7, pytest.approx(math.cos(t * QUARTER)))
        assert second == (4, pytest.approx(math.sin(t * QUARTER)))


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("seeds", [[0, 1], [0, 1, 2], [3, 1, 4, 1, 5], [0, 0, 1, 2], [2, 2, 2]])
def test_a_curve_meets_every_seed_exactly(seeds: list[int], closed: bool) -> None:
    for segment in range(len(seeds) - (not closed)):
        assert seed_curve(seeds, segment, 0, closed) == ((seeds[segment], 1.0),)
        after = seeds[(segment + 1) % len(seeds)]
        assert seed_curve(seeds, segment, 1, closed) == ((after, 1.0),)


@pytest.mark.parametrize("seeds", [[0, 1, 2], [0, 1, 2, 3, 4], [0, 1, 0, 2], [0, 1, 2, 1]])
def test_a_closed_curve_has_no_corner_where_an_arc_has_one(seeds: list[int]) -> None:
    last = len(seeds)
    for segment in range(last):
        after = (segment + 1) % last
        here = velocity(lambda t, s=segment: seed_curve(seeds, s, t, True), 1, -1)
        there = velocity(lambda t, s=after: seed_curve(seeds, s, t, True), 0, 1)
        assert math.dist(here, there) < 1e-4
    here = velocity(lambda t: seed_arc(0, 1, t), 1, -1)
    there = velocity(lambda t: seed_arc(1, 2, t), 0, 1)
    assert math.dist(here, there) == pytest.approx(QUARTER * math.sqrt(2), rel=1e-4)


def test_a_curve_passes_seeds_half_way_between_the_arcs_and_rests_where_it_turns_round() -> None:
    speed = QUARTER / math.sqrt(2)
    found = velocity(lambda t: seed_curve([0, 1, 2], 0, t, True), 0, 1)
    assert found[:3] == pytest.approx([0, speed, -speed], abs=1e-4)
    turning = velocity(lambda t: seed_curve([0, 1, 0], 0, t), 1, -1)
    assert math.hypot(*turning) < 1e-4


@pytest.mark.parametrize(("seeds", "segment"), [(range(4), 1), (range(4), 0), (range(4), 2)])
def test_the_speed_of_a_curve_stays_near_its_mean(seeds: range, segment: int) -> None:
    found = steps([seed_curve(seeds, segment, i / 400) for i in range(401)])
    mean = sum(found) / len(found)
    assert 0.9 * mean < min(found) < max(found) < 1.1 * mean


def test_a_curve_of_two_seeds_is_the_arc() -> None:
    for t in (0.2, 0.5, 0.7):
        expected = vector(seed_arc(0, 1, t))
        assert vector(seed_curve([0, 1], 0, t)) == pytest.approx(expected, abs=1e-12)


def test_a_circle_meets_both_seeds_and_closes() -> None:
    assert seed_circle(5, 9, 0) == seed_circle(5, 9, 1) == ((5, 1.0),)
    assert seed_circle(5, 9, 0.25) == ((9, 1.0),)
    assert seed_circle(5, 9, 0.5) == ((5, -1.0),)
    assert seed_circle(5, 9, 0.75) == ((9, -1.0),)
    [(_, first), (_, second)] = seed_circle(5, 9, 1 / 12)
    assert (first, second) == pytest.approx((math.sqrt(3) / 2, 0.5))


@pytest.mark.parametrize("radius", [1e-3, 0.4, 1.5, QUARTER])
def test_an_orbit_stays_at_its_radius(radius: float) -> None:
    centre = vector(((0, 1.0),))
    for i in range(12):
        place = vector(seed_orbit(0, 1, 2, radius, i / 12))
        assert angle(centre, place) == pytest.approx(radius, abs=1e-9)
        rim = [0, math.cos(math.pi * i / 6), math.sin(math.pi * i / 6)]
        assert place[1:3] == pytest.approx([math.sin(radius) * x for x in rim[1:]], abs=1e-9)
    assert vector(seed_orbit(0, 1, 2, radius, 0)) == pytest.approx(
        vector(seed_orbit(0, 1, 2, radius, 1))
    )


def test_wandering_is_a_function_of_its_seed() -> None:
    path = list(seed_wander([4, 9, 2, 7], 50, 0.1, 3))
    assert path[0] == ((4, 1.0),)
    assert path == list(seed_wander([4, 9, 2, 7], 50, 0.1, 3))
    assert path[:20] == list(seed_wander([4, 9, 2, 7], 20, 0.1, 3))
    assert path[:20] == list(islice(seed_wander([4, 9, 2, 7], 10**9, 0.1, 3), 20))
    assert path[5] != list(seed_wander([4, 9, 2, 7], 50, 0.1, 4))[5]


def test_wandering_without_turns_is_a_great_circle() -> None:
    for i, terms in enumerate(seed_wander(range(5), 400, 0.1, 3, turning=0.0)):
        expected = [math.cos(0.1 * i), math.sin(0.1 * i), 0, 0, 0]
        assert vector(terms, 5) == pytest.approx(expected, abs=1e-9)


def test_wandering_has_momentum_and_turns_in_the_tangent_space() -> None:
    """Between steps the direction turns by normal angles of the deviation that is asked for."""
    turning, step = 0.6, 0.05
    path = [vector(terms) for terms in seed_wander(range(8), 4000, step, 5, turning=turning)]
    turns = []
    for a, b, c in zip(path, path[1:], path[2:], strict=False):
        # Where the great arc from a to b goes on to; parallel transport keeps it straight.
        straight = [2 * math.cos(step) * y - x for x, y in zip(a, b, strict=True)]
        turns.append(angle(straight, c) / math.sin(step))
    deviation = math.sqrt(sum(turn**2 for turn in turns) / len(turns))
    assert deviation == pytest.approx(turning * math.sqrt(step), rel=0.05)


@pytest.mark.parametrize("frames", [24, 100, 300])
@pytest.mark.parametrize("random_seed", range(4))
def test_closed_wandering_comes_back_in_equal_steps(frames: int, random_seed: int) -> None:
    path = list(seed_wander(range(8), frames, 0.05, random_seed, closed=True))
    assert len(path) == frames
    assert path[0] == ((0, 1.0),)
    lengths = steps([*path, path[0]])
    assert max(lengths) < 1.01 * min(lengths)
    assert lengths == pytest.approx([0.05] * frames, rel=0.03)


@pytest.mark.parametrize("frames", [3, 4, 10])
def test_short_closed_wandering_moves(frames: int) -> None:
    path = list(seed_wander(range(3), frames, 0.05, 1, closed=True))
    assert len(path) == frames
    assert 0 < min(steps([*path, path[0]])) < max(steps([*path, path[0]])) < 0.06


@pytest.mark.parametrize("random_seed", range(5))
def test_closed_wandering_has_no_corner_at_its_seam(random_seed: int) -> None:
    path = [vector(t) for t in seed_wander(range(8), 400, 0.05, random_seed, closed=True)]
    ring = [*path[-2:], *path, *path[:1]]
    bends = [
        math.dist([2 * y for y in b], [x + z for x, z in zip(a, c, strict=True)])
        for a, b, c in zip(ring, ring[1:], ring[2:], strict=False)
    ]
    assert max(bends[:3]) < 1.2 * max(bends[3:])


@pytest.mark.parametrize("name", PATHS)
def test_the_noise_of_a_walk_is_standard_normal(name: str) -> None:
    shape = (4, 64, 64)
    for terms in PATHS[name][:: max(1, len(PATHS[name]) // 3)]:
        noise = mix_noise(terms, shape)
        assert abs(noise.std() - 1) < 8 / math.sqrt(noise.numel())


def test_the_noise_turns_as_far_as_the_weights() -> None:
    shape = (4, 64, 64)
    a, b = (mix_noise(seed_circle(1, 2, turn), shape).flatten() for turn in (0.0, 1 / 6))
    assert torch.equal(a, draw_noise(1, shape).flatten())
    cosine = float(torch.nn.functional.cosine_similarity(a, b, dim=0))
    assert math.acos(cosine) == pytest.approx(math.pi / 3, abs=8 / math.sqrt(len(a)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: seed_arc(1, 2, 1.5), "t is 1.5"),
        (lambda: seed_arc(1, 2, math.nan), "t is nan"),
        (lambda: seed_curve([1, 2], 0, -0.1), "t is -0.1"),
        (lambda: seed_curve([1], 0, 0.1), "give two or more"),
        (lambda: seed_curve([1, 2], 1, 0.1), "segment 1 of a curve of 1"),
        (lambda: seed_circle(3, 3, 0), "each of them once"),
        (lambda: seed_orbit(1, 2, 1, 0.5, 0), "each of them once"),
        (lambda: seed_orbit(1, 2, 3, 0.0, 0), "radius is 0.0"),
        (lambda: seed_orbit(1, 2, 3, 2.0, 0), "radius is 2.0"),
        (lambda: seed_wander([1, 2], 5, 0.1, 0), "three or more"),
        (lambda: seed_wander([1, 2, 1], 5, 0.1, 0), "each of them once"),
        (lambda: seed_wander([1, 2, 3], 0, 0.1, 0), "0 frames; give at least 1"),
        (lambda: seed_wander([1, 2, 3], 2, 0.1, 0, closed=True), "2 frames; give at least 3"),
        (lambda: seed_wander([1, 2, 3], 5, 0.0, 0), "step is 0.0"),
    ],
)
def test_what_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
