"""What sizes a model makes, read from its configuration without loading it."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError, UsageError
from .checks import read_json
from .places import ModelPlace, as_place
from .single_files.checkpoint import SingleFile


def native_size(place: Path | ModelPlace) -> tuple[tuple[int, int], int]:
    """The model's own (width, height) in pixels, and what both have to be multiples of.

    A U-Net's ``sample_size`` is a side of its latents, or [height, width] of them.

    Args:
        place: a diffusers folder, or a single checkpoint file.

    Raises:
        ModelError: no configuration, or none of a latent-diffusion model.
    """
    place = as_place(place)
    path = place.path
    if path.is_file():
        configs = SingleFile(place).configs
        unet, vae = configs["unet"], configs["vae"]
    else:
        unet = read_json(path / "unet" / "config.json", "unet")
        vae = read_json(path / "vae" / "config.json", "vae")
    try:
        step = 2 ** (len(vae["block_out_channels"]) - 1)
        latents = unet.get("sample_size") or 64
        height, width = latents if isinstance(latents, list) else (latents, latents)
        return (int(width) * step, int(height) * step), step
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: config.json of unet and vae do not give a size") from error


def fit_size(size: tuple[int, int] | None, own: tuple[int, int], step: int) -> tuple[int, int]:
    """The size itself, or the model's own for None.

    Raises:
        UsageError: a side that is no multiple of the step; the nearest is named.
    """
    if size is None:
        return own
    if any(length % step or length < 2 * step for length in size):
        near = [max(2, round(length / step)) * step for length in size]
        raise UsageError(
            f"size {size[0]}x{size[1]}: this model makes multiples of {step}; "
            f"use {near[0]}x{near[1]}"
        )
    return size
