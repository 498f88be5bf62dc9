"""The noise along the path: still, from seed to seed, round a circle, from picture to picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sdcreative import (
    Inversion,
    Mixture,
    Noise,
    Position,
    seed_arc,
    seed_circle,
    seed_curve,
    seed_orbit,
)

from .checks import check_variation_seed, circle_seeds

if TYPE_CHECKING:
    from .schedule import Schedule
    from .settings import AnimateSettings

End = int | Inversion


class Noises:
    """Which noise a frame starts from.

    Args:
        settings: of the film.
        plan: its times.
        ends: seed or inverted picture of every keyframe.
        variation: how far the noise goes to the variation seed, by the number of the frame; a
            plain number if it is always as far.
    """

    def __init__(
        self,
        settings: AnimateSettings,
        plan: Schedule,
        ends: Sequence[End],
        variation: float | Callable[[int], float],
    ) -> None:
        self.settings, self.plan, self.ends, self.variation = settings, plan, ends, variation
        self._seeds = [end for end in ends if not isinstance(end, Inversion)]
        if settings.noise == "still":
            check_variation_seed(settings, self._seeds)

    def rests(self, segment: int) -> bool:
        """Whether the noise is the same all along a segment."""
        start, end = self._ends(segment)
        return self.settings.noise == "still" and start == end and not callable(self.variation)

    def at(self, place: Position, frame: int) -> Noise | Mixture:
        """The noise at a place of the path, in a frame."""
        seed = self.settings.variation_seed
        if seed is None:
            return self._path(place)
        share = self.variation(frame) if callable(self.variation) else self.variation
        start, end = self._ends(place.segment)
        if self.settings.noise == "still" and start == end and isinstance(start, int):
            return Noise(start, seed, share) if share > 0 else Noise(start)
        return _varied(self._terms(place), seed, share)

    def _path(self, place: Position) -> Noise | Mixture:
        start, end = self._ends(place.segment)
        if self.settings.noise == "still":
            if start == end:
                return Noise(start)
            if not (self._is_curve and 0 < place.t < 1):
                return Noise(start, end, place.t)
        return Mixture(self._terms(place))

    def _terms(self, place: Position) -> tuple[tuple[int, float], ...]:
        """Seeds and their weights; there are no inverted pictures where this is asked."""
        settings = self.settings
        if settings.noise == "circle":
            turn = self.plan.share_of_ways(place)
            first, second, third = circle_seeds(settings)
            if settings.noise_radius is None:
                return seed_circle(first, second, turn)
            return seed_orbit(first, second, third, settings.noise_radius, turn)
        if self._is_curve:
            return seed_curve(self._seeds, place.segment, place.t, self.plan.loop)
        count = len(self._seeds)
        start, end = self._seeds[place.segment], self._seeds[(place.segment + 1) % count]
        return seed_arc(start, end, place.t)

    @property
    def _is_curve(self) -> bool:
        """A curve goes through seeds only; pictures' noises are gone to straight."""
        curved = self.settings.path == "smooth" and len(self.ends) > 2
        return curved and len(self._seeds) == len(self.ends)

    def _ends(self, segment: int) -> tuple[End, End]:
        return self.ends[segment], self.ends[(segment + 1) % len(self.ends)]


def _varied(terms: tuple[tuple[int, float], ...], seed: int, share: float) -> Noise | Mixture:
    """The point at a share of the great arc from a mixture to a seed that has no part in it."""
    if share in (0, 1):
        return Mixture(terms) if share == 0 else Noise(seed)
    angle = share * math.pi / 2
    kept = tuple((one, weight * math.cos(angle)) for one, weight in terms)
    return Mixture((*kept, (seed, math.sin(angle))))
