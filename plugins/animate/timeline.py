"""Settings of the `animate` tool to a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from sdcreative import Between, Blend, Frame, Noise, Position, Shot, Timeline, Trunk

from .schedule import schedule
from .settings import AnimateSettings, Keyframe


def timeline(settings: AnimateSettings) -> Timeline:
    """Shots along the path through the keyframes, with in-betweens where they are asked for."""
    plan = schedule(settings)
    path = plan.positions()
    walk = Walk(settings)
    last = len(path) - 1
    regular = range(0, last, settings.inbetween + 1)
    shots = sorted({*regular, *_keyframes(path), last})

    def frames() -> Iterator[Frame]:
        for before, after in pairwise(shots):
            yield walk.shot(path[before])
            for i in range(before + 1, after):
                yield Between(_share(path[before], path[i], path[after]))
        yield walk.shot(path[shots[-1]])

    return Timeline(
        frames,
        len(path),
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        fps=settings.fps,
        ping_pong=settings.ping_pong,
    )


class Walk:
    """The path from keyframe to keyframe; a loop goes from the last one back to the first."""

    def __init__(self, settings: AnimateSettings) -> None:
        self.settings = settings
        self.keyframes = list(settings.stops.values())

    def shot(self, at: Position) -> Shot:
        """What is shown at a position.

        Its trunk holds the steps it shares with the frames around it: none at a keyframe, so that
        a keyframe is the plain picture of its prompt and segments meet without a jump, and up to
        ``coherence`` of all steps in mid-segment. All trunks of a segment lie on one path, of the
        embedding in the middle. Between two seeds nothing can be shared.
        """
        keyframes = self.keyframes
        start, end = keyframes[at.segment], keyframes[(at.segment + 1) % len(keyframes)]
        noise = Noise(self._seed(start), self._seed(end), at.t)
        if noise.start == noise.end:
            noise = Noise(noise.start)
        depth = 1 - abs(2 * at.t - 1) ** 4
        shared = round(self.settings.coherence * depth * self.settings.steps)
        trunk = None
        if shared and noise.end is None:
            middle = self._frame(start, end, 0.5)
            trunk = Trunk(middle[0], noise, shared, middle[1], middle[2])
        prompt, negative, guidance_scale = self._frame(start, end, at.t)
        return Shot(prompt, noise, negative, guidance_scale, trunk)

    def _frame(self, start: Keyframe, end: Keyframe, t: float) -> tuple[Blend, Blend, float]:
        scale = (1 - t) * self._guidance(start) + t * self._guidance(end)
        prompt = self._blend(start.prompt, end.prompt, t)
        return prompt, self._blend(self._negative(start), self._negative(end), t), scale

    def _blend(self, start: str, end: str, t: float) -> Blend:
        if t == 0 or start == end:
            return Blend(start)
        return Blend(end) if t == 1 else Blend(start, end, t, self.settings.interpolation)

    def _seed(self, keyframe: Keyframe) -> int:
        return self.settings.seed if keyframe.seed is None else keyframe.seed

    def _negative(self, keyframe: Keyframe) -> str:
        own = keyframe.negative_prompt
        return self.settings.negative_prompt if own is None else own

    def _guidance(self, keyframe: Keyframe) -> float:
        own = keyframe.guidance_scale
        return self.settings.guidance_scale if own is None else own


def _keyframes(path: list[Position]) -> list[int]:
    """Frames that show a keyframe, which is never left to in-betweens; of a hold the first."""
    return [i for i, p in enumerate(path) if p.t == 0 and (i == 0 or path[i - 1] != p)]


def _share(before: Position, here: Position, after: Position) -> float:
    """Where a frame lies on the eased way between two others, in [0, 1]."""
    span = _distance(after) - _distance(before)
    return (_distance(here) - _distance(before)) / span if span > 0 else 0.0


def _distance(position: Position) -> float:
    return position.segment + position.t
