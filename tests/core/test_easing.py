import math
import subprocess
import sys

import pytest

from sdcreative.core.easing import EASINGS, find_easing
from sdcreative.errors import UsageError


def test_names():
    assert list(EASINGS) == ["linear", "in", "out", "in-out", "hold"]


@pytest.mark.parametrize("name", EASINGS)
def test_ends_are_exact_and_it_never_runs_backwards(name):
    values = [EASINGS[name](step / 1000) for step in range(1001)]
    assert values[0] == 0.0
    assert values[-1] == 1.0
    assert values == sorted(values)
    assert all(0.0 <= value <= 1.0 for value in values)


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
    ],
)
def test_closed_forms(name, t, expected):
    assert EASINGS[name](t) == pytest.approx(expected, abs=1e-15)


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


def test_found_by_name():
    assert find_easing("in-out") is EASINGS["in-out"]
    with pytest.raises(UsageError, match="'in_out'; did you mean 'in-out'"):
        find_easing("in_out")
    with pytest.raises(UsageError, match="choose from linear, in, out, in-out, hold"):
        find_easing("bounce")


def test_timing_and_easing_need_no_torch():
    code = (
        "import sys, sdcreative.core.timing, sdcreative.core.easing;"
        "sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
