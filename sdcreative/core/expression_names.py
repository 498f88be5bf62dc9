"""What an expression may name: the frame, what is heard at it, constants and functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..errors import UsageError

SOUND_NAMES = ("onset", "beat", "bass", "mid", "treble", "loudness")
"""names of what is heard at a frame, each in [0, 1]"""


class Hearing(Protocol):
    """What is heard with a film."""

    def at(self, frame: int) -> Mapping[str, float]:
        """The values of ``SOUND_NAMES`` at a frame."""


@dataclass(frozen=True)
class Moment:
    """What an expression is about.

    Attributes:
        t: number of the frame, from 0.
        max_f: number of the last frame.
        s: the film's seed.
        sound: the values of ``SOUND_NAMES``; None for a film without sound.
    """

    t: float
    max_f: float
    s: float = 0.0
    sound: Mapping[str, float] | None = None


Value = Callable[[Moment], float]


def _where(condition: float, then: float, otherwise: float) -> float:
    return then if condition else otherwise


def _clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _heard(name: str) -> Value:
    def value(moment: Moment) -> float:
        if moment.sound is None:
            raise UsageError(f"{name!r} needs 'audio', which names a sound file")
        return moment.sound[name]

    return value


# Name -> (function, fewest and most arguments).
FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    **{name: (getattr(math, name), 1, 1) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: (getattr(math, name), 1, 1) for name in ("asin", "acos", "atan", "sqrt", "exp")},
    **{f"arc{name}": (getattr(math, f"a{name}"), 1, 1) for name in ("sin", "cos", "tan")},
    **{name: (getattr(math, name), 1, 1) for name in ("log", "log10", "floor", "ceil")},
    "round": (round, 1, 1),
    "abs": (abs, 1, 1),
    "atan2": (math.atan2, 2, 2),
    "arctan2": (math.atan2, 2, 2),
    "pow": (math.pow, 2, 2),
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "clip": (_clip, 3, 3),
    "where": (_where, 3, 3),
}
NAMES: dict[str, Value] = {
    "t": lambda moment: moment.t,
    "max_f": lambda moment: moment.max_f,
    "s": lambda moment: moment.s,
    "pi": lambda moment: math.pi,
    "e": lambda moment: math.e,
    **{name: _heard(name) for name in SOUND_NAMES},
}
