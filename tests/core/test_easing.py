import math
import subprocess
import sys

import pytest

from sdcreative.core.easing import EASINGS, find_easing
from sdcreative.errors import UsageError

FAMILIES = ("sine", "quad", "cubic", "quart", "quint", "expo", "circ", "bounce")


def test_names():
    assert list(EASINGS)[:5] == ["linear", "in", "out", "in-out", "hold"]
    for name in FAMILIES:
        assert {f"in-{name}", f"out-{name}", f"in-out-{name}"} <= set(EASINGS)


@pytest.mark.parametrize("name", [*EASINGS, "steps(7)", "cubic-bezier(0.9, 0, 0.1, 1)"])
def test_ends_are_exact_and_all_but_bounce_never_run_backwards(name):
    values = [find_easing(name)(step / 1000) for step in range(1001)]
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert all(0.0 <= value <= 1.0 for value in values)
    assert (values == sorted(values)) is not name.endswith("bounce")


@pytest.mark.parametrize(
    ("name", "t", "expected"),
    [
        ("linear", 0.3, 0.3),
        ("in", 1 / 3, 1 - math.sqrt(3) / 2),
        ("in", 0.5, 1 - math.sqrt(0.5)),
        ("out", 1 / 3, 0.5),
        ("out", 0.5, math.sqrt(0.5)),
        ("in-out", 1 / 3, 0.25),
        ("in-out", 0.5, 0.5),
        ("hold", math.nextafter(1.0, 0.0), 0.0),
        ("smoothstep", 0.25, 5 / 32),
        ("smootherstep", 0.25, 53 / 512),
        ("smootherstep", 0.75, 459 / 512),
        ("in-sine", 1 / 3, 1 - math.sqrt(3) / 2),
        ("in-quad", 0.3, 0.3**2),
        ("out-quad", 0.3, 1 - 0.7**2),
        ("in-out-quad", 0.3, 2 * 0.3**2),
        ("in-out-quad", 0.7, 1 - 2 * 0.3**2),
        ("in-cubic", 0.3, 0.3**3),
        ("out-cubic", 0.3, 1 - 0.7**3),
        ("in-out-cubic", 0.3, 4 * 0.3**3),
        ("in-quart", 0.3, 0.3**4),
        ("in-out-quart", 0.3, 8 * 0.3**4),
        ("in-quint", 0.3, 0.3**5),
        ("out-quint", 0.3, 1 - 0.7**5),
        ("in-out-quint", 0.3, 16 * 0.3**5),
        ("in-expo", 0.5, 31 / 1023),
        ("out-expo", 0.5, 1 - 31 / 1023),
        ("in-circ", 0.6, 0.2),
        ("out-circ", 0.4, 0.8),
        ("in-out-circ", 0.3, 0.1),
        ("out-bounce", 4 / 11, 1.0),
        ("out-bounce", 6 / 11, 3 / 4),
        ("out-bounce", 9 / 11, 15 / 16),
        ("out-bounce", 21 / 22, 63 / 64),
        ("out-bounce", 0.2, 7.5625 * 0.2**2),
        ("in-bounce", 5 / 11, 1 / 4),
        ("in-out-bounce", 3 / 11 + 0.5, 1 / 2 + 3 / 8),
        ("steps(4)", 0.49, 0.25),
        ("steps(4)", 0.5, 0.5),
        ("steps(1)", 0.999, 0.0),
    ],
)
def test_closed_forms(name, t, expected):
    assert find_easing(name)(t) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("step", range(1, 100))
def test_expo_differs_from_the_usual_power_by_what_that_leaves_at_its_start(step):
    t = step / 100
    assert find_easing("in-expo")(t) == pytest.approx(2 ** (10 * t - 10), abs=1 / 1023)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("step", range(51))
def test_a_family_is_one_curve_its_mirror_and_both_halves(family, step):
    t = step / 100
    into, out, both = (find_easing(f"{way}-{family}") for way in ("in", "out", "in-out"))
    assert out(t) == pytest.approx(1 - into(1 - t), abs=1e-12)
    assert both(t) == pytest.approx(into(2 * t) / 2, abs=1e-12)
    assert both(1 - t) == pytest.approx(1 - both(t), abs=1e-12)


def css(x1: float, x2: float, x: float) -> float:
    """cubic-bezier(x1, 0 or its mirror, x2, 1) of CSS Easing Functions Level 1, by bisection."""
    y1, y2 = (0.0, 1.0)
    low, high = 0.0, 1.0
    for _ in range(60):
        s = (low + high) / 2
        if 3 * (1 - s) ** 2 * s * x1 + 3 * (1 - s) * s**2 * x2 + s**3 < x:
            low = s
        else:
            high = s
    return 3 * (1 - low) ** 2 * low * y1 + 3 * (1 - low) * low**2 * y2 + low**3


