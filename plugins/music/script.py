"""What is said and which noise is drawn at every moment of music."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from math import cos, inf, pi, sin

from sdcreative import Blend, Mixture, Noise, UsageError

from .layout import Layout, times_of
from .settings import MusicSettings, Section

_SEEDS = 2**32
# So far from a seed is that of the other side, so that no picture of a song has it already.
_OTHER_SIDE = 2**31


@dataclass(frozen=True)
class Moment:
    """What a picture is made from.

    Attributes:
        section: its number, from 0.
        prompt: what it sounds like.
        negative: what guidance moves away from.
        seeds: (seed, weight) pairs of its noise, whose squared weights add up to 1.
    """

    section: int
    prompt: Blend
    negative: Blend
    seeds: tuple[tuple[int, float], ...]

    def noise(self, apart: float = 0.0) -> Noise | Mixture:
        """The noise of one side; of the other one, where it is ``apart`` from it, in [0, 1]."""
        terms = self.seeds
        if apart:
            angle = apart * pi / 2
            other = (terms[0][0] + _OTHER_SIDE) % _SEEDS
            mine = [(seed, weight * cos(angle)) for seed, weight in terms]
            terms = (*mine, (other, sin(angle)))
        return Noise(terms[0][0]) if len(terms) == 1 else Mixture(terms)


class Script:
    """Sections, or one prompt, along the time of the music.

    Raises:
        UsageError: a section that is over before a picture belongs to it.
    """

    def __init__(self, settings: MusicSettings, layout: Layout) -> None:
        self._settings, self._layout = settings, layout
        # One prompt, which may be empty, is a section without an end.
        whole = Section.model_construct(prompt=settings.prompt or "")
        self._sections = settings.sections or [whole]
        self._times = times_of(settings) if settings.sections else [(0.0, inf)]
        self._starts = [start for start, _ in self._times]
        self._walking = settings.join == "walk"
        self._glide = float(self._walking) if settings.glide is None else settings.glide
        heard = {self._section(number) for number in range(layout.pictures)}
        for index, one in enumerate(self._sections):
            if index not in heard:
                start, end = self._times[index]
                hop = layout.hop * layout.step * layout.stretch
                raise UsageError(
                    f"section {one.name or index + 1} of {end - start:g} s is too short to be "
                    f"heard: music is made {hop:.3g} s at a time; make it longer"
                )

    def at(self, number: int) -> Moment:
        """Of a picture, by the middle of what it adds."""
        index = self._section(number)
        after = self._after(index)
        start, end = self._times[index]
        t = 0.0
        if self._glide and after != index:
            gliding = self._glide * (end - start)
            t = min(1.0, max(0.0, 1 - (end - self._layout.middle(number)) / gliding))
        ends = [self._sections[index], self._sections[after]]
        return Moment(
            index,
            _blend([self._said(one.prompt) for one in ends], t),
            _blend([self._negative(one) for one in ends], t),
            self._walk(index, after, t) if self._walking else self._next_seed(index, number),
        )

    def _section(self, number: int) -> int:
        return max(0, bisect_right(self._starts, self._layout.middle(number)) - 1)

    def _after(self, index: int) -> int:
        """The section after one; the same where it is the last."""
        last = len(self._sections) - 1
        return index + 1 if index < last else 0 if self._layout.loop else last

    def _negative(self, section: Section) -> str:
        own = section.negative_prompt
        return self._settings.negative_prompt if own is None else own

    def _said(self, prompt: str) -> str:
        """The prompt with the tempo in it, unless it says one."""
        tempo = self._layout.beats_per_minute_made
        if tempo is None or re.search(r"\bbpm\b", prompt, re.IGNORECASE):
            return prompt
        return ", ".join(filter(None, (prompt, f"{round(tempo)} bpm")))

    def _next_seed(self, index: int, number: int) -> tuple[tuple[int, float], ...]:
        # A sound that becomes another one keeps its noise.
        steps = 0 if self._settings.morph_to is not None else number
        own = self._sections[index].seed
        first = self._settings.seed if own is None else own
        return (((first + steps) % _SEEDS, 1.0),)

    def _walk(self, index: int, after: int, t: float) -> tuple[tuple[int, float], ...]:
        ends = [self._seed(index), self._seed(after)]
        if t == 0 or ends[0] == ends[1]:
            return ((ends[0], 1.0),)
        return ((ends[0], cos(t * pi / 2)), (ends[1], sin(t * pi / 2)))

    def _seed(self, section: int) -> int:
        own = self._sections[section].seed
        return (self._settings.seed + section) % _SEEDS if own is None else own


def _blend(words: list[str], t: float) -> Blend:
    if t == 0 or words[0] == words[1]:
        return Blend(words[0])
    return Blend(words[0], words[1], t, method="lerp")
