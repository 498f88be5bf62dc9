"""Sound out of mel spectrograms that are there as a whole."""

from __future__ import annotations

import numpy
import torch
from numpy.typing import NDArray

from .decoding import Method, plan
from .measures import Floats
from .params import FULL_SCALE, SpectrogramParams
from .streaming import Line, as_bands

_TOGETHER = 4096
"""columns of short clips that are inverted at a time"""


def invert(
    mel: Floats,
    params: SpectrogramParams,
    *,
    method: Method = "pghi",
    iterations: int | None = None,
    quality: bool = False,
    circular: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> NDArray[numpy.float32]:
    """Samples whose mel bands come near to a spectrogram.

    Args:
        mel: (channels, bands, columns), or (clips, channels, bands, columns); not negative.
        params: how it was made.
        method: "pghi" integrates the phases, and keeps to the bands; "griffin-lim" begins with
            random phases and keeps to the linear magnitudes, as Riffusion does.
        iterations: rounds of Griffin-Lim; 8 with "pghi" and 32 with "griffin-lim" if None.
        quality: 40 more rounds that keep to the bands, the last 8 on a finer grid.
        circular: a loop without a seam: the last column is followed by the first.
        seed: of random phases.
        device: what computes it; PGHI is integrated on the CPU everywhere.

    Returns:
        (..., channels, samples) at ``params.sample_rate``, within -1 and 1 where the magnitudes
        are those of such a sound; (columns - 1) * hop_length samples, or columns * hop_length.

    Raises:
        DataError: another shape, magnitudes that are negative or no finite numbers, or too few
            columns.
        UsageError: an unknown method, a negative number of iterations, or a loop of over 16384
            columns.
    """
    stages = plan(params, method, iterations, quality, device)
    bands = as_bands(mel, params)
    group = max(1, _TOGETHER // max(1, mel.shape[-1] * params.channels))
    found = []
    for start in range(0, len(bands), group):
        clips = bands[start : start + group].to(device)
        seeds = range(seed + start, seed + start + len(clips))
        line = Line(params, stages, method, circular, seeds)
        found += [torch.cat([line.feed(clips), line.finish()], -1).cpu()]
    samples = torch.cat(found).div_(FULL_SCALE).numpy()
    return samples.reshape(*mel.shape[:-2], -1)
