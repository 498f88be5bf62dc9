"""From one sample rate to another through the Fourier transform of the whole sound.

What lies between the old rate's and the new rate's half is left empty, so nothing is aliased and
nothing below is touched; loops stay loops, which filters that run along a file cannot promise.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

_MARGIN = 0.1
"""seconds of mirrored sound around a line, so that its ends do not meet in the transform"""


def resample(samples: Tensor, rate: int, wanted: int, circular: bool = False) -> Tensor:
    """The same sound at a higher or lower rate.

    Args:
        samples: (..., samples); in a circle a whole number of samples at the new rate too.
        rate: samples per second.
        wanted: samples per second of the result.
        circular: the last sample is followed by the first.

    Returns:
        (..., ceil(samples * wanted / rate)).
    """
    if rate == wanted:
        return samples
    divisor = math.gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    length = samples.shape[-1]
    if circular:
        return _stretch(samples, length * up // down)
    margin = min(math.ceil(_MARGIN * rate / down) * down, (length - 1) // down * down)
    whole = -(-(length + 2 * margin) // down)
    while not _smooth(whole):
        whole += 1
    rows = samples.reshape(-1, 1, length)
    rows = pad(rows, (margin, margin), mode="reflect") if margin else rows
    fade = torch.linspace(0, torch.pi / 2, margin + 1, device=samples.device)[:margin].sin() ** 2
    rows[..., :margin] *= fade
    rows[..., rows.shape[-1] - margin :] *= fade.flip(0)
    rows = pad(rows, (0, whole * down - rows.shape[-1]))
    start, count = margin * up // down, -(-length * up // down)
    line = _stretch(rows, whole * up).narrow(-1, start, count)
    return line.reshape(*samples.shape[:-1], count)


def _stretch(samples: Tensor, length: int) -> Tensor:
    spectrum = torch.fft.rfft(samples)
    stretched: Tensor = torch.fft.irfft(spectrum, length)
    return stretched * (length / samples.shape[-1])


def _smooth(number: int) -> bool:
    """Whether a number has no prime factor above 7; others are transformed slowly."""
    for prime in (2, 3, 5, 7):
        while number % prime == 0:
            number //= prime
    return number == 1
