"""What a U-Net is shown beside the noisy latents: a small picture, or one with holes."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sdcreative import UsageError

from .latents import encode_mean
from .masks import random_mask
from .noise_schedule import alphas_cumprod
from .stages import Inpainting, SuperResolution, UnetStage


class Seen(Protocol):
    """Channels that are concatenated with the noisy latents.

    Attributes:
        channels: how many.
        levels: number of noise levels, which are the U-Net's class labels; 0: it has none.
    """

    channels: int
    levels: int

    def of(self, pixels: Tensor, vae: Any, rng: np.random.Generator) -> Tensor:
        """(N, channels, h, w) for pictures (N, 3, H, W) in [-1, 1], without noise."""

    def noised(self, seen: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        """With noise of the levels (N,)."""

    def digest(self) -> str:
        """Of all that ``of`` depends on."""


def seen_by(stage: UnetStage, vae: Any) -> Seen | None:
    """What the settings show the U-Net; None for latents alone.

    Raises:
        UsageError: a small picture larger than the latents, seen as pixels.
    """
    if stage.superresolution:
        return SmallPicture(stage.superresolution, vae)
    return Holes(stage.inpainting, vae) if stage.inpainting else None


class SmallPicture:
    """A small picture, for super-resolution (Saharia et al. 2021; Rombach et al. 2022, sec. 4.4).

    With noise augmentation (Ho et al. 2022, sec. 3): the U-Net is told how much noise there is.
    """

    def __init__(self, settings: SuperResolution, vae: Any) -> None:
        self.factor, self.pixels = settings.factor, settings.seen_as == "pixels"
        self.step = 2 ** (len(vae.config.block_out_channels) - 1)
        if self.pixels and self.factor < self.step:
            raise UsageError(
                f"unet.superresolution: a picture {self.factor} times smaller is larger than the "
                f"latents, which are {self.step} times smaller; set seen_as: latents"
            )
        self.channels = 3 if self.pixels else vae.config.latent_channels
        self.levels = settings.max_noise_level + 1
        # Stable Diffusion's schedule, as it stands in the low_res_scheduler of its upscaler.
        self.alphas = alphas_cumprod(None)

    def shrink(self, pixels: Tensor) -> Tensor:
        """The small pictures, clipped to [-1, 1]."""
        return resize(pixels, pixels.shape[-2] // self.factor, pixels.shape[-1] // self.factor)

    def of(self, pixels: Tensor, vae: Any, rng: np.random.Generator) -> Tensor:
        return self.of_small(self.shrink(pixels), vae)

    def of_small(self, small: Tensor, vae: Any) -> Tensor:
        height, width = small.shape[-2] * self.factor, small.shape[-1] * self.factor
        if self.pixels:
            return resize(small, height // self.step, width // self.step)
        large = resize(small, height, width)
        return encode_mean(vae, large) * float(vae.config.scaling_factor)

    def noised(self, seen: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        alpha = self.alphas.to(seen.device)[levels].view(-1, 1, 1, 1)
        return alpha.sqrt() * seen + (1 - alpha).sqrt() * noise

    def digest(self) -> str:
        return f"small {self.factor} {self.pixels}"


class Holes:
    """A mask and the latents of the picture without what is under it, as Stable Diffusion has it.

    The mask is 1 where the picture is to be painted; there the picture is grey.
    """

    levels = 0

    def __init__(self, settings: Inpainting, vae: Any) -> None:
        self.settings = settings
        self.channels = 1 + vae.config.latent_channels

    def of(self, pixels: Tensor, vae: Any, rng: np.random.Generator) -> Tensor:
        height, width = pixels.shape[-2:]
        masks = np.stack([random_mask(rng, height, width, self.settings) for _ in pixels])
        return self.of_masks(pixels, torch.from_numpy(masks)[:, None].to(pixels.device), vae)

    def of_masks(self, pixels: Tensor, masks: Tensor, vae: Any) -> Tensor:
        """``masks`` (N, 1, H, W), bool."""
        latents = encode_mean(vae, pixels * ~masks) * float(vae.config.scaling_factor)
        small = functional.interpolate(masks.float(), latents.shape[-2:])
        return torch.cat([small, latents], dim=1)

    def noised(self, seen: Tensor, levels: Tensor, noise: Tensor) -> Tensor:
        return seen

    def digest(self) -> str:
        return f"holes {self.settings.whole} {self.settings.strokes}"


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """Bicubic, with a low pass where it gets smaller, clipped to [-1, 1]."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    resized = functional.interpolate(pixels, (height, width), mode="bicubic", antialias=True)
    return resized.clamp(-1, 1)
