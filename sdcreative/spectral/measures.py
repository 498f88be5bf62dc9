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
    whole = Convergence(params, circular)
    whole.expect(wanted.mT)
    whole.finish(_tensor(samples))
    return whole.value


class Convergence:
    """The spectral convergence of a sound that comes in blocks, each of which is looked at once.

    Args:
        params: the bands.
        circular: the sound is a loop; it comes as a whole, with ``finish``.
    """

    def __init__(self, params: SpectrogramParams, circular: bool = False) -> None:
        grid = encoding_grid(params)
        self._params, self._circular, self._hop = params, circular, grid.hop
        # Columns whose windows reach beyond a block: those at its beginning were looked at with
        # the block before, those at its end are with the next.
        self._reach = -(-(grid.window - grid.before) // grid.hop)
        self._edge = 0
        self._wanted: list[Tensor] = []
        self._samples: list[Tensor] = []
        self._held = 0
        self._apart = self._whole = 0.0

    @property
    def value(self) -> float:
        """In dB, of what was looked at so far; nan where that is silent."""
        if not self._whole:
            return math.nan
        return 10 * math.log10(max(self._apart / self._whole, 1e-24))

    def expect(self, mel: Tensor) -> None:
        """The next columns of the spectrogram: (channels, columns, bands)."""
        self._wanted.append(mel)

    def hear(self, samples: Tensor) -> None:
        """The next (channels, samples), on the scale of 16 bits; their columns are known."""
        if not samples.shape[-1]:
            return
        self._samples.append(samples)
        self._held += samples.shape[-1]
        end = self._held // self._hop - self._reach + 1
        if end - self._edge < 4 * self._reach:
            return
        held = torch.cat(self._samples, -1)
        self._compare(mel_magnitudes(held, self._params)[..., self._edge : end, :])
        held = held[..., (end - self._reach) * self._hop :].clone()
        self._samples, self._held, self._edge = [held], held.shape[-1], self._reach

    def finish(self, samples: Tensor) -> None:
        """The last (channels, samples)."""
        held = torch.cat([*self._samples, samples], -1)
        reached = mel_magnitudes(held, self._params, self._circular)
        self._compare(reached[..., self._edge :, :])

    def _compare(self, reached: Tensor) -> None:
        wanted = torch.cat(self._wanted, -2)
        columns = min(reached.shape[-2], wanted.shape[-2])
        now = wanted[..., :columns, :]
        self._apart += float((reached[..., :columns, :] - now).norm()) ** 2
        self._whole += float(now.norm()) ** 2
        self._wanted = [wanted[..., columns:, :].clone()]


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


def loop_seam(samples: Floats) -> float:
    """The step from the last sample of a loop to its first, over the RMS step within it.

    About 1 is what chance gives in a loop without a seam; a click is many times that.

    Args:
        samples: (channels, samples).

    Raises:
        DataError: fewer than two samples.
    """
    if samples.shape[-1] < 2:
        raise DataError(f"a loop of {samples.shape[-1]} samples has no steps; give at least 2")
    whole = samples.astype(numpy.float64)
    step = math.sqrt(((whole[:, 0] - whole[:, -1]) ** 2).mean())
    within = math.sqrt((numpy.diff(whole) ** 2).mean())
    return step / within if within else 0.0


def loop_seam_db(samples: Floats, params: SpectrogramParams) -> float:
    """How much the spectrogram of a loop, played again and again, jumps at its seam, in dB.

    The RMS difference of neighbouring columns whose windows reach over the seam, over the median
    difference of all others; of magnitudes as loud as they look, raised to ``params.power``. About
    0 where the sound goes on, 20 and more for a click in held notes. A note that begins there
    counts as well, about 8 in music, whether it is meant or the loop was cut anywhere.

    Args:
        samples: (channels, samples), within -1 and 1.
        params: the bands.

    Raises:
        DataError: a loop shorter than four windows.
    """
    grid, length = encoding_grid(params), samples.shape[-1]
    if length < 4 * grid.window:
        raise DataError(
            f"a loop of {length / params.sample_rate:.3f} s; give at least "
            f"{4 * grid.window / params.sample_rate:.3f} s, four windows"
        )
    again = _tensor(numpy.concatenate([samples, samples[:, : 2 * grid.window]], -1))
    columns = mel_magnitudes(again, params).pow(params.power)
    steps = columns.diff(dim=-2).square().sum((0, 2)).sqrt().numpy()
    place = (numpy.arange(len(steps)) + 0.5) * grid.hop
    near = numpy.abs(place - length) <= grid.window / 2
    other = (place > grid.window) & (place < length - grid.window)
    seam = math.sqrt((steps[near] ** 2).mean())
    usual = float(numpy.median(steps[other]))
    if not usual:
        return math.inf if seam else 0.0
    return 20 * math.log10(max(seam / usual, 1e-12))


def _tensor(samples: Floats) -> Tensor:
    return torch.from_numpy(numpy.ascontiguousarray(samples, numpy.float32) * FULL_SCALE)
