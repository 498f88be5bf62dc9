"""What shots begin from: noise of seeds and pictures, start pictures and masks."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..core.noise import blend_noise, draw_noise, mix_noise
from ..core.shots import Crossfade, Following, Inversion, Mixture, Noise, Shot
from ..errors import UsageError
from ..media.image import flatten
from ..models.loading import Parts
from ..models.placement import moved
from ..models.vae import encode_pictures, to_pixels
from .embeddings import Embeddings, remember
from .inverting import Inverter, missed_by

REMEMBERED_PICTURES = 4


class Beginnings:
    """Initial noise and start latents for the shots of one timeline; the last are remembered."""

    def __init__(
        self,
        parts: Parts,
        size: tuple[int, int],
        embeddings: Embeddings,
        sampler: str,
        steps: int,
        on_call: Callable[[int], None],
    ) -> None:
        self.parts, self.size = parts, size
        self.device: torch.device = parts.device
        self._encoded: OrderedDict[int, tuple[Image.Image, Tensor]] = OrderedDict()
        self._beside: OrderedDict[tuple[int, int], tuple[object, Tensor]] = OrderedDict()
        self._inverter = Inverter(
            parts, embeddings, self._latents_of, lambda: self.beside(None), sampler, steps, on_call
        )

    def missed(self, shot: Shot) -> Tensor | None:
        """(C, h, w) to add to a shot's final latents: what it misses of inverted pictures."""
        return missed_by(self._inverter, _ends(shot))

    def noise(
        self, wanted: Sequence[Noise | Mixture]
    ) -> tuple[Tensor, tuple[torch.Generator, ...]]:
        """Initial noise (N, C, h, w), and generators that go on where its drawing ended."""
        width, height = self.size
        factor = self.parts.downsampling
        shape = (self.parts.latent_channels, height // factor, width // factor)
        rows, generators = [], []
        for noise in wanted:
            end: int | Inversion
            if isinstance(noise, Mixture):
                end, row = noise.terms[0][0], mix_noise(noise.terms, shape)
            else:
                end, row = noise.start, self._noise_of(noise.start, shape)
                if noise.end is not None and noise.end != noise.start:
                    row = blend_noise(row, self._noise_of(noise.end, shape), noise.t)
                    end = noise.start if noise.t < 1 else noise.end
            seed = 0 if isinstance(end, Inversion) else end
            generator = torch.Generator().manual_seed(seed)
            if not isinstance(end, Inversion):
                torch.randn(shape, generator=generator)
            rows.append(row)
            generators.append(generator)
        return moved(torch.stack(rows), self.device), tuple(generators)

    def _noise_of(self, end: int | Inversion, shape: tuple[int, ...]) -> Tensor:
        """(C, h, w), on the CPU."""
        if isinstance(end, Inversion):
            return self._inverter.of(end).noise
        return draw_noise(end, shape)

    def clean(self, image: Image.Image | Crossfade | Following | None) -> Tensor:
        """Latents (1, C, h, w) of what a shot starts from."""
        if isinstance(image, Crossfade):
            return blend_noise(self._latents_of(image.start), self._latents_of(image.end), image.t)
        if not isinstance(image, Image.Image):
            raise UsageError(f"{type(image).__name__} is no start picture")
        return self._latents_of(image)

    def _latents_of(self, image: Image.Image) -> Tensor:
        """Latents (1, C, h, w); the image is kept beside them so that its id stays its own."""

        def make() -> tuple[Image.Image, Tensor]:
            pixels = to_pixels([fitted(image, self.size)]).to(self.device)
            return image, encode_pictures(self.parts, pixels)

        return remember(self._encoded, id(image), REMEMBERED_PICTURES, make)[1]

    def beside(self, shot: Shot | None) -> Tensor | None:
        """(1 + C, h, w) that an inpainting checkpoint sees beside the latents; None for others.

        The mask, 1 where it is to paint, and the latents of the picture with grey there (Rombach
        et al. 2022, section 4.5); all is to be painted where a shot has no mask.
        """
        if not self.parts.inpaints:
            return None
        image, mask = (None, None) if shot is None else (shot.image, shot.mask)
        if mask is None or not isinstance(image, Image.Image):
            image = mask = None

        def make() -> tuple[object, Tensor]:
            return (image, mask), self._make_beside(image, mask)

        return remember(self._beside, (id(image), id(mask)), REMEMBERED_PICTURES, make)[1]

    def _make_beside(self, image: Image.Image | None, mask: Image.Image | None) -> Tensor:
        width, height = self.size
        pixels = torch.zeros(1, 3, height, width, device=self.device)
        painted = torch.ones(1, 1, height, width, device=self.device)
        if image is not None and mask is not None:
            painted = (to_pixels([fitted(mask, self.size, "L")]).to(self.device) >= 0).float()
            pixels = to_pixels([fitted(image, self.size)]).to(self.device) * (1 - painted)
        latents = encode_pictures(self.parts, pixels)
        small = torch.nn.functional.interpolate(painted, latents.shape[-2:])
        return torch.cat([small, latents], dim=1)[0]

    def repainted(self, masks: Sequence[Image.Image]) -> Tensor:
        """(N, 1, h, w): 1 wherever any pixel below is to be painted anew."""
        pixels = to_pixels([fitted(mask, self.size, "L") for mask in masks]).to(self.device)
        return torch.nn.functional.max_pool2d(pixels / 2 + 0.5, self.parts.downsampling)


def _ends(shot: Shot) -> list[tuple[int | Inversion | None, float]]:
    """What a shot's noise lies between, and how much of it is each."""
    noise = shot.trunk.noise if shot.trunk else shot.noise
    if isinstance(noise, Mixture):
        return []
    if noise.end is None or noise.end == noise.start:
        return [(noise.start, 1.0)]
    return [(noise.start, 1 - noise.t), (noise.end, noise.t)]


def without_weightless(image: Crossfade) -> Image.Image | Crossfade:
    """One of the pictures where the other has no part in it."""
    return {0.0: image.start, 1.0: image.end}.get(image.t, image)


def fitted(
    image: Image.Image, size: tuple[int, int], mode: Literal["RGB", "L"] = "RGB"
) -> Image.Image:
    """Opaque and of that size, cut off evenly where its shape is another."""
    image = flatten(image, mode)
    if image.size == size:
        return image
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
