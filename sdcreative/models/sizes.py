"""What sizes a model makes, read from its configuration without loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.timeline import Timeline
from ..errors import ModelError, UsageError
from .opening import Source, open_model
from .places import ModelPlace
from .strangers import shown

Pixels = tuple[int, int]
"""(width, height)"""


MOST_PIXELS = 1 << 14
"""along a side of a model's own pictures"""


@dataclass(frozen=True)
class Sizes:
    """Of the pictures that a model makes, in pixels.

    Attributes:
        own: the (width, height) that it was trained on.
        downsampling: pixels per latent along a side.
        multiple: what widths and heights have to be multiples of.
    """

    own: tuple[int, int]
    downsampling: int
    multiple: int


def sizes_of(model: Source) -> Sizes:
    """Sizes by the configurations of the denoiser and the autoencoder.

    A denoiser's ``sample_size`` is a side of its latents, or [height, width] of them.

    Raises:
        ModelError: they do not say.
    """
    denoiser, vae = model.configs[model.family.denoiser], model.configs["vae"]
    try:
        widths = vae.get("block_out_channels") or vae["encoder_block_out_channels"]
        step = 2 ** (len(widths) - 1)
        latents = denoiser.get("sample_size") or 64
        height, width = latents if isinstance(latents, list | tuple) else (latents, latents)
        patch = int(denoiser.get("patch_size") or 1)
        own = int(width) * step, int(height) * step
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ModelError(
            f"{model.path}: config.json of {model.family.denoiser} and vae do not give a size"
        ) from error
    if not all(step * patch <= side <= MOST_PIXELS for side in own) or patch < 1:
        raise ModelError(
            f"{model.path}: config.json of {model.family.denoiser} and vae say pictures of "
            f"{shown(own[0], 20)}x{shown(own[1], 20)} pixels; sides of {MOST_PIXELS} are the most"
        )
    return Sizes(own, step, step * patch)


def native_size(place: Path | ModelPlace) -> tuple[tuple[int, int], int]:
    """The model's own (width, height) in pixels, and what both have to be multiples of.

    Args:
        place: a diffusers folder, or a single checkpoint file.

    Raises:
        ModelError: no configuration, or none of a latent-diffusion model.
    """
    sizes = sizes_of(open_model(place))
    return sizes.own, sizes.multiple


def film_sizes(timeline: Timeline, model: Source) -> tuple[Pixels, Pixels]:
    """(width, height) in which a timeline is denoised first, and of the pictures that come out.

    Raises:
        ModelError: as ``sizes_of``.
        UsageError: sizes that the model cannot make.
    """
    sizes = sizes_of(model)
    first = fit_size(timeline.size, sizes.own, sizes.multiple)
    return first, timeline.hires.sized(first, sizes.multiple) if timeline.hires else first


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
