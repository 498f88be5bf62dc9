"""Pictures to latents and back, in portions that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import RenderError
from .arriving import bad_rows, black_rows, extremes, to_bytes
from .offloading import decoded_at_once
from .parts import Parts

SLICE_PIXELS = 1024 * 1024
"""pixels that go through the autoencoder at once"""
TILE_PIXELS = 1536 * 1536
"""above so many pixels a picture is cut into overlapping tiles"""
TILE_SIDE = 512


@torch.no_grad()
def encode_pictures(parts: Parts, pixels: Tensor, *, tile: bool | None = None) -> Tensor:
    """Latents of pictures, scaled for the denoiser.

    Of AutoencoderKL, the mean of its distribution; of VQModel, vectors before they are quantised;
    of AutoencoderTiny (TAESD), all there is.

    Args:
        parts: a loaded model.
        pixels: (N, 3, H, W) in [-1, 1]; H and W multiples of ``parts.downsampling``.
        tile: cut pictures into tiles; None does so where they are large. Only an AutoencoderKL
            is told to: others take the whole picture.

    Returns:
        (N, C, H / downsampling, W / downsampling), float32, about unit variance.

    Raises:
        RenderError: the autoencoder gives NaN, in float32 too.
    """
    factor, shift = _scaling(parts.vae)

    def encode(rows: Tensor) -> Tensor:
        output = parts.vae.encode(rows)
        found = output.latent_dist.mean if hasattr(output, "latent_dist") else output.latents
        latents: Tensor = (found.float() - shift) * factor
        return latents

    area = pixels.shape[-1] * pixels.shape[-2]
    return _in_slices(parts, encode, pixels, area, tile, "encoding")


@torch.no_grad()
def decode_latents(
    parts: Parts, latents: Tensor, *, tile: bool | None = None, checked: bool = True
) -> Tensor:
    """Pictures of latents; a VQModel quantises them first.

    Args:
        parts: a loaded model.
        latents: (N, C, h, w), as the denoiser gives them.
        tile: as for ``encode_pictures``.
        checked: look for NaN, which waits for the device. Who does not has to see that the
            pictures are not ``spoilt``, or else decode them again, checked.

    Returns:
        (N, 3, h * downsampling, w * downsampling), float32, about [-1, 1], not clipped.

    Raises:
        RenderError: the latents hold NaN, or the autoencoder gives it, in float32 too.
    """
    bad = bad_rows(extremes(latents)) if checked else []
    if bad:
        denoiser = "transformer" if parts.unet is None else "U-Net"
        raise RenderError(
            f"picture {bad[0] + 1} of {len(latents)} came out as NaN from the {denoiser}; "
            "try dtype float32, or a lower guidance_scale"
        )
    factor, shift = _scaling(parts.vae)

    def decode(rows: Tensor) -> Tensor:
        rows = rows / factor + shift
        compiled = parts.compiled
        picture: Tensor = compiled.decode(rows) if compiled else parts.vae.decode(rows).sample
        return picture.float()

    area = latents.shape[-1] * latents.shape[-2] * parts.downsampling**2
    return _in_slices(parts, decode, latents.float(), area, tile, "decoding", checked)


def spoilt(found: Tensor, dtype: torch.dtype) -> bool:
    """Whether pictures that were decoded unchecked have to be decoded again, checked.

    Args:
        found: their ``extremes``, (2, N).
        dtype: that they were decoded in.
    """
    return bool(bad_rows(found)) or (dtype != torch.float32 and bool(black_rows(found)))


def _scaling(vae: Any) -> tuple[float, float]:
    """What latents are multiplied by, and what is taken off them before."""
    shift = vae.config.get("shift_factor")
    return float(vae.config.scaling_factor), float(shift or 0.0)


def _in_slices(
    parts: Parts,
    run: Callable[[Tensor], Tensor],
    batch: Tensor,
    area: int,
    tile: bool | None,
    what: str,
    checked: bool = True,
) -> Tensor:
    """Apply run to a few pictures at a time; once more, in float32, where it gives NaN."""
    room = decoded_at_once(parts) or TILE_PIXELS
    most, whole = min(SLICE_PIXELS, room), min(TILE_PIXELS, room)
    rows = max(1, most // area)
    done: list[Tensor] = []
    with _tiles(parts, area > whole if tile is None else tile):
        for portion in (batch[start : start + rows] for start in range(0, len(batch), rows)):
            result = run(portion.to(parts.device, parts.vae.dtype))
            found = extremes(result).cpu() if checked else torch.zeros(2, 0)
            if checked and parts.vae.dtype != torch.float32 and spoilt(found, parts.vae.dtype):
                # It stays there: what overflowed once in half precision will again.
                parts.vae.to(torch.float32)
                result = run(portion.to(parts.device, torch.float32))
                found = extremes(result).cpu()
            bad = bad_rows(found)
            if bad:
                number = rows * len(done) + bad[0] + 1
                raise RenderError(
                    f"picture {number} of {len(batch)} came out as NaN from the autoencoder, "
                    f"{what} in float32"
                )
            done.append(result)
    return done[0] if len(done) == 1 else torch.cat(done)


@contextmanager
def _tiles(parts: Parts, wanted: bool) -> Iterator[None]:
    vae = parts.vae
    # VQModel has no tiles; those of AutoencoderTiny, small enough without, have four channels.
    if not wanted or not hasattr(vae, "tiled_decode"):
        yield
        return
    side = max(TILE_SIDE, *parts.sample_size)
    before = vae.tile_sample_min_size, vae.tile_latent_min_size
    vae.tile_sample_min_size, vae.tile_latent_min_size = side, side // parts.downsampling
    vae.enable_tiling()
    try:
        yield
    finally:
        vae.disable_tiling()
        vae.tile_sample_min_size, vae.tile_latent_min_size = before


def to_pixels(pictures: Sequence[Image.Image]) -> Tensor:
    """(N, C, H, W) in [-1, 1], float32, of pictures of one size and mode; C is 3 for RGB."""
    rows = [np.array(picture, dtype=np.float32) for picture in pictures]
    array = np.stack([row if row.ndim == 3 else row[..., None] for row in rows])
    return torch.from_numpy(array).permute(0, 3, 1, 2) / 127.5 - 1


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """Pictures of (N, 3, H, W) in [-1, 1]; waits for the device."""
    return as_pictures(to_bytes(pixels).cpu())


def as_pictures(rows: Tensor) -> list[Image.Image]:
    """Pictures of ``to_bytes`` that have arrived in main memory."""
    return [Image.fromarray(each) for each in rows.numpy()]
