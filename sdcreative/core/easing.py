"""Easing: how fast a segment is walked, as a function from [0, 1] to [0, 1].

The curves of CSS (W3C, "CSS Easing Functions Level 1") and of R. Penner, "Motion, Tweening, and
Easing" (2002), by their usual names; see ``find_easing`` for how they may be written.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable

from ..errors import UsageError

Easing = Callable[[float], float]

MAX_STEPS = 10_000


def linear(t: float) -> float:
    """Constant speed."""
    return t


def ease_in(t: float) -> float:
    """Starts at rest: 1 - cos(pi t / 2)."""
    # Written as the mirror of ease_out: cos(pi / 2) is not exactly 0 in floating point.
    return 1.0 - math.sin(math.pi * (1.0 - t) / 2.0)


def ease_out(t: float) -> float:
    """Ends at rest: sin(pi t / 2)."""
    return math.sin(math.pi * t / 2.0)


def ease_in_out(t: float) -> float:
    """Starts and ends at rest: (1 - cos(pi t)) / 2."""
    return (1.0 - math.cos(math.pi * t)) / 2.0


def hold(t: float) -> float:
    """Stays at the start, and jumps at t = 1."""
    return 1.0 if t >= 1.0 else 0.0


def smoothstep(t: float) -> float:
    """Starts and ends at rest: 3 t^2 - 2 t^3."""
    return t * t * (3.0 - 2.0 * t)


def smootherstep(t: float) -> float:
    """Starts and ends at rest, without a jolt: 6 t^5 - 15 t^4 + 10 t^3.

    K. Perlin, "Improving noise", SIGGRAPH 2002.
    """
    # From t = 1 back, where the sum of the terms would be rounded.
    return t**3 * (10.0 + t * (6.0 * t - 15.0)) if t <= 0.5 else 1.0 - smootherstep(1.0 - t)


def steps(count: int) -> Easing:
    """``count`` equal jumps, the last at t = 1 (``steps(count, jump-end)`` of CSS).

    Raises:
        UsageError: a count below 1, or over 10,000.
    """
    if not 1 <= count <= MAX_STEPS:
        raise UsageError(f"steps({count}); give 1 to {MAX_STEPS:,} steps")

    def jumps(t: float) -> float:
        return math.floor(t * count) / count

    return jumps


def cubic_bezier(x1: float, y1: float, x2: float, y2: float) -> Easing:
    """The Bezier curve from (0, 0) to (1, 1) with these inner control points, y over x.

    Raises:
        UsageError: x1 or x2 outside [0, 1], where the curve would turn back in time, or a curve
            that leaves [0, 1].
    """
    name = f"cubic-bezier({x1:g}, {y1:g}, {x2:g}, {y2:g})"
    if not (0 <= x1 <= 1 and 0 <= x2 <= 1):
        raise UsageError(f"{name}: x1 and x2 have to lie within 0 and 1")
    if not (math.isfinite(y1) and math.isfinite(y2)):
        raise UsageError(f"{name}: y1 and y2 have to be numbers")
    for s in _turning_points(y1, y2):
        if not -1e-9 <= (y := _bezier(y1, y2, s)) <= 1 + 1e-9:
            raise UsageError(
                f"{name} reaches {y:.2f}; between keyframes a path goes from 0 to 1 only: "
                "bring y1 and y2 closer to these"
            )

    def curve(t: float) -> float:
        if not 0.0 < t < 1.0:
            return t
        low, high = 0.0, 1.0
        # Each round halves what is left of s; after 60 it is below the precision of a float.
        for _ in range(60):
            middle = (low + high) / 2
            if _bezier(x1, x2, middle) < t:
                low = middle
            else:
                high = middle
        return min(1.0, max(0.0, _bezier(y1, y2, high)))

    return curve


def _bezier(first: float, second: float, s: float) -> float:
    return s * (3 * (1 - s) * ((1 - s) * first + s * second) + s * s)


def _turning_points(first: float, second: float) -> list[float]:
    """Where in (0, 1) the Bezier curve with the control values 0, first, second, 1 turns back."""
    # Its derivative, divided by 3, is a s^2 + 2 b s + c.
    a, b, c = 3 * (first - second) + 1, second - 2 * first, first
    if a == 0:
        roots = [-c / (2 * b)] if b else []
    elif b * b < a * c:
        roots = []
    else:
        root = math.sqrt(b * b - a * c)
        roots = [(-b - root) / a, (-b + root) / a]
    return [s for s in roots if 0 < s < 1]


def _power(exponent: int) -> Easing:
    return lambda t: math.pow(t, exponent)


def _expo(t: float) -> float:
    # 2^(10 (t - 1)), as it is usually written, is not 0 at t = 0.
    return (math.pow(2.0, 10.0 * t) - 1.0) / 1023.0


def _circ(t: float) -> float:
    return 1.0 - math.sqrt(1.0 - t * t)


def _in_bounce(t: float) -> float:
    """Four parabolas of one curvature; the others are the way back from the last."""
    back = 1.0 - t
    for middle, height, end in _BOUNCES:
        if back < end:
            return 1.0 - (121 / 16 * (back - middle) ** 2 + height)
    return 0.0


_BOUNCES = (
    (0.0, 0.0, 4 / 11),
    (6 / 11, 3 / 4, 8 / 11),
    (9 / 11, 15 / 16, 10 / 11),
    (21 / 22, 63 / 64, 1.0),
)


def _family(name: str, curve: Easing) -> dict[str, Easing]:
    """The curve, its mirror, and both halves joined."""

    def out(t: float) -> float:
        return 1.0 - curve(1.0 - t)

    def in_out(t: float) -> float:
        return curve(2.0 * t) / 2.0 if t < 0.5 else 1.0 - curve(2.0 - 2.0 * t) / 2.0

    return {f"in-{name}": curve, f"out-{name}": out, f"in-out-{name}": in_out}


EASINGS: dict[str, Easing] = {
    "linear": linear,
    "in": ease_in,
    "out": ease_out,
    "in-out": ease_in_out,
    "hold": hold,
    "ease": cubic_bezier(0.25, 0.1, 0.25, 1.0),
    "ease-in": cubic_bezier(0.42, 0.0, 1.0, 1.0),
    "ease-out": cubic_bezier(0.0, 0.0, 0.58, 1.0),
    "ease-in-out": cubic_bezier(0.42, 0.0, 0.58, 1.0),
    "smoothstep": smoothstep,
    "smootherstep": smootherstep,
    "in-sine": ease_in,
    "out-sine": ease_out,
    "in-out-sine": ease_in_out,
    **_family("quad", _power(2)),
    **_family("cubic", _power(3)),
    **_family("quart", _power(4)),
    **_family("quint", _power(5)),
    **_family("expo", _expo),
    **_family("circ", _circ),
    **_family("bounce", _in_bounce),
}
"""By name; each maps 0 to exactly 0 and 1 to exactly 1, and stays between. Plugins add theirs.

