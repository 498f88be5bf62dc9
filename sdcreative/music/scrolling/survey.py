"""One look at all of a spectrogram: what is loudest in it, and how loud every column is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

Columns = NDArray[numpy.uint8]

RANGE = 66
"""decibels below the loudest that are told apart"""
_SEEN = 0.25
"""the power of magnitudes that is seen; Riffusion's, close to how loud they are heard"""
_CLICKS = 2e-3
"""share of all places that may be louder than what is brightest"""
_LEAST = 48
"""the share of 255 that is brightest where nothing is louder, so that noise remains dark"""
_BLOCK = 4096
"""columns that are read at a time"""


@dataclass(frozen=True)
class Survey:
    """What is known of the whole before a part of it is shown.

    Attributes:
        curve: (256,) levels of pictures (loud 0) -> brightness (loud 255).
        loudness: (columns,) mean over bands and channels of the root of the magnitudes.
    """

    curve: NDArray[numpy.uint8]
    loudness: NDArray[numpy.float32]


def survey(columns: Columns, power: float) -> Survey:
    """Read a spectrogram once, part by part.

    Args:
        columns: (channels, bands, columns), loud 0.
        power: of the magnitudes in it.
    """
    share = (255 - numpy.arange(256)) / 255
    seen = share ** (_SEEN / power)
    root = (seen**2).astype(numpy.float32)
    counts = numpy.zeros(256, numpy.int64)
    loudness = numpy.empty(columns.shape[-1], numpy.float32)
    for start in range(0, columns.shape[-1], _BLOCK):
        block = columns[..., start : start + _BLOCK]
        counts += numpy.bincount(block.ravel(), minlength=256)
        loudness[start : start + _BLOCK] = root[block].mean(axis=(0, 1))
    over = numpy.cumsum(counts) > _CLICKS * counts.sum()
    brightest = seen[min(int(over.argmax()), 255 - _LEAST)]
    quietest = 10 ** (-RANGE * _SEEN / 20)
    curve = numpy.clip((seen / brightest - quietest) / (1 - quietest), 0, 1)
    return Survey(numpy.rint(255 * curve).astype(numpy.uint8), loudness)
