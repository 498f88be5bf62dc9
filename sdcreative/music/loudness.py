"""Loudness as it is heard (ITU-R BS.1770-4, EBU R 128), and sound brought to it.

The weighting and the blocks of 400 ms are pyloudnorm's; they are taken ten seconds at a time, and
gated over the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, inf, isfinite
from typing import Any

import numpy
from numpy.typing import NDArray

from .limiter import MOST, Limiter
from .scratch import ScratchSound
from .true_peak import TruePeak

Blocks = Iterator[NDArray[numpy.float32]]

_WARM_UP, _SLAB = 1, 10
"""seconds: before that the weighting has forgotten, and at a time"""
_BLOCK, _STEP = 0.4, 0.1
_OFFSET = 0.691
_SILENCE = -70.0
_RELATIVE = 10.0
_PASSES = 5
_NEAR = 0.05
_LEAST = 0.3
"""dB louder per dB of gain, so that no step is too long"""


@dataclass(frozen=True)
class Loudness:
    """How loud a sound is.

    Attributes:
        lufs: integrated and gated; -inf where all is silent, or below -70.
        true_peak: in dBTP; -inf for silence.
    """

    lufs: float
    true_peak: float


@dataclass(frozen=True)
class Levelled:
    """A sound at its loudness.

    Attributes:
        blocks: reads it, (samples, channels) at a time, as often as it is called.
        before: as it came.
        after: as ``blocks`` gives it.
        limited_db: by how much its highest peak was limited, from 0 to 6.
    """

    blocks: Callable[[], Blocks]
    before: Loudness
    after: Loudness
    limited_db: float


def measure(blocks: Blocks, sample_rate: int, channels: int) -> Loudness:
    """Measure a sound that comes in blocks; a few seconds of it are held at a time.

    What is shorter than 400 ms is measured as one block.

    Args:
        blocks: (samples, channels) each, of any length.
        sample_rate: samples per second.
        channels: 1 to 5: left, right, centre, left and right surround.
    """
    from pyloudnorm import Meter

    meter = Meter(sample_rate)
    peak = TruePeak(channels)
    powers: list[float] = []
    waiting = numpy.zeros((_WARM_UP * sample_rate, channels))
    # The last block of a slab begins one step before the next slab's first.
    whole = ceil((_WARM_UP + _SLAB + _BLOCK - _STEP) * sample_rate) + 1
    count = 0
    for block in blocks:
        peak.feed(block)
        count += len(block)
        waiting = numpy.concatenate([waiting, block])
        while len(waiting) >= whole:
            powers += _powers(meter, waiting[:whole])
            waiting = waiting[_SLAB * sample_rate :]
    if count >= _BLOCK * sample_rate:
        powers += _powers(meter, waiting)
    elif count:
        missing = ceil(_BLOCK * sample_rate) - count
        padded = numpy.pad(waiting, ((0, missing), (0, 0)))
        powers = [power * _BLOCK * sample_rate / count for power in _powers(meter, padded)]
    return Loudness(_gated(numpy.array(powers)), peak.finish())


def _powers(meter: Any, samples: NDArray[numpy.float64]) -> list[float]:
    """Mean squares of the blocks that begin after the warm-up, over all channels."""
    meter.integrated_loudness(samples)
    loudness = numpy.array(meter.blockwise_loudness)[round(_WARM_UP / _STEP) :]
    powers: list[float] = (10 ** ((loudness + _OFFSET) / 10)).tolist()
    return powers


def _gated(powers: NDArray[numpy.float64]) -> float:
    """The mean of the blocks that are neither silent nor 10 LU below the others (annex 1)."""
    loud = powers[powers >= 10 ** ((_SILENCE + _OFFSET) / 10)]
    if not len(loud):
        return -inf
    heard = loud[loud > loud.mean() * 10 ** (-_RELATIVE / 10)]
    return 10 * float(numpy.log10(heard.mean())) - _OFFSET


def level(
    scratch: ScratchSound, target: float | None, true_peak: float, *, loop: bool = False
) -> Levelled:
    """Bring a sound to a loudness, and keep its peaks under a ceiling.

    Peaks that would pass are limited, by 10 dB at most: where that is not enough, the target is
    missed. Without a target, or where there is no loudness to speak of, nothing is limited or
    turned up: the sound is turned down as a whole where its peaks pass.

    Args:
        scratch: the sound; it stays as it is, and has to stay open.
        target: in LUFS.
        true_peak: the ceiling in dBTP.
        loop: the limiter goes on from the end into the beginning.

    Raises:
        OSError: from the disk.
    """
    before = _measured(scratch.blocks(), scratch)
    if target is None or not isfinite(before.lufs):
        gain = min(0.0, true_peak - before.true_peak)
        blocks = _Scaled(scratch, gain)
        return Levelled(blocks, before, _measured(blocks(), scratch) if gain else before, 0.0)
    ceiling, most = true_peak, MOST + true_peak - before.true_peak
    gain = min(most, target - before.lufs)
    # Without a limiter, a dB more is a dB louder.
    last_gain, last_lufs = 0.0, before.lufs
    for left in reversed(range(_PASSES)):
        limited = max(0.0, before.true_peak + gain - true_peak)
        levelled: Callable[[], Blocks] = _Scaled(scratch, gain)
        if limited > 0:
            levelled = Limiter(scratch, _factor(gain), ceiling, circular=loop).blocks
        after = _measured(levelled(), scratch)
        # Limiting costs loudness, and what is turned up may come over the gate: then once more.
        missing, over = target - after.lufs, after.true_peak - true_peak
        reached = abs(missing) <= _NEAR or (gain == most and missing > 0)
        if not left or (reached and over <= _NEAR):
            break
        if not reached:
            louder = (after.lufs - last_lufs) / (gain - last_gain) if gain != last_gain else 1.0
            last_gain, last_lufs = gain, after.lufs
            gain = min(most, gain + missing / min(max(louder, _LEAST), 1.0))
        ceiling -= max(0.0, over)
    return Levelled(levelled, before, after, limited)


class _Scaled:
    """A sound with a gain on it, and no more."""

    def __init__(self, scratch: ScratchSound, gain: float) -> None:
        self._scratch, self._factor = scratch, numpy.float32(_factor(gain))

    def __call__(self) -> Blocks:
        for block in self._scratch.blocks():
            yield block * self._factor


def _factor(gain: float) -> float:
    return float(10 ** (gain / 20))


def _measured(blocks: Blocks, scratch: ScratchSound) -> Loudness:
    return measure(blocks, scratch.sample_rate, scratch.channels)


def describe_levels(levelled: Levelled) -> str:
    """How loud a sound became, in one line.

    >>> describe_levels(Levelled(lambda: iter(()), Loudness(-20, -3), Loudness(-14, -1), 2.06))
    '-14.0 LUFS, true peak -1.0 dB, limited by 2.1 dB'
    """
    after = levelled.after
    if not isfinite(after.true_peak):
        return "silent"
    loud = f"{_rounded(after.lufs)} LUFS" if isfinite(after.lufs) else "too quiet for a loudness"
    words = [loud, f"true peak {_rounded(after.true_peak)} dB"]
    if levelled.limited_db >= _NEAR:
        words.append(f"limited by {_rounded(levelled.limited_db)} dB")
    return ", ".join(words)


def _rounded(number: float) -> str:
    return f"{round(number, 1) + 0.0:.1f}"
