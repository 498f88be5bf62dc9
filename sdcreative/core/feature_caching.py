"""Which calls of a denoiser are made in full, and which reuse the deep features of one before.

X. Ma, G. Fang, X. Wang, "DeepCache: Accelerating Diffusion Models for Free" (CVPR 2024, arXiv
2312.00858): what a U-Net computes far from its ends hardly changes from step to step, so most
steps evaluate only its outermost layers and take the rest from the last full one (section 3.3).

In words that settings and timelines hold; imports no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..errors import UsageError

CacheSchedule = Literal["uniform", "centred"]


@dataclass(frozen=True)
class Caching:
    """How deep features are reused over the calls of the denoiser.

    What is counted are calls: samplers such as Heun make two a step.

    Attributes:
        every: one call in so many is made in full; 1 reuses nothing.
        schedule: uniform makes every such call; centred makes as many, close together around
            ``centre`` and further apart away from it (1:N non-uniform, section 3.3, equation 9).
        depth: how much of the denoiser a shallow call evaluates, at least 1: of a U-Net so many of
            the last upward ResNets, with what of the downward way leads to them; of a transformer
            so many of the first blocks.
        first: the step, counted from 0, from which on features are reused.
        centre: c of equation 9, as a share of the calls from ``first`` on.
        power: p of equation 9, at least 1; with 1 the calls are evenly apart.

    Raises:
        UsageError: a value out of its range.
    """

    every: int = 3
    schedule: CacheSchedule = "uniform"
    depth: int = 1
    first: int = 0
    centre: float = 0.3
    power: float = 1.4

    def __post_init__(self) -> None:
        for name, least in (("every", 1), ("depth", 1), ("first", 0)):
            if (value := getattr(self, name)) < least:
                raise UsageError(f"cache {name} is {value}; give at least {least}")
        if self.schedule not in ("uniform", "centred"):
            raise UsageError(f"cache schedule is {self.schedule!r}; choose uniform or centred")
        if not 0 <= self.centre <= 1:
            raise UsageError(f"cache centre is {self.centre}; give 0 to 1")
        if not 1 <= self.power < math.inf:
            raise UsageError(f"cache power is {self.power}; give at least 1")


FAST = Caching(every=3, first=3)
"""what ``speed: fast`` sets, as measured in docs/speed.md"""
FAST_INTERVAL = (0.1, 1.0)
"""shares of the steps between which there is guidance then"""


@lru_cache(maxsize=64)
def full_calls(
    caching: Caching, calls: int, per_step: int = 1, guided: tuple[bool, ...] = ()
) -> tuple[bool, ...]:
    """Whether each call of the denoiser is made in full.

    It depends on the place in the noise schedule only, never on where a picture begins or on what
    is in a batch with it, so that a picture is the same in any batch. A picture that has no
    features yet, as image to image begins with, is evaluated in full whatever this says.

    Args:
        caching: how features are reused.
        calls: of the sampler, for a picture from pure noise.
        per_step: calls a step.
        guided: of every step whether there is guidance. A step in which it begins is made in
            full: the unconditional half has no features before.

    >>> full_calls(Caching(every=3), 7)
    (True, False, False, True, False, False, True)
    >>> full_calls(Caching(every=3, first=2), 7)
    (True, True, True, False, False, True, False)
    """
    first = min(calls, caching.first * per_step)
    full = set(range(first)) | {first + place for place in _places(caching, calls - first)}
    for step in range(1, len(guided)):
        if guided[step] and not guided[step - 1]:
            full.add(step * per_step)
    return tuple(call in full for call in range(calls))


def _places(caching: Caching, calls: int) -> list[int]:
    """Which of so many calls are made in full; the first always is."""
    if caching.schedule == "uniform":
        return list(range(0, calls, caching.every))
    count = math.ceil(calls / caching.every)
    centre, power = caching.centre * calls, caching.power
    start, stop = -(centre ** (1 / power)), (calls - centre) ** (1 / power)
    found: list[int] = []
    for number in range(count):
        along = start + (stop - start) * number / count
        # The rounding error of a root and its power must not lose a whole call.
        place = math.floor(math.copysign(abs(along) ** power, along) + centre + 1e-9)
        # Each call once, so that both schedules take the same time.
        least = found[-1] + 1 if found else 0
        found.append(min(max(place, least), calls - count + number))
    return found
