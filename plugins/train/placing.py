"""Drawings placed anew for every sample, more boldly than ``compose`` does, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .pictures import BACKGROUNDS, Drawing

WHITE, NAMED = 0.45, 0.75
"""backgrounds up to this share are white; from there up to this, of a colour with a name"""


def place(drawings: Sequence[Drawing], rng: np.random.Generator) -> tuple[Tensor, list[str | None]]:
    """Drawings turned, stretched, slanted, mirrored, scaled, shifted, tinted and blurred at random.

    Pictures without transparency are mirrored, tinted and blurred alone, for what lies beside
    them is not known.

    Args:
        drawings: of one size; a background colour that one avoids is not put behind it.
        rng: the only source of randomness.

    Returns:
        (N, 3, H, W), about [-1, 1]; and of each its background's colour, None if it has no name.
    """
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    stored = torch.from_numpy(np.stack([d.rgba for d in drawings]))
    straight = stored.permute(0, 3, 1, 2).float() / 255
    drawn = torch.cat([straight[:, :3] * straight[:, 3:], straight[:, 3:]], dim=1)
    free = torch.tensor([bool(d.background_caption) for d in drawings])
    mirror = torch.tensor([d.mirror for d in drawings])
    placed = _moved(drawn, free, mirror, generator)
    colours, alpha = _tinted(placed[:, :3], placed[:, 3:], generator), placed[:, 3:]
    ground, names = _grounds(drawings, tuple(drawn.shape[-2:]), rng, generator)
    pixels = (colours + (1 - alpha) * ground) * 2 - 1
    light, lift = (_uniform(generator, len(pixels), *one) for one in ((0.9, 1.1), (-0.05, 0.05)))
    pixels = pixels * light[:, None, None, None] + lift[:, None, None, None]
    return _softened(pixels, generator), [
        name if d.background_caption else None for name, d in zip(names, drawings, strict=True)
    ]


def _uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    return torch.rand(count, generator=generator) * (high - low) + low


def _moved(drawn: Tensor, free: Tensor, mirror: Tensor, generator: torch.Generator) -> Tensor:
    """Premultiplied pictures (N, 4, H, W) through a random affine map."""
    count = len(drawn)
    angle, slant = (_uniform(generator, count, -reach, reach) * free for reach in (0.35, 0.15))
    scale = torch.where(free, _uniform(generator, count, 0.6, 1.08), torch.ones(count))
    stretch = (_uniform(generator, count, -0.12, 0.12) * free).exp()
    turned = (torch.rand(count, generator=generator) < 0.5) & mirror
    flip = torch.where(turned, -1.0, 1.0)
    # The grid leads from where a pixel lands to where it comes from: the inverse of the placing.
    rows = [
        angle.cos() * flip * stretch,
        slant - angle.sin() * flip,
        angle.sin(),
        angle.cos() / stretch,
    ]
    turn = torch.stack(rows, dim=1).view(count, 2, 2) / scale.view(count, 1, 1)
    room = ((1 - scale).clamp_min(0) + 0.06) * free
    shift = (torch.rand(count, 2, generator=generator) * 2 - 1) * room[:, None]
    theta = torch.cat([turn, -turn @ shift[:, :, None]], dim=2)
    grid = functional.affine_grid(theta, list(drawn.shape), align_corners=False)
    # Half a pixel of what is not free would else be lost at its edges.
    placed = functional.grid_sample(drawn, grid, align_corners=False)
    kept = torch.where(turned[:, None, None, None], drawn.flip(3), drawn)
    return torch.where(free[:, None, None, None], placed, kept)


def _tinted(colours: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Premultiplied colours, each channel, their saturation and their light changed a little."""
    count = len(colours)
    gains = torch.rand(count, 3, 1, 1, generator=generator) * 0.3 + 0.85
    colours = colours * gains
    grey = colours.mean(dim=1, keepdim=True)
    vivid = _uniform(generator, count, 0.6, 1.3)[:, None, None, None]
    colours = (grey + (colours - grey) * vivid).clamp(0, 1).minimum(alpha)
    return colours * _uniform(generator, count, 0.8, 1.0)[:, None, None, None]


def _grounds(
    drawings: Sequence[Drawing],
    size: tuple[int, int],
    rng: np.random.Generator,
    generator: torch.Generator,
) -> tuple[Tensor, list[str | None]]:
    """Backgrounds (N, 3, H, W) in [0, 1]: white, a named colour, or a cloud of several."""
    coarse = torch.rand(len(drawings), 3, 3, 3, generator=generator)
    grounds = functional.interpolate(coarse, size=size, mode="bilinear")
    names: list[str | None] = []
    for number, drawing in enumerate(drawings):
        kind = rng.random()
        name = None
        if kind < WHITE:
            name = "white"
        elif kind < NAMED:
            name = str(rng.choice([c for c in BACKGROUNDS if c not in drawing.avoid]))
        if name is not None:
            jitter = 0.0 if name == "white" else rng.uniform(-0.04, 0.04)
            colour = torch.tensor(BACKGROUNDS[name]) / 255 + jitter
            grounds[number] = colour.clamp(0, 1)[:, None, None]
        names.append(name)
    return grounds, names


def _softened(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur one half of a batch as a small autoencoder does; add a little noise to all of it."""
    size, half = tuple(pixels.shape[-2:]), len(pixels) // 2
    share = float(_uniform(generator, 1, 0.375, 1.0))
    small = [max(1, round(side * share)) for side in size]
    blurred = functional.interpolate(pixels[:half], small, mode="bilinear", antialias=True)
    blurred = functional.interpolate(blurred, size, mode="bicubic")
    pixels = torch.cat([blurred, pixels[half:]])
    strength = torch.rand(len(pixels), 1, 1, 1, generator=generator) * 0.08
    return pixels + strength * torch.randn(pixels.shape, generator=generator)