@pytest.mark.parametrize(
    ("name", "x1", "x2"), [("in", 0.42, 1.0), ("out", 0.0, 0.58), ("in-out", 0.42, 0.58)]
)
def test_close_to_the_curves_of_css(name, x1, x2):
    for step in range(101):
        assert EASINGS[name](step / 100) == pytest.approx(css(x1, x2, step / 100), abs=0.025)


@pytest.mark.parametrize("step", range(11))
def test_out_mirrors_in(step):
    t = step / 10
    assert EASINGS["out"](t) == pytest.approx(1 - EASINGS["in"](1 - t), abs=1e-15)
    assert EASINGS["in-out"](t) == pytest.approx(1 - EASINGS["in-out"](1 - t), abs=1e-15)


def bezier(p1, p2, s):
    return 3 * (1 - s) ** 2 * s * p1 + 3 * (1 - s) * s**2 * p2 + s**3


@pytest.mark.parametrize(
    ("name", "x1", "y1", "x2", "y2"),
    [
        ("ease", 0.25, 0.1, 0.25, 1.0),
        ("ease-in", 0.42, 0.0, 1.0, 1.0),
        ("ease-out", 0.0, 0.0, 0.58, 1.0),
        ("ease-in-out", 0.42, 0.0, 0.58, 1.0),
        ("cubic-bezier(0.4, 0, 0.2, 1)", 0.4, 0.0, 0.2, 1.0),
        ("cubic-bezier(1, 0, 0, 1)", 1.0, 0.0, 0.0, 1.0),
        ("cubic-bezier(.1,1.05,.3,.9)", 0.1, 1.05, 0.3, 0.9),
    ],
)
@pytest.mark.parametrize("step", range(1, 20))
def test_the_curves_of_css_pass_through_the_points_of_their_parameter(name, x1, y1, x2, y2, step):
    s = step / 20
    # The steepest of these has the slope 0 / 0 in its middle, and 1e-16 of x are 1e-5 of y there.
    assert find_easing(name)(bezier(x1, x2, s)) == pytest.approx(bezier(y1, y2, s), abs=2e-5)


def test_a_straight_bezier_is_linear():
    curve = find_easing("cubic-bezier(0.2, 0.2, 0.7, 0.7)")
    assert [curve(t / 10) for t in range(11)] == pytest.approx([t / 10 for t in range(11)])


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("in_out", "in-out"),
        ("In-Out", "in-out"),
        ("IN_OUT_CUBIC", "in-out-cubic"),
        ("easeInOutCubic", "in-out-cubic"),
        ("ease-in-out-cubic", "in-out-cubic"),
        ("ease_out_bounce", "out-bounce"),
        ("out quad", "out-quad"),
        ("easeInOut", "ease-in-out"),
        ("Smoothstep", "smoothstep"),
    ],
)
def test_names_may_be_written_in_many_ways(written, name):
    assert find_easing(written) is EASINGS[name]


def test_arguments_may_be_spaced():
    assert find_easing(" Steps( 3 )")(0.4) == find_easing("steps(3)")(0.4) == 1 / 3
    wide, tight = (
        find_easing("Cubic_Bezier( .4, 0, .2, 1 )"),
        find_easing("cubic-bezier(.4,0,.2,1)"),
    )
    assert wide(0.3) == tight(0.3)


def test_a_plugins_name_comes_first(monkeypatch):
    def bounce(t):
        return t

    monkeypatch.setitem(EASINGS, "Out_Back", bounce)
    assert find_easing("Out_Back") is bounce
    assert find_easing("out-back") is bounce


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in-oot", "'in-oot'; did you mean 'in-out'"),
        ("bounce", "did you mean 'in-bounce'"),
        ("wobble9", r"choose from linear, in, out, in-out, hold, ease, .* steps\(4\), .* quad"),
        ("out-back", "'out-back' leaves the way between 0 and 1.*choose out-cubic"),
        ("easeInOutElastic", "choose in-out-cubic, or a bounce"),
        ("elastic", "leaves the way"),
        ("steps(0)", r"steps\(0\); give 1 to 10,000 steps"),
        ("steps(99999)", "give 1 to 10,000"),
        ("steps(2.5)", r"cannot be read; write it like steps\(4\)"),
        ("steps(nan)", "cannot be read"),
        ("cubic-bezier(1, 2)", r"cannot be read; write it like cubic-bezier\(0.4, 0, 0.2, 1\)"),
        ("cubic-bezier(1.1, 0, 0, 1)", "x1 and x2 have to lie within 0 and 1"),
        ("cubic-bezier(0.3, -1, 0.2, 1)", "reaches -0.2"),
        ("cubic-bezier(0.3, 0, 0.2, 2)", "reaches 1.2"),
        ("cubic-bezier(0.3, inf, 0.2, 1)", "y1 and y2 have to be numbers"),
    ],
)
def test_refused(name, message):
    with pytest.raises(UsageError, match=message):
        find_easing(name)


def test_timing_and_easing_need_no_torch():
    code = (
        "import sys, sdcreative.core.timing, sdcreative.core.easing, sdcreative.core.schedules;"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
