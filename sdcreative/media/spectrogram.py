"""Sound as a picture: mel magnitudes to Riffusion's pictures, and back.

The format is that of riffusion-hobby (S. Forsgren, H. Martiros, 2022): loud is black, low
frequencies are at the bottom, 8 bits of the fourth root of the magnitude.
"""

from __future__ import annotations

from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError
from ..spectral.mel import encoding_grid, mel_magnitudes
from ..spectral.params import FULL_SCALE, SpectrogramParams

__all__ = [
    "MAX_VALUE",
    "SpectrogramParams",
    "image_to_spectrogram",
    "mel_spectrogram",
    "spectrogram_to_image",
]

MAX_VALUE = 30e6
"""the largest magnitude in a picture that does not say it"""

Floats = NDArray[numpy.floating[Any]]


def mel_spectrogram(
    samples: Floats, params: SpectrogramParams, device: str = "cpu"
) -> NDArray[numpy.float32]:
    """The magnitudes of mel bands over time.

    Args:
        samples: (channels, samples), or (clips, channels, samples), at ``params.sample_rate`` and
            within -1 and 1; one channel, or two if ``params.stereo``.
        params: the bands.
        device: what computes it.

    Returns:
        (..., bands, 1 + samples // hop_length).

    Raises:
        DataError: another number of channels, less than half a window of samples, or samples that
            are no finite numbers.
    """
    if samples.ndim not in (2, 3) or samples.shape[-2] != params.channels:
        raise DataError(
            f"samples of shape {samples.shape}: give (channels, samples) or (clips, channels, "
            f"samples) with {params.channels} channel{'s' * params.stereo}"
        )
    grid = encoding_grid(params)
    least = grid.window - grid.before + 1
    if samples.shape[-1] < least:
        raise DataError(
            f"{samples.shape[-1] / params.sample_rate:.3f} s of sound; give at least "
            f"{least / params.sample_rate:.3f} s, half of a window"
        )
    if not numpy.isfinite(samples).all():
        raise DataError("the sound holds samples that are no finite numbers; export it again")
    line = torch.from_numpy(numpy.ascontiguousarray(samples, dtype=numpy.float32) * FULL_SCALE)
    return numpy.ascontiguousarray(mel_magnitudes(line.to(device), params).mT.cpu().numpy())


def spectrogram_to_image(mel: Floats, params: SpectrogramParams) -> Image.Image:
    """The picture of a spectrogram: floor(255 - 255 (S / max)^power).

    Args:
        mel: (channels, bands, columns), finite and not negative.
        params: the bands.

    Returns:
        RGB, one row per band and one column per step. Keep ``mel.max()`` for the way back.

    Raises:
        DataError: another shape, or magnitudes that are negative or no finite numbers.
    """
    if mel.ndim != 3 or mel.shape[:2] != (params.channels, params.bands) or not mel.shape[2]:
        raise DataError(
            f"a spectrogram of shape {mel.shape}; give ({params.channels}, {params.bands}, columns)"
        )
    if not numpy.isfinite(mel).all() or mel.min() < 0:
        raise DataError("a spectrogram with magnitudes that are negative or no finite numbers")
    loudest = mel.max()
    pixels = levels_of(mel, params.power, float(loudest))[:, ::-1]
    zeros = numpy.zeros_like(pixels[0])
    planes = [zeros, *pixels] if params.stereo else [pixels[0]] * 3
    return Image.fromarray(numpy.stack(planes, -1))


def image_to_spectrogram(
    picture: Image.Image, params: SpectrogramParams, max_value: float = MAX_VALUE
) -> NDArray[numpy.float32]:
    """The magnitudes in a picture.

    A level stands for all magnitudes that the encoder rounds down to it; their middle is taken,
    where Riffusion takes the largest, so that nothing becomes louder on average.

    Args:
        picture: one row per band.
        params: the bands.
        max_value: the largest magnitude of what was encoded.

    Returns:
        (channels, bands, columns).

    Raises:
        DataError: another height, or a largest magnitude that is negative or not finite.
    """
    if picture.height != params.bands:
        raise DataError(
            f"a picture of {picture.width}x{picture.height} pixels; a spectrogram of "
            f"{params.bands} bands is {params.bands} pixels high"
        )
    if not (numpy.isfinite(max_value) and max_value >= 0):
        raise DataError(f"the largest magnitude is {max_value}; give 0 or more")
    pixels = numpy.asarray(picture.convert("RGB"))[::-1].transpose(2, 0, 1)
    planes = pixels[1:] if params.stereo else pixels[:1]
    return numpy.ascontiguousarray(magnitudes_of(planes, params.power, max_value))


def levels_of(mel: Floats, power: float, max_value: float) -> NDArray[numpy.uint8]:
    """Magnitudes to the levels of a picture, of any shape: 255 is silence, 0 is ``max_value``."""
    share = mel / max_value if max_value > 0 else numpy.zeros_like(mel)
    levels: NDArray[numpy.uint8] = (255 - numpy.power(share, power) * 255).astype(numpy.uint8)
    return levels


def magnitudes_of(
    levels: NDArray[numpy.uint8], power: float, max_value: float
) -> NDArray[numpy.float32]:
    """The magnitudes that the levels of a picture stand for, of any shape."""
    share = numpy.clip((254.5 - numpy.arange(256)) / 255, 0, None)
    table = (share ** (1 / power) * max_value).astype(numpy.float32)
    return table[levels]
