"""What a timeline's shots say, frame by frame: prompts, seeds, guidance, strength and motion."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from ..core.shots import Blend, Follow, Inversion, Mixture, Noise, Shot

RESTLESS = 8
"""more things than this, another one every other frame or more often, make no plot"""
EMPTY = "(empty)"


@dataclass(frozen=True)
class Line:
    """A value over the frames.

    Attributes:
        name: for the legend.
        points: (frame, value) pairs, frames increasing; shares of 0 may be left out between two
            others.
    """

    name: str
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Plot:
    """Lines on one scale.

    Attributes:
        title: what the values are.
        lines: in the order in which they come up in the film.
        shares: whether the values are shares, in [0, 1].
        marks: places to point out, in frames.
    """

    title: str
    lines: tuple[Line, ...]
    shares: bool = False
    marks: tuple[float, ...] = ()


def prompt_shares(blend: Blend) -> dict[str, float]:
    """Prompt -> its share of a blend, in (0, 1], the start first.

    >>> prompt_shares(Blend("a bear", "an apple", 0.25))
    {'a bear': 0.75, 'an apple': 0.25}
    """
    if blend.end is None or blend.end == blend.start or blend.t == 0:
        return {blend.start: 1.0}
    if blend.t == 1:
        return {blend.end: 1.0}
    return {blend.start: 1 - blend.t, blend.end: blend.t}


def noise_shares(noise: Noise | Mixture) -> dict[int | Inversion, float]:
    """Seed, or inverted picture -> its share of the noise's variance, in (0, 1].

    Noises of different seeds are orthogonal but for chance, so at t of the arc between two the
    shares are cos^2 and sin^2 of t quarter turns.

    >>> noise_shares(Mixture(((3, 0.6), (8, -0.8))))
    {3: 0.36, 8: 0.6400000000000001}
    """
    if isinstance(noise, Mixture):
        return {seed: weight**2 for seed, weight in noise.terms if weight}
    if noise.end is None or noise.end == noise.start or noise.t == 0:
        return {noise.start: 1.0}
    if noise.t == 1:
        return {noise.end: 1.0}
    angle = noise.t * math.pi / 2
    return {noise.start: math.cos(angle) ** 2, noise.end: math.sin(angle) ** 2}


def started_from(shot: Shot) -> Noise | Mixture:
    """The noise that a shot really starts from."""
    return shot.noise if shot.trunk is None else shot.trunk.noise


class Names:
    """Names of what noise comes from: seeds by their number, pictures in order of appearance."""

    def __init__(self) -> None:
        self._pictures: dict[Inversion, str] = {}

    def of(self, source: int | Inversion) -> str:
        if isinstance(source, Inversion):
            return self._pictures.setdefault(source, f"picture {len(self._pictures) + 1}")
        return f"seed {source}"


@dataclass
class _Shares:
    """Shares of several things, as the frames come."""

    title: str
    what: str
    found: dict[str, dict[int, float]] = field(default_factory=dict)
    count: int = 0

    def add(self, frame: int, shares: Mapping[str, float]) -> None:
        self.count += 1
        for name, share in shares.items():
            self.found.setdefault(name, {})[frame] = share

    def plot(self, frames: list[int]) -> Plot | None:
        """None where there is one thing only, or another one all the time."""
        if len(self.found) < 2 or self._restless():
            return None
        place = {frame: index for index, frame in enumerate(frames)}
        lines = []
        for name, shares in self.found.items():
            # Where it comes up and where it ends are told; of hundreds of things, most are
            # nowhere to be seen in most frames.
            near = {place[frame] + step for frame in shares for step in (-1, 0, 1)}
            shown = (frames[index] for index in sorted(near) if 0 <= index < len(frames))
            lines.append(Line(name, tuple((frame, shares.get(frame, 0.0)) for frame in shown)))
        return Plot(self.title, tuple(lines), shares=True)

    def fact(self) -> str | None:
        """What is the same in every frame, unless that is nothing."""
        if self._restless():
            return f"{len(self.found)} {self.what}s"
        [name, *more] = self.found
        if more or name == EMPTY:
            return None
        return name if name.startswith(self.what) else f"{self.what} {name}"

    def _restless(self) -> bool:
        return len(self.found) > RESTLESS and 2 * len(self.found) > self.count


@dataclass
class _Values:
    """Numbers on one scale, as the frames come; of frames that have them."""

    title: str
    words: str
    rest: float | None = None
    """a value that is not worth telling"""
    found: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, frame: int, value: float, name: str = "") -> None:
        self.found.setdefault(name, {})[frame] = value

    def plot(self) -> Plot | None:
        """None where nothing changes."""
        if all(len(set(values.values())) < 2 for values in self.found.values()):
            return None
        lines = (Line(name, tuple(values.items())) for name, values in self.found.items())
        return Plot(self.title, tuple(lines))

    def fact(self) -> str | None:
        constants = {name: next(iter(values.values())) for name, values in self.found.items()}
        if all(value == self.rest for value in constants.values()):
            return None
        values = (f"{value:g} {name}".strip() for name, value in constants.items())
        return self.words.format(", ".join(values))


class Series:
    """Takes notes of every shot of a timeline; plots and facts come out at the end."""

    def __init__(self) -> None:
        self.frames: list[int] = []
        self.names = Names()
        self._prompts = _Shares("prompts", "prompt")
        self._negatives = _Shares("negative prompts", "negative prompt")
        self._seeds = _Shares("seeds, as shares of the noise", "seed")
        self._guidance = _Values("guidance", "guidance {}")
        self._strength = _Values("strength", "strength {}")
        self._zoom = _Values("zoom per frame", "zoom {} per frame", rest=1.0)
        self._angle = _Values("turn per frame, in degrees", "turn {}° per frame", rest=0.0)
        self._shift = _Values("shift per frame, in pixels", "shift {} per frame", rest=0.0)

    def add(self, frame: int, shot: Shot) -> None:
        """The next shot; frames increase."""
        self.frames.append(frame)
        self._prompts.add(frame, worded(prompt_shares(shot.prompt)))
        self._negatives.add(frame, worded(prompt_shares(shot.negative)))
        noise = noise_shares(started_from(shot))
        self._seeds.add(frame, {self.names.of(source): part for source, part in noise.items()})
        self._guidance.add(frame, shot.guidance_scale)
        if shot.image is None:
            return
        self._strength.add(frame, shot.strength)
        if isinstance(shot.image, Follow):
            motion = shot.image.motion
            self._zoom.add(frame, motion.zoom)
            self._angle.add(frame, motion.angle)
            self._shift.add(frame, motion.shift[0], "right")
            self._shift.add(frame, motion.shift[1], "down")

    def plots(self) -> tuple[Plot, ...]:
        """Of all that changes in the film."""
        shares = (self._prompts, self._negatives, self._seeds)
        found = [each.plot(self.frames) for each in shares]
        found += [each.plot() for each in self._numbers()]
        return tuple(plot for plot in found if plot is not None)

    def facts(self) -> tuple[str, ...]:
        """All that stays as it is, the prompt left out, which stands below every still."""
        found = [each.fact() for each in (self._seeds, self._negatives) if each.found]
        found += [each.fact() for each in self._numbers() if each.plot() is None]
        return tuple(fact for fact in found if fact is not None)

    def _numbers(self) -> list[_Values]:
        every = (self._guidance, self._strength, self._zoom, self._angle, self._shift)
        return [values for values in every if values.found]


def worded(shares: Mapping[str, float]) -> dict[str, float]:
    """Shares under names that can be read: prompts on one line, the empty one in brackets."""
    found: dict[str, float] = {}
    for prompt, share in shares.items():
        name = " ".join(prompt.split()) or EMPTY
        found[name] = found.get(name, 0.0) + share
    return found


def sources(shot: Shot) -> tuple[frozenset[Hashable], ...]:
    """What prompt, negative prompt and noise of a shot are blends of."""
    return (
        frozenset(prompt_shares(shot.prompt)),
        frozenset(prompt_shares(shot.negative)),
        frozenset(noise_shares(started_from(shot))),
    )
