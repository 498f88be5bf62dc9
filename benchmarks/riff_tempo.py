"""The tempo of a spectrogram picture, by autocorrelation of how strongly notes begin."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

SLOWEST, FASTEST = 58.0, 184.0
"""beats per minute between which a tempo is looked for"""
GROUPS = 16
"""of neighbouring bands, each with an onset curve of its own"""
MULTIPLES = 4
"""of a beat that are looked at, because several beats are measured more exactly than one"""
USUAL, SPREAD = 122.0, 0.85
"""beats per minute, and octaves around them: between two tempi that fit, the nearer one is taken"""
CANDIDATES = 480


def onset_strength(loud: Tensor) -> Tensor:
    """How much louder groups of bands become at each step.

    S. Dixon, "Onset detection revisited", DAFx 2006, section 2.1 (spectral flux), of a picture's
    compressed magnitudes.

    Args:
        loud: (N, bands, columns) in [0, 1].

    Returns:
        (N, groups, columns - 1), of mean 0.
    """
    flux = loud.diff(dim=2).clamp_min(0)
    grouped = functional.adaptive_avg_pool2d(flux, (GROUPS, flux.shape[2]))
    return grouped - grouped.mean(dim=2, keepdim=True)


def autocorrelation(curves: Tensor) -> Tensor:
    """Of curves (N, groups, T), summed over the groups: (N, T) for lags 0 to T - 1, at lag 0 one.

    Each lag is divided by the number of pairs it has, so that long ones are not smaller.
    """
    length = curves.shape[2]
    spectrum = torch.fft.rfft(curves, 2 * length)
    summed = torch.fft.irfft(spectrum.abs().square(), 2 * length)[..., :length].sum(dim=1)
    pairs = torch.arange(length, 0, -1)
    unbiased = summed / pairs
    return unbiased / unbiased[:, :1].clamp_min(1e-12)


def estimate_tempi(loud: Tensor, step_seconds: float) -> Tensor:
    """Beats per minute (N,) of loudness (N, bands, columns) in [0, 1].

    The tempo at whose beat and its multiples the onsets resemble themselves most. Beats that are
    all alike are told up to 165, and faster ones may come out half as fast; music with strong half
    beats may come out twice as fast.

    Args:
        loud: the pictures.
        step_seconds: from one column to the next.
    """
    found = autocorrelation(onset_strength(loud))
    tempi = torch.logspace(math.log10(SLOWEST), math.log10(FASTEST), CANDIDATES)
    beat = 60 / tempi / step_seconds
    score = torch.zeros(len(loud), CANDIDATES)
    for multiple in range(1, MULTIPLES + 1):
        score += _at(found, beat * multiple)
    octaves = (tempi / USUAL).log2() / SPREAD
    best = (score * torch.exp(-0.5 * octaves.square())).argmax(dim=1)
    return tempi[best]


def _at(found: Tensor, lags: Tensor) -> Tensor:
    """The autocorrelation (N, T) between whole lags, (N, lags)."""
    below = lags.floor().long().clamp(0, found.shape[1] - 2)
    share = lags - below
    return found[:, below] * (1 - share) + found[:, below + 1] * share
