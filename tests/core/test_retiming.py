import math
from itertools import pairwise

import numpy
import pytest
from scipy.interpolate import PchipInterpolator

from sdcreative.core.retiming import ArcLength, Steps, measure_steps
from sdcreative.errors import UsageError

SHARES = [i / 200 for i in range(201)]


def arc_of(length_up_to, times):
    """The arc of a path whose length up to t is known."""
    lengths = [length_up_to(t) for t in times]
    return ArcLength(tuple(times), tuple(b - a for a, b in pairwise(lengths)))


def even(count):
    return [i / (count - 1) for i in range(count)]


@pytest.mark.parametrize("times", [[0.0, 1.0], even(17), [0.0, 0.01, 0.5, 0.51, 1.0]])
def test_constant_speed_leaves_every_frame_where_it_is(times):
    arc = arc_of(lambda t: 3 * t, times)
    assert arc.length == pytest.approx(3)
    assert [arc.at(share) for share in SHARES] == pytest.approx(SHARES, abs=1e-12)


@pytest.mark.parametrize(
    ("length_up_to", "inverse"),
    [
        (
            lambda t: (math.exp(3 * t) - 1) / (math.exp(3) - 1),
            lambda s: math.log1p(s * 19.0855) / 3,
        ),
        (lambda t: (t + t**2) / 2, lambda s: (math.sqrt(1 + 8 * s) - 1) / 2),
        (lambda t: math.sin(math.pi * t / 2), lambda s: 2 * math.asin(s) / math.pi),
    ],
)
def test_the_inverse_of_known_lengths_is_found(length_up_to, inverse):
    coarse, fine = (
        max(abs(arc_of(length_up_to, even(count)).at(s) - inverse(s)) for s in SHARES[:-20])
        for count in (17, 129)
    )
    assert coarse < 4e-3
    assert fine < coarse / 20


def test_cubics_halve_the_error_of_straight_lines():
    arc = arc_of(lambda t: (t + t**3) / 2, even(9))
    lengths = numpy.cumsum([0, *arc.distances])
    truth = numpy.linspace(0, 1, 1001)
    shares = (truth + truth**3) / 2
    cubic = max(abs(arc.at(s) - t) for s, t in zip(shares, truth, strict=True))
    straight = numpy.abs(numpy.interp(shares, lengths, arc.times) - truth).max()
    assert cubic < straight / 2


def test_agrees_with_scipy_at_uneven_knots():
    random = numpy.random.default_rng(0)
    for knots in (2, 3, 5, 20):
        times = numpy.sort([0.0, 1.0, *random.random(knots - 2)])
        distances = random.random(knots - 1) ** 3 + 1e-3
        arc = ArcLength(tuple(times.tolist()), tuple(distances.tolist()))
        shares = numpy.cumsum([0, *distances]) / distances.sum()
        reference = PchipInterpolator(shares, times)(SHARES)
        assert [arc.at(share) for share in SHARES] == pytest.approx(reference, abs=1e-9)


def test_never_runs_backwards_and_stays_within_its_probes():
    random = numpy.random.default_rng(1)
    for _ in range(100):
        times = numpy.unique([0.0, 1.0, *random.random(8) ** 4]).tolist()
        distances = (
            random.random(len(times) - 1) ** 20 * (random.random(len(times) - 1) > 0.3)
        ).tolist()
        arc = ArcLength(tuple(times), tuple(distances))
        places = [arc.at(share) for share in SHARES]
        assert (places[0], places[-1]) == (0.0, 1.0)
        assert all(before <= after + 1e-15 for before, after in pairwise(places))
        total, covered = sum(distances), 0.0
        for (start, end), distance in zip(pairwise(times), distances, strict=True):
            if distance > 1e-6 * total:
                middle = arc.at((covered + distance / 2) / total)
                assert start <= middle <= end
            covered += distance


