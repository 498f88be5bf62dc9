"""Large pictures, in words that settings and timelines hold. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError

Upscale = Literal[
    "latent",
    "latent-bicubic",
    "latent-bilinear",
    "latent-nearest",
    "image",
    "realesrgan-video",
    "realesrgan-photo",
    "realesrgan-drawing",
]
UPSCALES: tuple[Upscale, ...] = (
    "latent",
    "latent-bicubic",
    "latent-bilinear",
    "latent-nearest",
    "image",
    "realesrgan-video",
    "realesrgan-photo",
    "realesrgan-drawing",
)
LARGEST = 8.0


@dataclass(frozen=True)
class Tiling:
    """Denoising in windows that overlap.

    Attributes:
        side: of a window, in pixels.
        overlap: what neighbouring windows share at least, as a share of a side, below 1.

    Raises:
        UsageError: a value out of its range.
    """

    side: int
    overlap: float = 0.25

    def __post_init__(self) -> None:
        if self.side < 8:
            raise UsageError(f"tile is {self.side}; give at least 8 pixels")
        if not 0 <= self.overlap <= 0.9:
            raise UsageError(f"tile_overlap is {self.overlap}; give 0 to 0.9")

    def latents(self, downsampling: int, multiple: int | None = None) -> tuple[int, int]:
        """(side, overlap) in latents, the side such that the model can make it.

        Args:
            downsampling: pixels per latent along a side.
            multiple: what sides of the model's pictures have to be multiples of, in pixels.
        """
        step = max(1, (multiple or downsampling) // downsampling)
        side = max(2 * step, round(self.side / downsampling / step) * step)
        return side, min(side - 1, round(side * self.overlap))


@dataclass(frozen=True)
class Hires:
    """A second pass: the finished latents enlarged, noised in part, and denoised again.

    Attributes:
        scale: of the sides, above 1; what comes out is rounded to sizes that the model makes.
        size: (width, height) in pixels instead, of the same shape as the first pass.
        strength: share of the steps that is done again: 0 only enlarges, 1 starts from noise.
        steps: sampling steps of the second pass, as many as in the first if None.
        upscale: how it is enlarged, one of ``UPSCALES``: latents as they are, or pictures that
            are encoded again.
        guidance_scale: of the second pass, the shot's if None.

    Raises:
        UsageError: a value out of its range.
    """

    scale: float = 2.0
    size: tuple[int, int] | None = None
    strength: float = 0.5
    steps: int | None = None
    upscale: Upscale = "latent"
    guidance_scale: float | None = None

    def __post_init__(self) -> None:
        if not 1 < self.scale <= LARGEST:
            raise UsageError(f"hires scale is {self.scale}; give more than 1, up to {LARGEST:g}")
        if not 0 <= self.strength <= 1:
            raise UsageError(f"hires strength is {self.strength}; give 0 to 1")
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"hires steps is {self.steps}; give at least 1")
        if self.upscale not in UPSCALES:
            raise UsageError(f"hires upscale is {self.upscale!r}; choose {', '.join(UPSCALES)}")
        if self.guidance_scale is not None and not math.isfinite(self.guidance_scale):
            raise UsageError(f"hires guidance_scale is {self.guidance_scale}")

    def sized(self, first: tuple[int, int], step: int) -> tuple[int, int]:
        """(width, height) of the second pass in pixels.

        Args:
            first: that of the first pass.
            step: what sides have to be multiples of.

        Raises:
            UsageError: ``size`` is smaller than the first pass, of another shape, or no multiple.

        >>> Hires(scale=1.5).sized((520, 512), 8)
        (784, 768)
        """
        width, height = first
        if self.size is None:
            return _nearest(width * self.scale, step), _nearest(height * self.scale, step)
        wide, high = self.size
        fitting = _nearest(wide, step), _nearest(wide * height / width, step)
        if wide < width or high < height:
            raise UsageError(
                f"hires size {wide}x{high} is smaller than the first pass, {width}x{height}"
            )
        if wide % step or abs(high - wide * height / width) >= step or high % step:
            raise UsageError(
                f"hires size {wide}x{high} does not go with a first pass of {width}x{height}: "
                f"give its shape in multiples of {step}, such as {fitting[0]}x{fitting[1]}"
            )
        return wide, high

    def first_step(self, steps: int) -> int:
        """The step, counted from 0, at which a second pass of so many steps begins."""
        return steps - round(steps * self.strength)


def _nearest(length: float, step: int) -> int:
    return max(1, math.floor(length / step + 0.5)) * step
