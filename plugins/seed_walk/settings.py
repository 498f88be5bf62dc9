"""Settings of the `seed_walk` tool."""

from __future__ import annotations

import math
from itertools import count, islice
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from sdcreative import (
    MAX_FRAMES,
    Ease,
    FilmSettings,
    MetricName,
    SettingError,
    split_prompts,
)

SEEDS = {"list": 2, "circle": 2, "around": 3, "random": 3}
"""How many seeds a walk needs; `list` and `random` may have more."""
WANDERING_SEEDS = 8
"""Among so many a random walk goes where fewer than it needs are given."""

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class SeedWalkSettings(FilmSettings):
    """A film of one prompt, or of several in turn, whose noise walks among seeds.

    It is as long as ``frames`` or ``seconds`` say, or else as the way from seed to seed takes at
    ``frames_per_seed`` or ``seconds_per_seed``, or else as its sound. A random walk may have a
    length and a pace.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str | None = None
    """what is shown"""
    prompts: str | Annotated[list[str], Field(min_length=2)] | None = None
    """in place of prompt: a list, or a | b, that the film goes through meanwhile"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    walk: Literal["list", "circle", "around", "random"] = "list"
    """list: seed by seed; circle: through two seeds; around: near one seed; random: wandering"""
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=10_000)] | None = None
    """in the order of the walk; if there are too few, those after the last one, or after seed"""
    smooth: bool = True
    """list: pass the seeds in curves; false: with a corner at each"""
    radius: Annotated[float, Field(gt=0, le=math.pi / 2)] = 0.5
    """around: how far from the seed, in radians; from seed to seed it is pi / 2"""
    frames_per_seed: Annotated[int, Field(ge=1, le=MAX_FRAMES)] | None = None
    """frames from seed to seed"""
    seconds_per_seed: Annotated[float, Field(gt=0)] | None = None
    """seconds from seed to seed; 2 if nothing says how long"""
    frames: Annotated[int, Field(ge=3, le=MAX_FRAMES)] | None = None
    """length of the film, before it is played backwards"""
    ease: Ease = "linear"
    """speed from seed to seed, or over the whole of another walk: linear, in, out, in-out, hold"""
    timing: Literal["even", "perceptual"] = "even"
    """perceptual measures the walk first, and takes steps that look equally large"""
    metric: MetricName = "latent"
    """perceptual: the distance between two pictures"""
    probes: Annotated[int, Field(ge=3, le=1000)] = 33
    """perceptual: pictures measured from seed to seed, or over the whole of another walk"""
    loop: bool = False
    """come back to the first seed; circle and around always do"""

    @field_validator("prompts")
    @classmethod
    def _two_prompts(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, str) and len(split_prompts(value)) < 2:
            raise ValueError("one prompt; write two or more with '|' between, as in 'bear | apple'")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> SeedWalkSettings:
        if self.prompt is None and self.prompts is None:
            raise ValueError("missing key 'prompt', or 'prompts: a bear | an apple'")
        for one, other in (
            ("prompt", "prompts"),
            ("frames_per_seed", "seconds_per_seed"),
        ):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise SettingError(f"give '{one}' or '{other}', not both", other)
        for key, walk in (("smooth", "list"), ("radius", "around")):
            if key in self.model_fields_set and self.walk != walk:
                raise SettingError(f"is for 'walk: {walk}', not '{self.walk}'", key)
        if self.closed and self.ping_pong:
            raise SettingError("this walk comes back by itself; leave it out", "ping_pong")
        self._check_seeds(self.seeds or [])
        if not self.by_ear:
            self.times()
        return self

    def _check_seeds(self, seeds: list[int]) -> None:
        if self.walk == "list" and len(seeds) < 2:
            raise SettingError("give two seeds or more, as in 'seeds: [1, 2, 3]'", "seeds")
        if self.walk in ("circle", "around") and len(seeds) > SEEDS[self.walk]:
            most = SEEDS[self.walk]
            raise SettingError(f"'walk: {self.walk}' has at most {most} seeds", "seeds")
        if self.walk != "list" and len(set(seeds)) < len(seeds):
            raise SettingError(f"'walk: {self.walk}' takes each seed only once", "seeds")

    @property
    def scenes(self) -> list[str]:
        """The prompts in order."""
        if self.prompts is None:
            return [self.prompt or ""]
        if isinstance(self.prompts, str):
            return split_prompts(self.prompts)
        return self.prompts

    @property
    def stops(self) -> list[int]:
        """The seeds in order, as many as the walk is made of."""
        given = self.seeds or [self.seed]
        if len(given) >= SEEDS[self.walk]:
            return given
        wanted = WANDERING_SEEDS if self.walk == "random" else SEEDS[self.walk]
        others = (n % 2**32 for n in count(given[-1] + 1) if n % 2**32 not in given)
        return [*given, *islice(others, wanted - len(given))]

    @property
    def closed(self) -> bool:
        """Whether the film ends where it begins."""
        return self.loop or self.walk in ("circle", "around")

    @property
    def frames_to_next(self) -> float:
        """Frames from seed to seed, a quarter turn, where no length of the film is given."""
        seconds = 2.0 if self.seconds_per_seed is None else self.seconds_per_seed
        return self.frames_per_seed or seconds * self.fps

    @property
    def by_ear(self) -> bool:
        """Whether the film is as long as its sound."""
        lengths = [self.frames, self.seconds]
        if self.walk != "random":
            lengths += [self.frames_per_seed, self.seconds_per_seed]
        return self.audio is not None and lengths == [None] * len(lengths)

    def times(self, sounding: float | None = None) -> list[int]:
        """The frames at which a list walk is on its seeds; of another walk its start and its end.

        Args:
            sounding: seconds that the sound lasts, for a film that is as long.

        Raises:
            SettingError: too many frames, or fewer than seeds.
        """
        legs = len(self.stops) - (0 if self.closed else 1)
        quarters = {"circle": 4.0, "around": 4 * math.sin(self.radius)}.get(self.walk, legs)
        length = quarters * self.frames_to_next
        pace = "frames_per_seed" if self.frames_per_seed is not None else "seconds_per_seed"
        key = pace
        seconds = sounding if self.by_ear else self.seconds
        if self.frames is not None or seconds is not None:
            key = "audio" if self.by_ear else "seconds" if self.frames is None else "frames"
            if getattr(self, pace) is not None and self.walk != "random":
                raise SettingError(f"the film is as long as '{key}' says; leave this out", pace)
            frames = self.frames or max(3.0, (seconds or 0.0) * self.fps)
            length = frames if self.closed else frames - 1
        if length > MAX_FRAMES:
            raise SettingError(f"a film of over {MAX_FRAMES:,} frames; shorten it", key)
        if self.frames_to_next < 1 or (self.walk == "list" and length < legs):
            raise SettingError("less than a frame from seed to seed; give more time", key)
        if self.walk != "list":
            return [0, max(3, round(length))]
        return [int(length * leg / legs + 0.5) for leg in range(legs + 1)]
