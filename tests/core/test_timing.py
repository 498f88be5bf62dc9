import math
from fractions import Fraction

import pytest

from sdcreative.core.easing import EASINGS
from sdcreative.core.timing import Position, ping_pong, positions, spread
from sdcreative.errors import UsageError


def times_of(times, path):
    return [times[p.segment] + p.t * (times[p.segment + 1] - times[p.segment]) for p in path]


@pytest.mark.parametrize("frames", [2, 3, 5, 10, 48, 97])
@pytest.mark.parametrize("times", [[0, 60], [0, 24, 36], [0, 0.1, 0.3], [0, 1 / 3, 2.5, 7]])
@pytest.mark.parametrize("easing", EASINGS)
def test_both_ends_are_shown_exactly(times, frames, easing):
    path = positions(times, frames, [easing] * (len(times) - 1))
    assert len(path) == frames
    assert path[0] == Position(0, 0.0)
    assert path[-1] == Position(len(times) - 2, 1.0)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("frames", [2, 3, 4, 7, 30, 301])
@pytest.mark.parametrize("times", [[0, 60], [0, 24, 36], [0, 0.1, 0.3], [0, 1 / 3, 2.5, 7]])
def test_evenly_spaced_in_time_and_no_frame_twice(times, frames, loop):
    path = positions(times, frames, ["linear"] * (len(times) - 1), loop=loop)
    steps = frames if loop else frames - 1
    expected = [float(Fraction(times[-1]) * i / steps) for i in range(frames)]
    assert times_of(times, path) == pytest.approx(expected, abs=1e-8)
    assert len(set(path)) == frames
    # A keyframe between two segments is written one way only: as the start of the later one.
    assert all(p.t < 1.0 for p in (path if loop else path[:-1]))


def test_a_junction_that_falls_on_a_frame_is_hit_once():
    assert positions([0, 2, 4], 5, ["linear", "linear"]) == [
        Position(0, 0.0),
        Position(0, 0.5),
        Position(1, 0.0),
        Position(1, 0.5),
        Position(1, 1.0),
    ]


def test_a_junction_between_two_frames_is_passed():
    path = positions([0, 1, 3], 3, ["linear", "linear"])
    assert path == [Position(0, 0.0), Position(1, 0.25), Position(1, 1.0)]


@pytest.mark.parametrize("count", range(2, 40))
def test_junctions_survive_rounding(count):
    # tenths are not exact in binary: 0.3 * 1 / 3 < 0.1
    times = [index / 10 for index in range(count + 1)]
    path = positions(times, count + 1, ["hold"] * count)
    assert path == [*(Position(index, 0.0) for index in range(count)), Position(count - 1, 1.0)]


def test_hold_shows_the_earlier_keyframe_until_the_later_one():
    path = positions([0, 3, 6], 7, ["hold", "linear"])
    assert path[:3] == [Position(0, 0.0)] * 3
    assert path[3] == Position(1, 0.0)
    assert path[4].t == pytest.approx(1 / 3)


def test_easing_is_that_of_the_segment():
    path = positions([0, 4, 8], 9, ["in", lambda t: t**3])
    assert path[1] == Position(0, EASINGS["in"](0.25))
    assert path[5] == Position(1, 0.25**3)


@pytest.mark.parametrize("frames", [1, 2, 3, 8, 25])
def test_a_loop_is_half_open(frames):
    path = positions([0, 1, 2, 3], frames, ["linear"] * 3, loop=True)
    assert [p.segment + p.t for p in path] == pytest.approx([3 * i / frames for i in range(frames)])
    assert path[0] == Position(0, 0.0)
    assert positions([0, 5], 4, ["linear"], loop=True) == [
        Position(0, t) for t in (0.0, 0.25, 0.5, 0.75)
    ]


@pytest.mark.parametrize("loop", [False, True])
def test_one_frame_is_the_first_keyframe(loop):
    assert positions([0, 1, 3], 1, ["in", "out"], loop=loop) == [Position(0, 0.0)]


