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
    rows = samples.reshape(-1, 1, length)
    rows = pad(rows, (margin, margin), mode="reflect") if margin else rows
    line = _between(rows, margin, up, down)
    return line.reshape(*samples.shape[:-1], line.shape[-1])


class Resampler:
    """``resample`` of a line that comes in blocks; the same, but for rounding.

    Every block is transformed between what came before it and what comes after it, instead of
    mirrored sound; so a block is heard when the next 0.1 seconds have come.

    Args:
        rate: samples per second.
        wanted: samples per second of the result.
    """

    def __init__(self, rate: int, wanted: int) -> None:
        divisor = math.gcd(rate, wanted)
        self._rate, self._wanted = rate, wanted
        self._up, self._down = wanted // divisor, rate // divisor
        self._margin = math.ceil(_MARGIN * rate / self._down) * self._down
        self._held: Tensor | None = None
        self._begun = False

    def feed(self, samples: Tensor) -> Tensor:
        """(..., samples) -> (..., samples at the new rate) that are ready, perhaps none."""
        if self._rate == self._wanted:
            return samples
        held, margin = self._hold(samples), self._margin
        around = 2 * margin if self._begun else margin
        ready = (held.shape[-1] - around) // self._down * self._down
        if ready <= margin:
            self._held = held
            return samples[..., :0]
        if not self._begun:
            held = torch.cat([held[..., 1 : margin + 1].flip(-1), held], -1)
            self._begun = True
        self._held = held[..., ready:].clone()
        return _between(held[..., : ready + 2 * margin], margin, self._up, self._down)

    def finish(self, samples: Tensor) -> Tensor:
        """The last block (..., samples) -> all that is left."""
        if not self._begun:
            return resample(self._hold(samples), self._rate, self._wanted)
        held, margin = self._hold(samples), self._margin
        held = torch.cat([held, held[..., -margin - 1 : -1].flip(-1)], -1)
        return _between(held, margin, self._up, self._down)

    def _hold(self, samples: Tensor) -> Tensor:
        return samples if self._held is None else torch.cat([self._held, samples], -1)


def _between(samples: Tensor, margin: int, up: int, down: int) -> Tensor:
    """What lies between two margins, at ``up / down`` of the rate; the margins are faded."""
    length = samples.shape[-1]
    whole = -(-length // down)
    while not _smooth(whole):
        whole += 1
    rows = pad(samples, (0, whole * down - length))
    fade = torch.linspace(0, torch.pi / 2, margin + 1, device=samples.device)[:margin].sin() ** 2
    rows[..., :margin] *= fade
    rows[..., length - margin : length] *= fade.flip(0)
    start, count = margin * up // down, -(-(length - 2 * margin) * up // down)
    return _stretch(rows, whole * up).narrow(-1, start, count)


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
