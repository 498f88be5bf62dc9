"""One number for every frame, as Deforum's schedules have it."""

import math

import pytest

from sdcreative.core.schedules import Schedule, parse_schedule
from sdcreative.errors import UsageError


def values(schedule, frames, last=60):
    return [parse_schedule(schedule).at(frame, last) for frame in frames]


@pytest.mark.parametrize(
    "schedule",
    [
        {0: 1, 30: 7.5},
        {"30": 7.5, "0": 1.0},
        "0:(1.0), 30:(7.5)",
        "0: 1, 30: 7.5",
        "0:(1),30:(7.5),",
    ],
)
def test_numbers_are_joined_by_straight_lines(schedule):
    assert values(schedule, [0, 6, 15, 30, 60]) == pytest.approx([1, 2.3, 4.25, 7.5, 7.5])


@pytest.mark.parametrize("schedule", [3, 3.0, "3", "0:(3)", {0: 3}, "0:(-(-3))", {5: 3, 9: 3}])
def test_a_number_is_the_same_everywhere(schedule):
    assert values(schedule, [0, 7, 60]) == [3, 3, 3]


def test_constant_says_so():
    assert parse_schedule(4).constant == 4
    assert parse_schedule({0: 4, 9: 4}).constant == 4
    assert parse_schedule({0: 4, 9: 5}).constant is None
    assert parse_schedule("t * 0").constant is None


def test_an_expression_is_evaluated_at_every_frame_until_the_next_key():
    found = values("0:(sin(t)), 20:(t/max_f), 40:(s)", [0, 1, 19, 20, 30, 39, 40, 50])
    expected = [0, math.sin(1), math.sin(19), 1 / 3, 0.5, 0.65, 0, 0]
    assert found == pytest.approx(expected)
    assert parse_schedule("s").at(3, 60, seed=9) == 9


def test_a_number_is_left_in_a_straight_line_to_where_an_expression_begins():
    assert values("0:(0), 10:(t*2), 20:(5)", [0, 5, 10, 19, 20]) == [0, 10, 20, 38, 5]


def test_before_the_first_key_it_is_that_keys_value():
    assert values("10:(4), 20:(8)", [0, 9, 10, 15]) == [4, 4, 4, 6]
    assert values("10:(t), 20:(8)", [0, 9, 10, 15]) == [10, 10, 10, 15]


def deforum(keys, frames):
    """What Deforum computes, by its own recipe: a series with gaps, filled by straight lines.

    Frames of an expression are filled in one by one, of a number only its key; then the first and
    the last frame take the nearest value there is, and what is left is interpolated.
    """
    series = [math.nan] * frames
    current = None
    for frame in range(frames):
        current = keys.get(frame, current)
        if callable(current):
            series[frame] = current(frame)
        elif frame in keys:
            series[frame] = current
    known = [frame for frame in range(frames) if not math.isnan(series[frame])]
    for frame in range(frames):
        before = max((k for k in known if k <= frame), default=known[0])
        after = min((k for k in known if k >= frame), default=known[-1])
        share = (frame - before) / (after - before) if after > before else 0
        yield series[before] + share * (series[after] - series[before])


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("0:(1), 12:(4), 30:(2)", {0: 1, 12: 4, 30: 2}),
        ("0:(t*t), 12:(4), 30:(2)", {0: lambda t: t * t, 12: 4, 30: 2}),
        ("5:(3), 12:(9-t), 30:(2)", {5: 3, 12: lambda t: 9 - t, 30: 2}),
        ("0:(max(1, t/5)), 9:(7), 15:(sin(t))", {0: lambda t: max(1, t / 5), 9: 7, 15: math.sin}),
    ],
)
def test_agrees_with_deforum(text, keys):
    assert values(text, range(40), last=39) == pytest.approx(list(deforum(keys, 40)))


def test_easing_is_that_of_the_way_to_the_next_key():
    schedule = {0: {"value": 0, "ease": "in-quad"}, 10: {"value": 10}, 20: 0}
    assert values(schedule, [0, 5, 10, 15]) == pytest.approx([0, 2.5, 10, 5])
    assert values({0: {"value": 1, "ease": "hold"}, 10: 2}, [9, 10]) == [1, 2]
    assert values({0: {"value": "t"}, 10: 0}, [4]) == [4]


def test_commas_within_brackets_belong_to_the_expression():
    assert values("0:(min(t, 5)), 10:(clip(t, 0, (3)))", [4, 9, 12]) == [4, 5, 3]


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("0:(1), 30:(sinn(t))", "'0:(1), 30:(sinn(t))', column 12: 'sinn' is unknown"),
        ("0:(1), x:(2)", "column 8: no frame here; write it like 0:(1), 30:(2)"),
        ("0:(1),,1:(2)", "column 7: no frame here"),
        ("0:()", "column 4: ')' cannot stand here"),
        ("0:(1", "column 5: it ends; ')' is missing"),
        ("0:(1)), 3:(2)", "column 6: ')' cannot stand here"),
        ("0:(1), 0:(2)", "frame 0 comes twice"),
        ({0: 1, "0": 2}, "frame 0 comes twice"),
        ({}, "a schedule of 0 keys"),
        ("", "something is missing"),
        ({-1: 2}, "-1 is no frame of a schedule; give a whole number from 0"),
        ({"x": 2}, "'x' is no frame"),
        ({0.5: 2}, "0.5 is no frame"),
        ({True: 2}, "True is no frame"),
        (True, "holds True at frame 0; give a number"),
        (None, "holds None at frame 0"),
        (math.nan, "holds nan at frame 0"),
        (math.inf, "holds inf at frame 0"),
        (10**400, "at frame 0; give a number"),
        ([1, 2], r"holds [1, 2] at frame 0"),
        ({3: {"valu": 1}}, "frame 3 of a schedule has valu; give value, and ease"),
        ({3: {"value": 1, "ease": 2}}, "has the ease 2; give a name"),
        ({3: {"value": 1, "ease": "inn"}}, "did you mean 'in'?"),
    ],
)
def test_refused(schedule, message):
    with pytest.raises(UsageError) as error:
        parse_schedule(schedule)
    assert message in str(error.value)


def test_a_frame_without_a_value_is_named():
    with pytest.raises(UsageError, match=r"'\(1/\(t-5\)\)' has no value at frame 5"):
        values("0:(1/(t-5))", [4, 5])
    assert isinstance(parse_schedule("0:(1/(t-5))"), Schedule)


class Counting:
    """A sound of which every value is a tenth of the frame's number."""

    def at(self, frame):
        return dict.fromkeys(("onset", "beat", "bass", "mid", "treble", "loudness"), frame / 10)


def test_sound_is_heard_at_the_frame_whose_value_it_makes():
    schedule = parse_schedule("0:(1), 4:(bass + beat), 8:(3)")
    assert schedule.hears
    found = [schedule.at(frame, 9, 0, Counting()) for frame in (0, 2, 4, 5, 8)]
    # What a straight line leads to is heard where it ends.
    assert found == pytest.approx([1, 0.9, 0.8, 1.0, 3])
    assert parse_schedule("4:(loudness), 8:(1)").at(0, 9, 0, Counting()) == 0.4


def test_only_expressions_that_hear_need_a_sound():
    assert not parse_schedule("0:(1), 4:(t)").hears
    assert parse_schedule("0:(t), 4:(onset)").at(2, 9) == 2
    with pytest.raises(UsageError, match="'onset' needs 'audio'"):
        parse_schedule("0:(t), 4:(onset)").at(4, 9)
