"""How guidance acts over the steps of sampling, in words that settings and timelines hold.

Imports no torch; ``core.guidance`` computes with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

Schedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class GuidanceStyle:
    """What is done with the guidance scale beside multiplying by it; the defaults do nothing.

    Attributes:
        rescale: how far the deviation of the guided prediction is brought back to that of the
            conditional one, from 0 to 1 (Lin et al. 2024, section 3.4).
        interval: (from, to), shares of the steps between which there is guidance; outside of it
            the scale is 1 (Kynkäänniemi et al. 2024).
        schedule: how the scale moves over the steps (Wang et al. 2024): constant, or growing from
            1, on average what was asked for.
        clamp: what a schedule does not go below, unless less was asked for; at least 1.
        parallel: how much is kept of the part of guidance that is parallel to the predicted
            picture, from 0 to 1 (eta of adaptive projected guidance, Sadat et al. 2024).
        norm: the longest that the difference of the two predicted pictures may be, over all
            latents of a picture (r of the same); None for any length.

    Raises:
        UsageError: a value out of its range.
    """

    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)
    schedule: Schedule = "constant"
    clamp: float = 1.0
    parallel: float = 1.0
    norm: float | None = None

    def __post_init__(self) -> None:
        for name in ("rescale", "parallel"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise UsageError(f"guidance {name} is {value}; give 0 to 1")
        start, end = self.interval
        if not 0 <= start < end <= 1:
            raise UsageError(
                f"guidance interval is {start} to {end}; give two shares of the steps, from 0 to "
                "1, the smaller first"
            )
        if self.schedule not in ("constant", "linear", "cosine"):
            raise UsageError(
                f"guidance schedule is {self.schedule!r}; choose constant, linear or cosine"
            )
        if not 1 <= self.clamp < math.inf:
            raise UsageError(f"guidance clamp is {self.clamp}; give at least 1")
        if self.norm is not None and not 0 < self.norm < math.inf:
            raise UsageError(f"guidance norm is {self.norm}; give more than 0")

    @property
    def projects(self) -> bool:
        """Whether guidance acts on the predicted picture, and not only on the prediction."""
        return self.parallel != 1 or self.norm is not None


PLAIN = GuidanceStyle()
"""classifier-free guidance as it is"""


def share_of(step: int, steps: int) -> float:
    """Where in sampling a step is: the middle of its share of the way, in (0, 1).

    With the middle, a schedule's mean over all steps is exactly the scale that was asked for.
    """
    return (step + 0.5) / steps


def active(style: GuidanceStyle, share: float) -> bool:
    """Whether there is guidance at a share of the way."""
    start, end = style.interval
    return start <= share and (share < end or end == 1)


def guided_steps(style: GuidanceStyle, start: int, stop: int, steps: int) -> int:
    """How many of the steps from ``start`` up to ``stop`` have guidance."""
    return sum(active(style, share_of(step, steps)) for step in range(start, stop))


def growth(style: GuidanceStyle, share: float) -> float:
    """What a schedule multiplies the scale beyond 1 by; its mean over the way is 1.

    X. Wang, N. Dufour, N. Andreou et al., "Analysis of Classifier-Free Guidance Weight Schedulers"
    (2024), section 4: those that grow, of the same total as a constant weight.
    """
    if style.schedule == "linear":
        return 2 * share
    if style.schedule == "cosine":
        return 1 - math.cos(math.pi * share)
    return 1.0
