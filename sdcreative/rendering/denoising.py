"""Shots to final latents: trunks and embeddings shared, others joining a batch on the way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite

import torch
from PIL import Image
from torch import Tensor

from ..core.prompt_programme import lengths
from ..core.sampling import Inpainting, initial_latents
from ..core.shots import Crossfade, Mixture, Noise, Shot, Trunk
from ..core.timeline import Timeline
from ..errors import UsageError
from ..models.loading import Parts
from ..models.scheduling import Flight
from .beginnings import fitted, without_weightless
from .embeddings import Row, remember
from .passes import Sampling, SecondPass

REMEMBERED_TRUNKS = 4


@dataclass(frozen=True, eq=False)
class Prepared:
    """A shot with its conditioning; shots of one kind can be denoised in one batch.

    Attributes:
        row: what it is denoised towards.
        start: the step from which on it is denoised by itself.
        second: what it is denoised towards in a second pass, where there is one.
    """

    shot: Shot
    index: int
    row: Row
    start: int
    second: Row | None = None

    @property
    def kind(self) -> tuple[object, ...]:
        row, shot = self.row, self.shot
        start = None if shot.image is None else self.start
        return lengths(row.conditional), row.unconditional is None, start, shot.mask is None

    def composed(self, picture: Image.Image, steps: int) -> Image.Image:
        """What is kept of a start image comes from its pixels, not from the autoencoder."""
        image, mask = self.shot.image, self.shot.mask
        if not isinstance(image, Image.Image):
            return picture
        if self.start == steps:
            return fitted(image, picture.size).copy()
        if mask is None:
            return picture
        return Image.composite(
            picture, fitted(image, picture.size), fitted(mask, picture.size, "L")
        )


class Denoiser:
    """Denoises the shots of one timeline with one model; not to be shared between threads."""

    def __init__(
        self,
        parts: Parts,
        timeline: Timeline,
        size: tuple[int, int],
        on_call: Callable[[int], None],
    ) -> None:
        self.parts, self.timeline, self.size, self.on_call = parts, timeline, size, on_call
        self.device: torch.device = parts.device
        self.sampling = Sampling(parts, timeline, size, on_call)
        self.embeddings = self.sampling.embeddings
        self._second = SecondPass.of(parts, timeline, size, on_call)
        self._trunks: OrderedDict[Trunk, dict[int, Flight]] = OrderedDict()
        self._beginnings = self.sampling.beginnings

    def prepare(self, shot: Shot, index: int) -> Prepared:
        """The shot with its conditioning.

        Raises:
            UsageError: values that do not go together.
        """
        if shot.image is None and (shot.mask is not None or shot.strength != 1):
            raise UsageError(f"frame {index}: mask and strength need an image")
        if shot.image is not None and shot.trunk is not None:
            raise UsageError(f"frame {index}: a shot has a trunk or an image, not both")
        if isinstance(shot.image, Crossfade):
            shot = replace(shot, image=without_weightless(shot.image))
            if shot.mask is not None and isinstance(shot.image, Crossfade):
                raise UsageError(f"frame {index}: a mask needs one start picture, not two")
        if not isfinite(shot.guidance_scale):
            raise UsageError(f"frame {index}: guidance_scale is {shot.guidance_scale}")
        if not 0 <= shot.strength <= 1:
            raise UsageError(f"frame {index}: strength is {shot.strength}; give 0 to 1")
        steps = self.timeline.steps
        start = steps - round(steps * shot.strength)
        if shot.trunk is not None:
            start = shot.trunk.steps
            if not 0 <= start <= steps:
                raise UsageError(f"frame {index}: a trunk of {start} steps in {steps} steps")
        second = None if self._second is None else self._second.row(shot)
        return Prepared(shot, index, self.sampling.row(shot), start, second)

    def latents(self, shots: Sequence[Prepared]) -> Tensor:
        """Final latents (N, C, h, w) of shots of one kind."""
        with self.sampling.wrapping():
            finished = self._first(shots)
        if self._second is None:
            return finished
        noises = [one.shot.trunk.noise if one.shot.trunk else one.shot.noise for one in shots]
        return self._second.latents(
            finished, noises, [one.second for one in shots if one.second is not None]
        )

    def _first(self, shots: Sequence[Prepared]) -> Tensor:
        """Latents (N, C, h, w) of the first pass, or of the only one."""
        if shots[0].shot.image is not None:
            return self._repaint(shots)
        finished = self._denoised(shots)
        missed = [self._beginnings.missed(one.shot) for one in shots]
        if all(one is None for one in missed):
            return finished
        return torch.stack(
            [row if one is None else row + one for row, one in zip(finished, missed, strict=True)]
        )

    def _denoised(self, shots: Sequence[Prepared]) -> Tensor:
        order = sorted(range(len(shots)), key=lambda i: shots[i].start)
        groups = groupby(order, key=lambda i: shots[i].start)
        at, first = next((start, list(group)) for start, group in groups)
        flight = self._starting([shots[i].shot for i in first], at)
        rows = [shots[i].row for i in first]
        for start, group in groups:
            joining = [shots[i] for i in group]
            flight = self.sampling.advance(flight, rows, at, start)
            flight = Flight.join([flight, self._starting([one.shot for one in joining], start)])
            rows += [one.row for one in joining]
            at = start
        latents = self.sampling.advance(flight, rows, at, self.timeline.steps).latents
        return latents[torch.tensor(order, device=self.device).argsort()]

    def _starting(self, shots: Sequence[Shot], start: int) -> Flight:
        """Shots at the step from which they go on by themselves: 0, or the end of their trunk."""
        if start == 0:
            return self._from_noise([s.trunk.noise if s.trunk else s.noise for s in shots])
        return Flight.join([self._branch(s.trunk) for s in shots if s.trunk is not None])

    def _branch(self, trunk: Trunk) -> Flight:
        """One picture at the end of a trunk; trunks that differ in length only are one path."""
        chain = remember(self._trunks, replace(trunk, steps=0), REMEMBERED_TRUNKS, dict)
        if trunk.steps not in chain:
            at = max((steps for steps in chain if steps < trunk.steps), default=0)
            flight = chain[at].take([0]) if at else self._from_noise([trunk.noise])
            row = self.sampling.row(trunk)
            chain[trunk.steps] = self.sampling.advance(flight, [row], at, trunk.steps)
        return chain[trunk.steps].take([0])

    def _from_noise(self, wanted: Sequence[Noise | Mixture]) -> Flight:
        noise, generators = self._beginnings.noise(wanted)
        sampler = self.sampling.sampler()
        return Flight(initial_latents(sampler, noise, None, 0), sampler, generators)

    def _repaint(self, shots: Sequence[Prepared]) -> Tensor:
        """Image to image and inpainting: all shots begin at the same step."""
        start, steps = shots[0].start, self.timeline.steps
        clean = torch.cat([self._beginnings.clean(one.shot.image) for one in shots])
        if start == steps:
            self.on_call(0)
            return clean
        noise, generators = self._beginnings.noise([one.shot.noise for one in shots])
        sampler = self.sampling.sampler()
        latents = initial_latents(sampler, noise, clean, start)
        # An inpainting checkpoint sees what it keeps, and blends into it by itself.
        seen = self.parts.inpaints
        masks = [one.shot.mask for one in shots if one.shot.mask is not None and not seen]
        kept = Inpainting(clean, noise, self._beginnings.repainted(masks)) if masks else None
        flight = Flight(latents, sampler, generators)
        return self.sampling.advance(flight, [one.row for one in shots], start, steps, kept).latents
