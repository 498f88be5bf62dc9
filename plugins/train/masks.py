"""Random masks of what is to be painted anew."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .stages import Inpainting


def random_mask(
    rng: np.random.Generator, height: int, width: int, settings: Inpainting
) -> np.ndarray:
    """A mask, bool (height, width), True where the picture is to be painted; never empty.

    All of it, brush strokes, or one to three rectangles (Suvorov et al. 2022, sec. 3.3, and the
    share of whole masks with which Stable Diffusion's inpainting model was trained).
    """
    if rng.random() < settings.whole:
        return np.ones((height, width), bool)
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    if rng.random() < settings.strokes:
        for _ in range(int(rng.integers(1, 4))):
            _stroke(rng, draw, height, width)
    else:
        for _ in range(int(rng.integers(1, 4))):
            _rectangle(rng, draw, height, width)
    return np.array(canvas, dtype=bool)


def _rectangle(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, height: int, width: int
) -> None:
    """Sides of an eighth to five eighths of the picture's."""
    w, h = (max(1, round(side * rng.uniform(0.125, 0.625))) for side in (width, height))
    x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    draw.rectangle((x, y, x + w - 1, y + h - 1), fill=1)


def _stroke(rng: np.random.Generator, draw: ImageDraw.ImageDraw, height: int, width: int) -> None:
    """A chain of one to five thick lines with round joints, each turning by up to 120 degrees."""
    side = min(height, width)
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    thick = max(2, round(side * rng.uniform(0.08, 0.25)))
    angle = rng.uniform(0, 2 * np.pi)
    radius = thick / 2
    for _ in range(int(rng.integers(1, 6))):
        angle += rng.uniform(-2 * np.pi / 3, 2 * np.pi / 3)
        length = side * rng.uniform(0.1, 0.5)
        to_x = float(np.clip(x + length * np.cos(angle), 0, width - 1))
        to_y = float(np.clip(y + length * np.sin(angle), 0, height - 1))
        draw.line((x, y, to_x, to_y), fill=1, width=thick)
        for at_x, at_y in ((x, y), (to_x, to_y)):
            draw.ellipse((at_x - radius, at_y - radius, at_x + radius, at_y + radius), fill=1)
        x, y = to_x, to_y
