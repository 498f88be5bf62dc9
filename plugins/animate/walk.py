"""The path from keyframe to keyframe: what is shown at every place of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdcreative import Blend, Curve, Inversion, Noise, Position, Shot, Trunk, read_schedule

from .fading import start_picture
from .listening import CHANGING
from .noises import End, Noises

if TYPE_CHECKING:
    from sdcreative import Heard, Sizes

    from .scenes import Scene
    from .schedule import Schedule
    from .settings import AnimateSettings


class Walk:
    """The path from keyframe to keyframe; a loop goes from the last one back to the first.

    Args:
        settings: of the film.
        plan: when its keyframes are shown.
        scenes: what is shown at each of them.
        heard: what expressions hear.
    """

    def __init__(
        self,
        settings: AnimateSettings,
        plan: Schedule,
        scenes: Sequence[Scene],
        heard: Heard | None = None,
    ) -> None:
        self.settings, self.plan, self.scenes, self.heard = settings, plan, scenes, heard
        self._ways = plan.ways
        self._prompts = [scene.prompt for scene in scenes]
        self._negatives = [scene.negative_prompt for scene in scenes]
        self._schedules = {name: read_schedule(getattr(settings, name)) for name in CHANGING}
        variation = self._schedules["variation"].constant
        self.noises = Noises(
            settings,
            plan,
            self._ends(),
            (lambda frame: self._number("variation", frame)) if variation is None else variation,
        )

    def shot(self, at: Position, frame: int | None = None) -> Shot:
        """What is shown at a position.

        Its trunk holds the steps it shares with the frames around it: none at a keyframe, so that
        a keyframe is the plain picture of its prompt and segments meet without a jump, and up to
        ``coherence`` of all steps in mid-segment. All trunks of a segment lie on one path, of the
        embedding in the middle. Where the noise moves, or a picture is painted on, nothing can be
        shared.

        Args:
            at: place on the path.
            frame: schedules go by frames, not by places; the one that falls there at constant
                speed if left out.
        """
        frame = self.plan.frame_at(at) if frame is None else frame
        noise = self.noises.at(at, frame)
        prompt, negative, guidance_scale = self._frame(at, frame)
        image, strength = None, 1.0
        if self.settings.images == "fade":
            image, strength = start_picture(
                *self._around(at), at.t, self._number("strength", frame)
            )
        trunk = None
        if image is None and isinstance(noise, Noise) and self.noises.rests(at.segment):
            trunk = self._trunk(at, noise)
        return Shot(
            prompt,
            noise,
            negative,
            guidance_scale,
            trunk,
            image=image,
            strength=strength,
            sizes=self._sizes(at),
        )

    def _trunk(self, at: Position, noise: Noise) -> Trunk | None:
        depth = 1 - abs(2 * at.t - 1) ** 4
        shared = round(self.settings.coherence * depth * self.settings.steps)
        if not shared:
            return None
        middle = Position(at.segment, 0.5)
        prompt, negative, scale = self._frame(middle, self.plan.frame_at(middle))
        return Trunk(prompt, noise, shared, negative, scale, self._sizes(middle))

    def _sizes(self, at: Position) -> Sizes | None:
        """Known of both keyframes around, or of neither."""
        start, end = (scene.sizes for scene in self._around(at))
        return start.towards(end, at.t) if start and end else None

    def _frame(self, at: Position, frame: int) -> tuple[Blend, Blend, float]:
        start, end = (self._scale(scene, frame) for scene in self._around(at))
        scale = start if start == end else (1 - at.t) * start + at.t * end
        return self._blend(self._prompts, at), self._blend(self._negatives, at), scale

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

    def _ends(self) -> list[End]:
        """The noise of every keyframe; keyframes of one picture that are alike have the same."""
        known: dict[tuple[object, ...], Inversion] = {}
        ends: list[End] = []
        for scene, time in zip(self.scenes, self.plan.times, strict=False):
            if scene.picture is None or self.settings.images == "fade":
                ends.append(scene.seed)
                continue
            scale = self._scale(scene, min(round(time), self.plan.frames - 1))
            prompt, negative = Blend(scene.prompt), Blend(scene.negative_prompt)
            key = (id(scene.picture), prompt, negative, scale)
            if key not in known:
                known[key] = Inversion(scene.picture, prompt, negative, scale)
            ends.append(known[key])
        return ends

    def _around(self, at: Position) -> tuple[Scene, Scene]:
        return self.scenes[at.segment], self.scenes[(at.segment + 1) % len(self.scenes)]

    def _scale(self, scene: Scene, frame: int) -> float:
        own = scene.guidance_scale
        return self._number("guidance_scale", frame) if own is None else own

    def _number(self, name: str, frame: int) -> float:
        """The value of a schedule at a frame."""
        last, seed = self.plan.frames - 1, self.settings.seed
        return self._schedules[name].at(frame, last, seed, self.heard)
