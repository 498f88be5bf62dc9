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


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("times", [[0, 60], [0, 24, 36], [0, 0.1, 0.3], [0, 1 / 3, 2.5, 7]])
def test_the_same_energy_in_every_frame_is_time(times, loop):
    easings = ["in-out"] * (len(times) - 1)
    even = positions(times, 31, easings, loop)
    path = positions(times, 31, easings, loop, energy=[0.3] * 31)
    assert [p.segment for p in path] == [p.segment for p in even]
    assert [p.t for p in path] == pytest.approx([p.t for p in even], abs=1e-9)


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("holds", [(), [0.01, 0.02, 0.0]])
def test_no_energies_change_nothing(loop, holds):
    times, easings = [0, 0.1, 0.3], ["in-cubic", "hold"]
    holds = holds[: 2 if loop else 3]
    plain = positions(times, 29, easings, loop, holds)
    assert positions(times, 29, easings, loop, holds, energy=()) == plain
    assert positions(times, 29, easings, loop, holds, energy=[0.0] * 29) == plain


@pytest.mark.parametrize("spike", range(1, 8))
def test_one_spike_is_the_whole_way_and_leads_to_its_frame(spike):
    energy = [0.0] * 9
    energy[spike] = 5.0
    path = positions([0, 8], 9, ["in-out"], energy=energy)
    assert [p.t for p in path] == [0.0] * spike + [1.0] * (9 - spike)


def test_way_is_in_proportion_to_energy():
    path = positions([0, 4, 8], 9, ["linear", "in-quad"], energy=[99, 1, 0, 2, 1, 3, 0, 0, 1])
    assert [p.segment for p in path] == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert [p.t for p in path] == [0, 0.25, 0.25, 0.75, 0, 0.75**2, 0.75**2, 0.75**2, 1]


def test_what_happens_during_a_hold_does_not_count():
    path = positions([0, 6], 7, ["linear"], holds=[2, 0], energy=[0, 50, 50, 1, 2, 0, 1])
    assert [p.t for p in path] == [0, 0, 0, 0.25, 0.75, 0.75, 1]
    ended = positions([0, 2], 5, ["linear"], holds=[0, 2], energy=[0, 1, 3, 50, 50])
    assert [p.t for p in ended] == [0, 0.25, 1, 1, 1]


def test_the_last_step_of_a_loop_is_that_to_the_first_frame():
    path = positions([0, 4], 4, ["linear"], loop=True, energy=[5, 1, 2, 2])
    assert path == [Position(0, t) for t in (0.0, 0.1, 0.3, 0.5)]
    path = positions([0, 2, 4], 4, ["linear"] * 2, loop=True, energy=[3, 1, 1, 1])
    assert path == [Position(0, 0.0), Position(0, 0.5), Position(1, 0.0), Position(1, 0.25)]


def test_a_way_on_which_nothing_happens_is_walked_in_time():
    path = positions([0, 4, 8], 9, ["linear"] * 2, energy=[0, 0, 0, 0, 0, 0, 1, 0, 0])
    assert path[:5] == [Position(0, t) for t in (0.0, 0.25, 0.5, 0.75)] + [Position(1, 0.0)]
    assert [p.t for p in path[5:]] == [0, 1, 1, 1]


def test_a_step_across_a_keyframe_is_shared_by_both_ways():
    path = positions([0, 2.5, 5], 6, ["linear"] * 2, energy=[0, 1, 1, 4, 1, 1])
    assert [(p.segment, p.t) for p in path] == [
        (0, 0.0), (0, 0.25), (0, 0.5), (1, 0.5), (1, 0.75), (1, 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("count", range(2, 40))
def test_a_spike_beside_a_keyframe_stays_there_despite_rounding(count):
    # 0.3 * 1 / 3 < 0.1: a billionth of the next way's spike must not count for this one.
    times = [index / 10 for index in range(count + 1)]
    energy = [1.0 if frame % 4 == 3 else 0.0 for frame in range(2 * count + 1)]
    path = positions(times, 2 * count + 1, ["linear"] * count, energy=energy)
    assert [p.segment for p in path] == [min(i // 2, count - 1) for i in range(2 * count + 1)]
    assert {round(p.t, 12) for p in path} <= {0.0, 0.5, 1.0}


def test_keyframes_keep_their_times_and_nothing_goes_back():
    energy = [(7 * frame) % 5 / 3 for frame in range(50)]
    path = positions([0, 10, 13, 49], 50, ["out"] * 3, energy=energy)
    assert [path[frame] for frame in (0, 10, 13)] == [Position(n, 0.0) for n in range(3)]
    assert path[-1] == Position(2, 1.0)
    assert [p.segment + p.t for p in path] == sorted(p.segment + p.t for p in path)


@pytest.mark.parametrize(
    ("energy", "message"),
    [
        ([1, 1], "energies of 2 frames for 3"),
        ([1, -1, 1], "frame 1 has the energy -1"),
        ([1, 1, math.nan], "frame 2 has the energy nan"),
        ([math.inf, 1, 1], "frame 0 has the energy inf"),
        ([1, 1e308, 1e308], "add up to infinity"),
    ],
)
def test_energies_that_are_none_are_refused(energy, message):
    with pytest.raises(UsageError, match=message):
        positions([0, 2], 3, ["linear"], energy=energy)
