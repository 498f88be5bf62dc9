"""Shots to final latents: trunks and embeddings shared, others joining a batch on the way."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import isfinite
from typing import Any, Literal

import torch
from PIL import Image, ImageOps
from torch import Tensor

from .core.conditioning import Conditioning
from .core.noise import blend_noise, draw_noise, mix_noise
from .core.sampling import Inpainting, denoise, initial_latents
from .core.timeline import Mixture, Noise, Shot, Timeline, Trunk
from .embeddings import Embeddings, remember
from .errors import UsageError
from .media.image import flatten
from .models.denoiser import predictor
from .models.loading import Parts
from .models.samplers import build_sampler
from .models.scheduling import Flight
from .models.vae import encode_pictures, to_pixels

REMEMBERED_TRUNKS, REMEMBERED_PICTURES = 4, 4


@dataclass(frozen=True, eq=False)
class _Row:
    """What one picture is denoised towards, and from which step on by itself."""

    conditional: Conditioning
    unconditional: Conditioning | None
    guidance_scale: float
    start: int


@dataclass(frozen=True, eq=False)
class Prepared:
    """A shot with its conditioning; shots of one kind can be denoised in one batch."""

    shot: Shot
    index: int
    row: _Row

    @property
    def kind(self) -> tuple[object, ...]:
        row, shot = self.row, self.shot
        tokens = row.conditional.embeddings.shape[1]
        start = None if shot.image is None else row.start
        return tokens, row.unconditional is None, start, shot.mask is None

    def composed(self, picture: Image.Image, steps: int) -> Image.Image:
        """What is kept of a start image comes from its pixels, not from the autoencoder."""
        image, mask = self.shot.image, self.shot.mask
        if image is None:
            return picture
        if self.row.start == steps:
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
        self.predict = predictor(parts.unet)
        self.embeddings = Embeddings(parts)
        self._trunks: OrderedDict[Trunk, dict[int, Flight]] = OrderedDict()
        self._encoded: OrderedDict[int, tuple[Image.Image, Tensor]] = OrderedDict()

    def prepare(self, shot: Shot, index: int) -> Prepared:
        """The shot with its conditioning.

        Raises:
            UsageError: values that do not go together.
        """
        if shot.image is None and (shot.mask is not None or shot.strength != 1):
            raise UsageError(f"frame {index}: mask and strength need an image")
        if shot.image is not None and shot.trunk is not None:
            raise UsageError(f"frame {index}: a shot has a trunk or an image, not both")
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
        pair = self.embeddings.pair(shot.prompt, shot.negative, shot.guidance_scale)
        return Prepared(shot, index, _Row(*pair, shot.guidance_scale, start))

    def latents(self, shots: Sequence[Prepared]) -> Tensor:
        """Final latents (N, C, h, w) of shots of one kind."""
        if shots[0].shot.image is not None:
            return self._repaint(shots)
        order = sorted(range(len(shots)), key=lambda i: shots[i].row.start)
        groups = groupby(order, key=lambda i: shots[i].row.start)
        at, first = next((start, list(group)) for start, group in groups)
        flight = self._starting([shots[i].shot for i in first], at)
        rows = [shots[i].row for i in first]
        for start, group in groups:
            joining = [shots[i] for i in group]
            flight = self._advance(flight, rows, at, start)
            flight = Flight.join([flight, self._starting([one.shot for one in joining], start)])
            rows += [one.row for one in joining]
            at = start
        latents = self._advance(flight, rows, at, self.timeline.steps).latents
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
            pair = self.embeddings.pair(trunk.prompt, trunk.negative, trunk.guidance_scale)
            row = _Row(*pair, trunk.guidance_scale, 0)
            chain[trunk.steps] = self._advance(flight, [row], at, trunk.steps)
        return chain[trunk.steps].take([0])

    def _from_noise(self, wanted: Sequence[Noise | Mixture]) -> Flight:
        noise, generators = self._noise(wanted)
        sampler = self._sampler()
        return Flight(initial_latents(sampler, noise, None, 0), sampler, generators)

    def _sampler(self) -> Any:
        config = self.parts.scheduler_config
        return build_sampler(self.timeline.sampler, config, self.timeline.steps)

    def _repaint(self, shots: Sequence[Prepared]) -> Tensor:
        """Image to image and inpainting: all shots begin at the same step."""
        start, steps = shots[0].row.start, self.timeline.steps
        images = [one.shot.image for one in shots if one.shot.image is not None]
        clean = torch.cat([self._latents_of(image) for image in images])
        if start == steps:
            self.on_call(0)
            return clean
        noise, generators = self._noise([one.shot.noise for one in shots])
        sampler = self._sampler()
        latents = initial_latents(sampler, noise, clean, start)
        masks = [one.shot.mask for one in shots if one.shot.mask is not None]
        kept = Inpainting(clean, noise, self._repainted(masks)) if masks else None
        flight = Flight(latents, sampler, generators)
        return self._advance(flight, [one.row for one in shots], start, steps, kept).latents

    def _advance(
        self,
        flight: Flight,
        rows: Sequence[_Row],
        start: int,
        stop: int,
        inpainting: Inpainting | None = None,
    ) -> Flight:
        """Take the steps from start up to stop; what was given must not be used again."""
        guidance = self.embeddings.guidance(
            [(row.conditional, row.unconditional, row.guidance_scale) for row in rows]
        )
        passes = 1 if guidance.unconditional is None else 2
        with torch.inference_mode():
            latents = denoise(
                self.predict,
                flight.sampler,
                flight.latents,
                guidance,
                start=start,
                stop=stop,
                generators=flight.generators,
                inpainting=inpainting,
                on_call=lambda count: self.on_call(count * passes),
            )
        return replace(flight, latents=latents)

    def _noise(
        self, wanted: Sequence[Noise | Mixture]
    ) -> tuple[Tensor, tuple[torch.Generator, ...]]:
        """Initial noise (N, C, h, w), and generators that go on where its drawing ended."""
        width, height = self.size
        factor = self.parts.downsampling
        shape = (self.parts.latent_channels, height // factor, width // factor)
        rows, generators = [], []
        for noise in wanted:
            if isinstance(noise, Mixture):
                seed, row = noise.terms[0][0], mix_noise(noise.terms, shape)
            else:
                seed, row = noise.start, draw_noise(noise.start, shape)
                if noise.end is not None and noise.end != noise.start:
                    row = blend_noise(row, draw_noise(noise.end, shape), noise.t)
                    seed = noise.start if noise.t < 1 else noise.end
            generator = torch.Generator().manual_seed(seed)
            torch.randn(shape, generator=generator)
            rows.append(row)
            generators.append(generator)
        return torch.stack(rows).to(self.device), tuple(generators)

    def _latents_of(self, image: Image.Image) -> Tensor:
        """Latents (1, C, h, w); the image is kept beside them so that its id stays its own."""

        def make() -> tuple[Image.Image, Tensor]:
            pixels = to_pixels([fitted(image, self.size)]).to(self.device)
            return image, encode_pictures(self.parts, pixels)

        return remember(self._encoded, id(image), REMEMBERED_PICTURES, make)[1]

    def _repainted(self, masks: Sequence[Image.Image]) -> Tensor:
        """(N, 1, h, w): 1 wherever any pixel below is to be painted anew."""
        pixels = to_pixels([fitted(mask, self.size, "L") for mask in masks]).to(self.device)
        return torch.nn.functional.max_pool2d(pixels / 2 + 0.5, self.parts.downsampling)


def fitted(
    image: Image.Image, size: tuple[int, int], mode: Literal["RGB", "L"] = "RGB"
) -> Image.Image:
    """Opaque and of that size, cut off evenly where its shape is another."""
    image = flatten(image, mode)
    if image.size == size:
        return image
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