Those of bounce run backwards on their way, all others never do.
"""

FAMILIES = ("sine", "quad", "cubic", "quart", "quint", "expo", "circ", "bounce")


def find_easing(name: str) -> Easing:
    """The easing of that name.

    Case does not matter, nor whether words are joined by hyphens, underscores or capitals;
    Penner's may begin with "ease": in-out-cubic, ease_in_out_cubic and easeInOutCubic are one.
    ``steps(4)`` and ``cubic-bezier(0.4, 0, 0.2, 1)`` are written as in CSS.

    Raises:
        UsageError: there is none, or it leaves [0, 1].
    """
    if name in EASINGS:
        return EASINGS[name]
    plain = _plain(name)
    known = {_plain(each): easing for each, easing in EASINGS.items()}
    for candidate in (plain, plain.removeprefix("ease-")):
        if candidate in known:
            return known[candidate]
    call = re.fullmatch(r"([^()]*)\((.*)\)\s*", name)
    if call and (function := _plain(call[1])) in ("steps", "cubic-bezier"):
        return _call(name, function, call[2])
    if overshooting := re.fullmatch(r"(ease-)?((in-out|in|out)-)?(back|elastic)", plain):
        raise UsageError(
            f"easing {name!r} leaves the way between 0 and 1, and beyond a keyframe there is "
            f"nothing to show; choose {overshooting[3] or 'in-out'}-cubic, or a bounce"
        )
    if close := difflib.get_close_matches(plain, known, n=1):
        hint = f"did you mean {close[0]!r}?"
    else:
        single = [each for each in EASINGS if each.rpartition("-")[2] not in FAMILIES]
        hint = (
            f"choose from {', '.join(single)}, steps(4), cubic-bezier(0.4, 0, 0.2, 1), and in-, "
            f"out- or in-out- with {', '.join(FAMILIES)}"
        )
    raise UsageError(f"no easing is called {name!r}; {hint}")


def _plain(name: str) -> str:
    """Lower case, words joined by hyphens."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name)
    return re.sub(r"[\s_-]+", "-", words.strip()).lower()


def _call(name: str, function: str, arguments: str) -> Easing:
    example = "steps(4)" if function == "steps" else "cubic-bezier(0.4, 0, 0.2, 1)"
    try:
        numbers = [float(each) for each in arguments.split(",")]
    except ValueError:
        numbers = []
    if function == "steps" and len(numbers) == 1 and numbers[0].is_integer():
        return steps(int(numbers[0]))
    if function == "cubic-bezier" and len(numbers) == 4:
        return cubic_bezier(*numbers)
    raise UsageError(f"easing {name!r} cannot be read; write it like {example}")
