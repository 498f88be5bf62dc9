"""The path from keyframe to keyframe: what is shown at every place of it."""

from __future__ import annotations

from dataclasses import replace

from sdcreative import (
    Blend,
    Curve,
    Mixture,
    Noise,
    Position,
    Shot,
    Trunk,
    seed_circle,
    seed_curve,
    seed_orbit,
)

from .guidance import read
from .keyframes import Keyframe
from .schedule import schedule
from .settings import AnimateSettings

SEEDS = 2**32


class Walk:
    """The path from keyframe to keyframe; a loop goes from the last one back to the first."""

    def __init__(self, settings: AnimateSettings) -> None:
        self.settings = settings
        self.keyframes = list(settings.stops.values())
        self.plan = schedule(settings)
        self._ways = self.plan.ways
        self._prompts = [keyframe.prompt for keyframe in self.keyframes]
        self._negatives = [self._negative(keyframe) for keyframe in self.keyframes]
        self._seeds = [self._seed(keyframe) for keyframe in self.keyframes]
        self._schedule = read(settings.guidance_scale)

    def shot(self, at: Position) -> Shot:
        """What is shown at a position.

        Its trunk holds the steps it shares with the frames around it: none at a keyframe, so that
        a keyframe is the plain picture of its prompt and segments meet without a jump, and up to
        ``coherence`` of all steps in mid-segment. All trunks of a segment lie on one path, of the
        embedding in the middle. Where the noise moves nothing can be shared.
        """
        noise = self._noise(at)
        depth = 1 - abs(2 * at.t - 1) ** 4
        shared = round(self.settings.coherence * depth * self.settings.steps)
        trunk = None
        if shared and isinstance(noise, Noise) and noise.end is None:
            middle = self._frame(Position(at.segment, 0.5))
            trunk = Trunk(middle[0], noise, shared, middle[1], middle[2])
        prompt, negative, guidance_scale = self._frame(at)
        return Shot(prompt, noise, negative, guidance_scale, trunk)

    def at_frame(self, at: Position, frame: int) -> Shot:
        """What a frame shows: a schedule of guidance goes by frames, not by places."""
        shot = self.shot(at)
        if self._schedule is None:
            return shot
        return replace(shot, guidance_scale=self._guidance(at, frame))

    def _frame(self, at: Position) -> tuple[Blend, Blend, float]:
        prompt = self._blend(self._prompts, at)
        scale = self._guidance(at, self.plan.frame_at(at))
        return prompt, self._blend(self._negatives, at), scale

    def _blend(self, prompts: list[str], at: Position) -> Blend:
        start, end = prompts[at.segment], prompts[(at.segment + 1) % len(prompts)]
        if at.t == 0 or start == end:
            return Blend(start)
        if at.t == 1:
            return Blend(end)
        settings = self.settings
        curve = self._curve(prompts, at.segment)
        return Blend(start, end, at.t, settings.interpolation, settings.centre, curve)

    def _curve(self, prompts: list[str], segment: int) -> Curve | None:
        if self.settings.path == "straight":
            return None
        count, ways = len(prompts), self._ways
        before = after = None
        if self.plan.loop or segment > 0:
            before = prompts[(segment - 1) % count]
        if self.plan.loop or segment + 2 < count:
            after = prompts[(segment + 2) % count]
        if before is None and after is None:
            return None
        spans = ways[segment - 1], ways[segment], ways[(segment + 1) % len(ways)]
        return Curve(before, after, spans)

    def _noise(self, at: Position) -> Noise | Mixture:
        settings = self.settings
        if settings.noise == "circle":
            turn = self.plan.share_of_ways(at)
            first, second, third = ((settings.seed + i) % SEEDS for i in range(3))
            if settings.noise_radius is None:
                return Mixture(seed_circle(first, second, turn))
            return Mixture(seed_orbit(first, second, third, settings.noise_radius, turn))
        start, end = self._seeds[at.segment], self._seeds[(at.segment + 1) % len(self._seeds)]
        if start == end:
            return Noise(start)
        if settings.path == "smooth" and len(self._seeds) > 2 and 0 < at.t < 1:
            return Mixture(seed_curve(self._seeds, at.segment, at.t, self.plan.loop))
        return Noise(start, end, at.t)

    def _guidance(self, at: Position, frame: int) -> float:
        start = self._scale(self.keyframes[at.segment], frame)
        end = self._scale(self.keyframes[(at.segment + 1) % len(self.keyframes)], frame)
        return start if start == end else (1 - at.t) * start + at.t * end

    def _scale(self, keyframe: Keyframe, frame: int) -> float:
        if keyframe.guidance_scale is not None:
            return keyframe.guidance_scale
        if self._schedule is None:
            return float(self.settings.guidance_scale)
        return self._schedule.at(frame, self.plan.frames - 1, self.settings.seed)

    def _seed(self, keyframe: Keyframe) -> int:
        return self.settings.seed if keyframe.seed is None else keyframe.seed

    def _negative(self, keyframe: Keyframe) -> str:
        own = keyframe.negative_prompt
        return self.settings.negative_prompt if own is None else own
