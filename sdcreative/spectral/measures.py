"""How near a decoded sound is: to the spectrogram, to the original, and between its channels."""

from __future__ import annotations

import math
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError
from .mel import encoding_grid, mel_bank, mel_magnitudes
from .params import FULL_SCALE, SpectrogramParams
from .stft import Grid

Floats = NDArray[numpy.floating[Any]]

_CEPSTRA = 13
_QUIETEST = 10.0
"""a magnitude: about what rounding to 16 bits leaves in a band"""


def spectral_convergence(
    samples: Floats, mel: Floats, params: SpectrogramParams, circular: bool = False
) -> float:
    """How far the bands of a sound are from a spectrogram: 20 log10(|S - mel| / |mel|), in dB.

    N. Sturmel, L. Daudet, "Signal reconstruction from STFT magnitude: a state of the art", DAFx
    2011, equation 13, for mel bands instead of bins. -20 dB is a tenth; below -30 dB is very near.

    Args:
        samples: (channels, samples), within -1 and 1.
        mel: (channels, bands, columns).
        params: the bands.
        circular: the sound is a loop.

    Raises:
        DataError: the spectrogram is silent.
    """
    wanted = torch.from_numpy(numpy.ascontiguousarray(mel, numpy.float32))
    if not wanted.any():
        raise DataError("a silent spectrogram has no spectral convergence")
    reached = mel_magnitudes(_tensor(samples), params, circular).mT
    columns = min(reached.shape[-1], wanted.shape[-1])
    apart = (reached[..., :columns] - wanted[..., :columns]).norm() / wanted[..., :columns].norm()
    return 20 * math.log10(max(float(apart), 1e-12))


def mel_cepstral_distortion(samples: Floats, original: Floats, sample_rate: int) -> float:
    """Mean distance of 13 mel cepstra without the loudness, in dB; lower is nearer.

    R. Kubichek, "Mel-cepstral distance measure for objective speech quality assessment", IEEE
    PACRIM 1993: 10 / ln 10 sqrt(2 sum (c - c')^2), of 80 bands up to 10 kHz, windows of 50 ms.

    Args:
        samples, original: (channels, samples); the longer one is cut.
        sample_rate: of both.
    """
    count = min(samples.shape[-1], original.shape[-1])
    params = SpectrogramParams(
        sample_rate=sample_rate,
        window_ms=50,
        padded_ms=50,
        bands=80,
        max_hz=min(10_000, sample_rate / 2),
    )
    place = torch.arange(params.bands, dtype=torch.float32) + 0.5
    order = torch.arange(1, _CEPSTRA + 1, dtype=torch.float32)
    cosines = math.sqrt(2 / params.bands) * torch.cos(
        torch.pi / params.bands * place[:, None] * order
    )

    def cepstra(sound: Floats) -> Tensor:
        mel = mel_magnitudes(_tensor(sound[..., :count]), params)
        return mel.clamp(min=_QUIETEST).log() @ cosines

    apart = (cepstra(samples) - cepstra(original)).square().sum(-1)
    return float(10 / math.log(10) * (2 * apart).sqrt().mean())


def channel_phase_error(samples: Floats, original: Floats, params: SpectrogramParams) -> float:
    """How much the phase between left and right differs from the original's, in radians.

    A mean over bins and frames, weighted by the original's loudness: 0 where a sound stays in its
    place, pi / 2 where chance has placed it.

    Args:
        samples, original: (2, samples).
        params: the grid.
    """
    count = min(samples.shape[-1], original.shape[-1])
    grid, bins = encoding_grid(params), mel_bank(params).width
    grid = Grid(grid.sample_rate, grid.hop, grid.window, grid.window)
    bins = min(bins, grid.n_fft // 2 + 1)

    def between(sound: Floats) -> Tensor:
        spectrum = grid.analyse(_tensor(sound[..., :count]), bins)
        return spectrum[0].mul(spectrum[1].conj())

    was = between(original)
    apart = (between(samples) * was.conj()).angle().abs()
    weight = was.abs()
    return float((apart * weight).sum() / weight.sum())


def _tensor(samples: Floats) -> Tensor:
    return torch.from_numpy(numpy.ascontiguousarray(samples, numpy.float32) * FULL_SCALE)
