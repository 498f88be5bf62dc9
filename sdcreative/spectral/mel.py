"""Mel bands: triangles over the bins of a Fourier transform, and their inverse."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .params import SpectrogramParams
from .stft import Grid, hann, magnitude

_FRAMES = 256
"""transformed together; their spectra stay in the cache"""
_GROUP = 32
"""rows that are multiplied together; fewer would be many small products, more mostly zeros"""


class Banded:
    """A matrix with non-zeros along a diagonal only, multiplied block by block.

    Attributes:
        width: of what it is multiplied with, at least.
    """

    def __init__(self, matrix: Tensor) -> None:
        self.width = matrix.shape[1]
        self._blocks: list[tuple[slice, Tensor]] = []
        for start in range(0, len(matrix), _GROUP):
            rows = matrix[start : start + _GROUP]
            used = rows.any(0).nonzero().flatten().tolist() or [0]
            reach = slice(used[0], used[-1] + 1)
            self._blocks.append((reach, rows[:, reach].T.contiguous()))

    def __call__(self, values: Tensor) -> Tensor:
        """(..., at least ``width``) -> (..., rows of the matrix)."""
        return torch.cat([values[..., reach] @ block for reach, block in self._blocks], -1)


def mel_weights(params: SpectrogramParams, sample_rate: float, n_fft: int) -> Tensor:
    """Triangles that reach 1 at their top, on the bins of a transform.

    Args:
        params: the bands.
        sample_rate, n_fft: of the transform, which need not be those of ``params``.

    Returns:
        (bands, bins) in float64; bins up to ``max_hz`` only.
    """
    corners = torch.tensor(params.corners(), dtype=torch.float64)
    bins = min(n_fft // 2, int(params.max_hz * n_fft / sample_rate + 1e-9)) + 1
    apart = corners[:, None] - torch.arange(bins, dtype=torch.float64) * (sample_rate / n_fft)
    width = corners.diff()[:, None]
    return torch.minimum(-apart[:-2] / width[:-1], apart[2:] / width[1:]).clamp(min=0)


@lru_cache(maxsize=8)
def mel_bank(params: SpectrogramParams, device: str = "cpu") -> Banded:
    """Linear magnitudes of the transform that encodes -> bands."""
    return Banded(mel_weights(params, params.sample_rate, params.n_fft).float().to(device))


def encoding_grid(params: SpectrogramParams) -> Grid:
    """The transform that encodes."""
    return Grid(params.sample_rate, params.hop_length, params.win_length, params.n_fft)


def mel_magnitudes(samples: Tensor, params: SpectrogramParams, circular: bool = False) -> Tensor:
    """The magnitudes of mel bands over time.

    Args:
        samples: (..., samples), longer than half a window; in a circle a multiple of the step.
        params: the bands.

    Returns:
        (..., columns, bands).
    """
    grid, bank = encoding_grid(params), mel_bank(params, str(samples.device))
    window = hann(grid.window, samples.device)
    frames = grid.frames(samples, circular)
    parts = []
    for start in range(0, frames.shape[-2], _FRAMES):
        part = frames[..., start : start + _FRAMES, :] * window
        parts.append(bank(magnitude(torch.fft.rfft(part, grid.n_fft)[..., : bank.width])))
    return torch.cat(parts, dim=-2)
