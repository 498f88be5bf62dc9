"""What is said and which noise is drawn at every moment of music."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from math import cos, pi, sin

from sdcreative import Blend, Mixture, Noise

from .layout import Layout, times_of
from .settings import MusicSettings, Section

_SEEDS = 2**32
# So far from a seed is that of the other side, so that no picture of a song has it already.
_OTHER_SIDE = 2**31


@dataclass(frozen=True)
class Moment:
    """What a picture is made from.

    Attributes:
        prompt, negative: what it sounds like, and what guidance moves away from.
        section: number of the section, from 0.
        t: how far it has passed into the next one, in [0, 1].
    """

    prompt: Blend
    negative: Blend
    section: int
    t: float


class Script:
    """Sections, or one prompt, along the time of the music."""

    def __init__(self, settings: MusicSettings, layout: Layout) -> None:
        self._settings, self._layout = settings, layout
        self._sections = settings.sections or [Section(prompt=settings.prompt or "", seconds=1)]
        self._times = times_of(settings) if settings.sections else [(0.0, float("inf"))]
        walking = settings.join == "walk"
        self._glide = settings.glide if settings.glide is not None else float(walking)

    def at(self, number: int) -> Moment:
        """Of a picture, by the middle of what it adds."""
        seconds = self._layout.middle(number)
        index = max(0, bisect_right([start for start, _ in self._times], seconds) - 1)
        start, end = self._times[index]
        t = 0.0
        after = self._after(index)
        if self._glide and after is not None:
            begins = end - self._glide * (end - start)
            t = min(1.0, max(0.0, (seconds - begins) / (end - begins)))
        return Moment(
            self._blend([self._said(one.prompt) for one in self._sections], index, after, t),
            self._blend([self._negative(one) for one in self._sections], index, after, t),
            index,
            t,
        )

    def _after(self, index: int) -> int | None:
        if index + 1 < len(self._sections):
            return index + 1
        return 0 if self._layout.loop and len(self._sections) > 1 else None

    @staticmethod
    def _blend(words: list[str], index: int, after: int | None, t: float) -> Blend:
        if t == 0 or after is None or words[after] == words[index]:
            return Blend(words[index])
        return Blend(words[index], words[after], t, method="lerp")

    def _negative(self, section: Section) -> str:
        own = section.negative_prompt
        return self._settings.negative_prompt if own is None else own

    def _said(self, prompt: str) -> str:
        """The prompt with the tempo in it, unless it says one."""
        tempo = self._layout.beats_per_minute_made
        if tempo is None or re.search(r"\bbpm\b", prompt, re.IGNORECASE):
            return prompt
        return f"{prompt}, {round(tempo)} bpm"

    def noise(self, number: int, voice: int) -> Noise | Mixture:
        """Of a picture, for left (0) or right (1)."""
        terms = self._terms(number)
        if voice and self._settings.stereo and self._settings.audio is None:
            angle = self._settings.stereo * pi / 2
            other = (terms[0][0] + _OTHER_SIDE) % _SEEDS
            terms = [(seed, weight * cos(angle)) for seed, weight in terms]
            terms.append((other, sin(angle)))
        if len(terms) == 1:
            return Noise(terms[0][0])
        return Mixture(tuple(terms))

    def _terms(self, number: int) -> list[tuple[int, float]]:
        """Seeds and their weights, whose squares add up to 1."""
        settings = self._settings
        if settings.morph_to is not None:
            return [(settings.seed, 1.0)]
        moment = self.at(number)
        own = self._sections[moment.section].seed
        if settings.join == "continue":
            first = settings.seed if own is None else own
            return [((first + number) % _SEEDS, 1.0)]
        after = self._after(moment.section)
        ends = [self._seed(moment.section), self._seed(moment.section if after is None else after)]
        if moment.t == 0 or ends[0] == ends[1]:
            return [(ends[0], 1.0)]
        angle = moment.t * pi / 2
        return [(ends[0], cos(angle)), (ends[1], sin(angle))]

    def _seed(self, section: int) -> int:
        own = self._sections[section].seed
        return (self._settings.seed + section) % _SEEDS if own is None else own
