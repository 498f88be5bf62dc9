"""Pictures that show what was learned, and figures of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.models.vae import to_pixels

from .settings import SheetSettings

QUANTILES = 65
PIXELS = 4096
"""of a picture, whose colours are looked at"""


class Looks:
    """The same prompts and seeds, rendered by the runtime with the weights as they are."""

    def __init__(
        self,
        parts: Any,
        sheet: SheetSettings,
        prompts: Sequence[str],
        size: tuple[int, int],
        resting: Sequence[str],
    ) -> None:
        """
        Args:
            parts: the model.
            sheet: seeds, steps and guidance.
            prompts: taken in turn.
            size: (width, height) in pixels.
            resting: names of parts that are in main memory while the model is trained.
        """
        self.parts, self.sheet, self.prompts = parts, sheet, prompts
        self.size, self.resting = size, resting

    @torch.no_grad()
    def pictures(self) -> Tensor:
        """(count, 3, height, width) in [-1, 1], in main memory."""
        sheet = self.sheet
        wanted = [
            (self.prompts[number % len(self.prompts)], (sheet.seed + number) % 2**32)
            for number in range(sheet.count)
        ]
        with awake(self.parts, self.resting):
            made = render(Studio(self.parts), wanted, sheet.steps, sheet.guidance_scale, self.size)
        return to_pixels(list(made))


def render(
    studio: Studio,
    wanted: Sequence[tuple[str, int]],
    steps: int,
    guidance_scale: float,
    size: tuple[int, int],
) -> Iterator[Image.Image]:
    """Pictures of (prompt, seed), prompts taken as they stand.

    Raises:
        UsageError: a size that the model cannot make.
        RenderError: a picture came out as NaN.
    """
    shots = [
        Shot(Blend(prompt), Noise(seed), guidance_scale=guidance_scale) for prompt, seed in wanted
    ]
    return studio.render(Timeline(lambda: shots, length=len(shots), steps=steps, size=size))


@contextmanager
def awake(parts: Any, names: Sequence[str]) -> Iterator[None]:
    """Have parts where the model computes, and back in main memory afterwards."""
    move(parts, names, parts.device)
    try:
        yield
    finally:
        move(parts, names, torch.device("cpu"))


def move(parts: Any, names: Sequence[str], device: torch.device) -> None:
    """Move parts; those that the model lacks are left out."""
    for name in names:
        module = getattr(parts, name)
        if module is not None:
            module.to(device)


def saturation(pixels: Tensor) -> float:
    """Mean difference of the largest and the smallest of red, green, blue, in [0, 1]."""
    return float((pixels.amax(dim=1) - pixels.amin(dim=1)).mean() / 2)


def distance(one: Tensor, other: Tensor) -> float:
    """Mean difference of pictures in [-1, 1], as a share of that of black and white."""
    return float((one - other).abs().mean() / 2)


def colours(pictures: Sequence[Tensor]) -> Tensor:
    """Quantiles (4, 65) of red, green, blue and saturation over pictures (1, 3, H, W), in [0, 1].

    No more than some thousand pixels of each, evenly spread, are looked at.
    """
    rows = []
    for picture in pictures:
        flat = (picture[0].flatten(1) / 2 + 0.5).clamp(0, 1)
        flat = flat[:, :: max(1, flat.shape[1] // PIXELS)]
        rows.append(torch.cat([flat, (flat.amax(dim=0) - flat.amin(dim=0))[None]]))
    values = torch.cat(rows, dim=1).sort(dim=1).values
    steps = torch.linspace(0, values.shape[1] - 1, QUANTILES).round().long()
    return values[:, steps]


def colour_distance(one: Tensor, other: Tensor) -> float:
    """How far the colours of two sets of pictures lie apart, in [0, 1]; 0 for the same.

    The mean over red, green, blue and saturation of the earth mover's distance of their values.
    """
    return float((one - other).abs().mean())
