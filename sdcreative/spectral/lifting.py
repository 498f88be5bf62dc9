"""From mel bands back to linear magnitudes, on the cheapest grid that can hold them."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from .mel import Banded, mel_weights
from .params import SpectrogramParams
from .stft import Grid

_RATES = (16_000, 24_000, 32_000)
_SHARE = 5 / 12
"""of a rate that a band may reach; what is left lets the phases of the highest band be found"""
_NOISE = 1e-4
_LOUDER = 8.0
"""how much louder a band may be made at a time; it may be silent only by chance"""


def inversion_grid(params: SpectrogramParams, fine: bool = True) -> Grid:
    """Where phases are sought: at 24 kHz for Riffusion's pictures, whose bands end at 10 kHz.

    Args:
        params: the bands.
        fine: with all of the zeros that ``params`` puts around the window; else with half of them,
            where the window leaves so much room.
    """
    rate, hop, window, n_fft = (
        params.sample_rate, params.hop_length, params.win_length, params.n_fft
    )  # fmt: skip
    for lower in _RATES:
        exact = all(size * lower % rate == 0 for size in (hop, window, n_fft))
        if lower < rate and params.max_hz <= lower * _SHARE and exact:
            hop, window, n_fft = (size * lower // rate for size in (hop, window, n_fft))
            rate = lower
            break
    if not fine and n_fft % 4 == 0 and n_fft >= 2 * window:
        n_fft //= 2
    return Grid(rate, hop, window, n_fft)


class Lift:
    """The way between the bands of a spectrogram and the bins of a grid that inverts it.

    Attributes:
        grid: where the magnitudes are.
        bins: how many; all above are silent.
    """

    def __init__(self, params: SpectrogramParams, grid: Grid, device: str = "cpu") -> None:
        scale = grid.sample_rate / params.sample_rate
        dense = Grid(
            grid.sample_rate, grid.hop, grid.window, params.n_fft * grid.sample_rate
            // params.sample_rate,
        )  # fmt: skip
        weights = mel_weights(params, dense.sample_rate, dense.n_fft)
        every = dense.n_fft // grid.n_fft
        own = mel_weights(params, grid.sample_rate, grid.n_fft)
        self.grid = grid
        self.bins = own.shape[1]
        self._raise = (
            (_smoothest(weights, params, dense)[::every] * scale).T.float().contiguous().to(device)
        )
        self._bands = Banded((_between(weights, every, self.bins) / scale).float().to(device))
        shares = own / own.sum(0).clamp(min=1e-9)
        self._bins = Banded(shares.T.float().contiguous().to(device))

    def magnitudes(self, mel: Tensor) -> Tensor:
        """(..., frames, bands) -> (..., frames, bins)."""
        return (mel @ self._raise).clamp_(min=0)

    def correct(self, reached: Tensor, mel: Tensor) -> Tensor:
        """Magnitudes of the same fine structure, with the bands of ``mel``.

        Every bin is multiplied by what its bands lack, shared out as the triangles stand.
        """
        silence = 1e-7 * mel.amax((-2, -1), keepdim=True) + 1e-12
        gain = (mel + silence) / (self._bands(reached) + silence)
        return reached * self._bins(gain.clamp_(max=_LOUDER))


@lru_cache(maxsize=8)
def lift(params: SpectrogramParams, fine: bool, device: str = "cpu") -> Lift:
    """The way to ``inversion_grid(params, fine)``."""
    return Lift(params, inversion_grid(params, fine), device)


def _smoothest(weights: Tensor, params: SpectrogramParams, grid: Grid) -> Tensor:
    """(bins, bands): the most likely magnitudes for given bands, were they a Gaussian process.

    Neighbouring bins are correlated as far as the window smears a tone. This is the pseudo-inverse
    for processes without correlation, and half a dB to two better than that (C. Rasmussen and
    C. Williams, Gaussian Processes for Machine Learning, 2006, equation 2.23).
    """
    spacing = grid.sample_rate / grid.n_fft
    smear = 500 / params.window_ms / spacing
    reach = math.ceil(6 * smear)
    apart = torch.arange(-reach, reach + 1, dtype=torch.float64)
    alike = torch.exp(-0.5 * (apart / smear) ** 2)
    seen = conv1d(weights[:, None], alike[None, None], padding=reach)[:, 0]
    inner = seen @ weights.T
    inner.diagonal().add_(_NOISE * inner.diagonal().mean())
    weight: Tensor = torch.linalg.solve(inner, seen)
    return weight.T


def _between(weights: Tensor, every: int, bins: int) -> Tensor:
    """Weights for every so many-th bin, those between being interpolated linearly."""
    place = torch.arange(weights.shape[1], dtype=torch.float64) / every
    low = place.floor().long().clamp(max=bins - 1)
    share = place - low
    coarse = weights.new_zeros(weights.shape[0], bins)
    coarse.index_add_(1, low, weights * (1 - share))
    return coarse.index_add_(1, (low + 1).clamp(max=bins - 1), weights * share)
