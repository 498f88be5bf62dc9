"""Enlarging by Stable Diffusion x4 upscaler, in windows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor

from ..core.conditioning import Conditioning, align
from ..core.sampling import Guidance, denoise, initial_latents
from ..core.windows import windowed
from ..errors import RenderError, UsageError
from ..models.samplers import build_sampler
from ..models.text import encode
from ..models.upscaler import Upscaler
from ..models.vae import decode_latents, to_pictures, to_pixels

if TYPE_CHECKING:
    from .diffusion_upscale import DiffusionUpscaleSettings


class DiffusionEnlarger:
    """An upscaler with its settings; the noise is the same for every picture.

    Args:
        upscaler: loaded.
        settings: what a preset says.

    Raises:
        UsageError: a noise level that the model was not made for.
    """

    def __init__(self, upscaler: Upscaler, settings: DiffusionUpscaleSettings) -> None:
        if settings.noise_level > upscaler.most_noise:
            raise UsageError(
                f"diffusion_upscale: noise_level is {settings.noise_level}; this model knows "
                f"{upscaler.most_noise} at most"
            )
        self._upscaler, self._settings = upscaler, settings
        self._predict = windowed(
            upscaler.predictor(settings.noise_level),
            settings.tile,
            min(settings.tile - 1, round(settings.tile * settings.tile_overlap)),
        )

    @cached_property
    def _prompts(self) -> tuple[Conditioning, Conditioning]:
        """Of equal length: what is drawn towards, and away from."""
        settings = self._settings
        found = encode(self._upscaler.parts, [settings.prompt, settings.negative_prompt, ""])
        return align(*found)

    @torch.inference_mode()
    def enlarge(self, picture: Image.Image) -> Image.Image:
        """An RGB picture, four times as wide and high.

        Raises:
            RenderError: denoising gave NaN.
        """
        settings, parts = self._settings, self._upscaler.parts
        pixels = to_pixels([picture])
        # In the order in which diffusers draws: for the picture, then for the latents.
        generator = torch.Generator().manual_seed(settings.seed)
        grain = torch.randn(pixels.shape, generator=generator)
        shape = (1, parts.latent_channels, *pixels.shape[-2:])
        noise = torch.randn(shape, generator=generator).to(parts.device)
        small = self._upscaler.noised(pixels, grain, settings.noise_level).to(parts.device)
        sampler = build_sampler(settings.sampler, parts.scheduler_config, settings.steps)
        latents = denoise(
            self._predict,
            sampler,
            initial_latents(sampler, noise, None, 0),
            self._guidance(small),
            start=0,
            stop=settings.steps,
            generators=[generator],
        )
        if not bool(torch.isfinite(latents).all()):
            raise RenderError("diffusion_upscale: denoising gave NaN; try dtype float32")
        [large] = to_pictures(decode_latents(parts, latents))
        return large

    def _guidance(self, small: Tensor) -> Guidance:
        towards, away = self._prompts
        scale = torch.tensor([self._settings.guidance_scale], device=small.device)
        free = None if self._settings.guidance_scale == 1 else away
        return Guidance(towards, free, scale, beside=small)
