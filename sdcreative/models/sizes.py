"""What sizes a model makes, read from its folder without loading it."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError, UsageError
from .checks import read_json


def native_size(folder: Path) -> tuple[int, int]:
    """(side, step): the model's own side in pixels, and what sides have to be multiples of.

    Raises:
        ModelError: no configuration, or none of a latent-diffusion model.
    """
    unet = read_json(folder / "unet" / "config.json", "unet")
    vae = read_json(folder / "vae" / "config.json", "vae")
    try:
        step = 2 ** (len(vae["block_out_channels"]) - 1)
        return int(unet.get("sample_size") or 64) * step, step
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: config.json of unet and vae do not give a size") from error


def fit_size(size: tuple[int, int] | None, side: int, step: int) -> tuple[int, int]:
    """The size itself, or the model's own square for None.

    Raises:
        UsageError: a side that is no multiple of the step; the nearest is named.
    """
    if size is None:
        return side, side
    if any(length % step or length < 2 * step for length in size):
        near = [max(2, round(length / step)) * step for length in size]
        raise UsageError(
            f"size {size[0]}x{size[1]}: this model makes multiples of {step}; "
            f"use {near[0]}x{near[1]}"
        )
    return size
