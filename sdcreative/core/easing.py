"""Easing: how fast a segment is walked, as a function from [0, 1] to [0, 1].

The sine family of R. Penner, "Motion, Tweening, and Easing" (2002): within 0.025 of the
``ease-in``, ``ease-out`` and ``ease-in-out`` curves of CSS, and, unlike those, of closed form.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from ..errors import UsageError

Easing = Callable[[float], float]


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


EASINGS: dict[str, Easing] = {
    "linear": linear,
    "in": ease_in,
    "out": ease_out,
    "in-out": ease_in_out,
    "hold": hold,
}
"""By name; each maps 0 to exactly 0 and 1 to exactly 1, and never runs backwards."""


def find_easing(name: str) -> Easing:
    """The easing of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return EASINGS[name]
    except KeyError:
        close = difflib.get_close_matches(name, EASINGS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(EASINGS)}"
        raise UsageError(f"no easing is called {name!r}; {hint}") from None