@pytest.mark.parametrize(
    ("times", "frames", "easings", "message"),
    [
        ([], 3, [], "0 keyframe times"),
        ([0], 3, [], "1 keyframe times"),
        ([1, 2], 3, ["linear"], "first keyframe is at 1"),
        ([math.nan, 2], 3, ["linear"], "first keyframe is at nan"),
        ([0, 2, 2], 3, ["linear"] * 2, "a keyframe at 2 follows one at 2"),
        ([0, 3, 2], 3, ["linear"] * 2, "a keyframe at 2 follows one at 3"),
        ([0, math.nan], 3, ["linear"], "a keyframe at nan"),
        ([0, math.inf], 3, ["linear"], "a keyframe at inf"),
        ([0, 1], 0, ["linear"], "frames is 0"),
        ([0, 1, 2], 3, ["linear"], "1 easings for 2 segments"),
        ([0, 1], 3, ["linaer"], "did you mean 'linear'"),
        ([0, 1], 3, [lambda t: 1.5], "gives 1.5 at t = 0.5"),
        ([0, 1], 3, [lambda t: math.nan], "gives nan"),
    ],
)
def test_refused(times, frames, easings, message):
    with pytest.raises(UsageError, match=message):
        positions(times, frames, easings)


def test_spread():
    assert spread([2, 1.5], 24) == ([0.0, 2.0, 3.5], 84)
    assert spread([0.01], 12) == ([0.0, 0.01], 1)
    times, frames = spread([0.1] * 3, 30)
    assert (times[0], frames) == (0.0, 9)
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("durations", "fps", "message"),
    [
        ([], 24, "a path needs at least 2"),
        ([1, 0], 24, "segment 1 lasts 0 seconds"),
        ([-1], 24, "segment 0 lasts -1 seconds"),
        ([math.nan], 24, "segment 0 lasts nan"),
        ([1], 0, "fps is 0"),
        ([1], math.inf, "fps is inf"),
    ],
)
def test_spread_refuses(durations, fps, message):
    with pytest.raises(UsageError, match=message):
        spread(durations, fps)


def test_ping_pong_closed_forms():
    assert ping_pong(1) == [0]
    assert ping_pong(2) == [0, 1]
    assert ping_pong(3) == [0, 1, 2, 1]
    assert ping_pong(4) == [0, 1, 2, 3, 2, 1]
    with pytest.raises(UsageError, match="length is 0"):
        ping_pong(0)


@pytest.mark.parametrize("length", range(2, 12))
def test_ping_pong_in_a_circle_always_moves_by_one(length):
    path = ping_pong(length)
    assert len(path) == 2 * length - 2
    assert {abs(a - b) for a, b in zip(path, [*path[1:], path[0]], strict=True)} == {1}


def test_a_held_keyframe_stays_and_the_next_is_reached_at_its_own_time():
    path = positions([0, 4, 8], 9, ["linear", "in-quad"], holds=[2, 1, 0])
    assert path[:3] == [Position(0, 0.0)] * 3
    assert path[3:6] == [Position(0, 0.5), Position(1, 0.0), Position(1, 0.0)]
    assert [p.t for p in path[6:]] == pytest.approx([1 / 9, 4 / 9, 1])


def test_the_last_hold_lengthens_a_film():
    path = positions([0, 2], 6, ["linear"], holds=[0, 3])
    assert path == [Position(0, 0.0), Position(0, 0.5), *[Position(0, 1.0)] * 4]


def test_a_loop_waits_at_its_first_keyframe_once():
    path = positions([0, 3, 6], 6, ["linear"] * 2, loop=True, holds=[1, 2])
    assert path == [
        *[Position(0, 0.0)] * 2,
        Position(0, 0.5),
        *[Position(1, 0.0)] * 3,
    ]


@pytest.mark.parametrize("count", range(2, 20))
def test_holds_survive_rounding(count):
    times = [index / 10 for index in range(count + 1)]
    path = positions(times, 2 * count + 1, ["linear"] * count, holds=[0.05] * count + [0.0])
    assert path == [*(Position(i // 2, 0.0) for i in range(2 * count)), Position(count - 1, 1.0)]


def test_no_holds_are_holds_of_nothing():
    plain = positions([0, 1, 3], 8, ["in", "out"])
    assert positions([0, 1, 3], 8, ["in", "out"], holds=[0, 0, 0]) == plain


@pytest.mark.parametrize(
    ("holds", "loop", "message"),
    [
        ([0, 2, 0], False, "keyframe 1 is held for 2; give at least 0, and less than the 2 up to"),
        ([-1, 0, 0], False, "keyframe 0 is held for -1"),
        ([0, 0, math.inf], False, "keyframe 2 is held for inf"),
        ([0, math.nan, 0], False, "keyframe 1 is held for nan"),
        ([0, 0], False, "2 holds for 3 keyframes"),
        ([0, 0, 0], True, "3 holds for 2 keyframes"),
    ],
)
def test_holds_without_time_for_the_way_are_refused(holds, loop, message):
    with pytest.raises(UsageError, match=message):
        positions([0, 1, 3], 8, ["linear"] * 2, loop, holds)