def test_frames_at_equal_shares_lie_at_equal_steps():
    def speed_up(t):
        return t**3 * (10 - 15 * t + 6 * t**2)  # nearly still at both ends

    arc = arc_of(speed_up, even(33))
    places = [arc.at(i / 12) for i in range(13)]
    retimed = measure_steps([speed_up(b) - speed_up(a) for a, b in pairwise(places)])
    plain = measure_steps([speed_up(b) - speed_up(a) for a, b in pairwise(even(13))])
    assert plain.ratio > 1.7
    assert retimed.ratio < 1.02


def test_no_frame_is_placed_where_nothing_moves():
    arc = ArcLength((0.0, 0.25, 0.5, 0.75, 1.0), (1.0, 0.0, 0.0, 1.0))
    places = [arc.at(share) for share in SHARES]
    assert not [t for t in places if 0.25 < t < 0.75]
    assert arc.at(0.25) == pytest.approx(0.125)
    assert arc.at(0.75) == pytest.approx(0.875)


def test_still_ends_are_left_out_but_both_ends_are_shown():
    arc = ArcLength((0.0, 0.4, 0.6, 1.0), (0.0, 2.0, 0.0))
    assert (arc.at(0.0), arc.at(1.0)) == (0.0, 1.0)
    assert [arc.at(s) for s in (0.001, 0.5, 0.999)] == pytest.approx([0.4002, 0.5, 0.5998])


def test_nothing_moves_at_all():
    arc = ArcLength((0.0, 0.5, 1.0), (0.0, 0.0))
    assert arc.length == 0
    assert [arc.at(share) for share in SHARES] == SHARES
    assert arc.steps == Steps(0.0, 0.0)
    assert arc.steps.ratio == 1


def test_a_hold_that_jumps_has_all_its_frames_in_the_jump():
    arc = ArcLength((0.0, 0.5, 0.999, 1.0), (0.0, 0.0, 5.0))
    assert arc.at(0.5) == pytest.approx(0.9995)
    assert arc.steps.ratio == math.inf


@pytest.mark.parametrize("scale", [1e-300, 5e-324, 1e300])
def test_the_unit_of_the_metric_does_not_matter(scale):
    arc = ArcLength((0.0, 0.3, 1.0), (scale, scale))
    assert arc.at(0.5) == pytest.approx(0.3)
    tiny = ArcLength((0.0, 0.3, 0.6, 1.0), (5e-324, 5e-324, 1.0))
    assert 0.6 <= tiny.at(1e-9) <= tiny.at(0.5) <= 1.0


def test_steps_closed_forms():
    assert measure_steps([2.0]) == Steps(2.0, 2.0)
    assert measure_steps([1.0, 3.0, 2.0, 8.0]) == Steps(8.0, 2.5)
    assert measure_steps([1.0, 3.0, 2.0, 8.0]).ratio == 3.2


@pytest.mark.parametrize(
    ("times", "distances", "message"),
    [
        ((0.0,), (), "from 0 to 1"),
        ((0.0, 0.9), (1.0,), "from 0 to 1"),
        ((0.0, 0.5, 0.5, 1.0), (1.0, 1.0, 1.0), "a probe at 0.5 follows one at 0.5"),
        ((0.0, math.nan, 1.0), (1.0, 1.0), "a probe at nan"),
        ((0.0, 1.0), (1.0, 1.0), "2 distances between 2 probes; 1 are due"),
        ((0.0, 0.5, 1.0), (1.0, math.nan), "distance 1 is nan"),
        ((0.0, 0.5, 1.0), (1.0, -0.1), "distance 1 is -0.1"),
        ((0.0, 0.5, 1.0), (1e308, 1e308), "infinity"),
    ],
)
def test_refused(times, distances, message):
    with pytest.raises(UsageError, match=message):
        ArcLength(times, distances)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_share_has_to_be_one(share):
    with pytest.raises(UsageError, match="give 0 to 1"):
        ArcLength((0.0, 1.0), (1.0,)).at(share)


def test_steps_need_a_distance():
    with pytest.raises(UsageError, match="at least two pictures"):
        measure_steps([])
