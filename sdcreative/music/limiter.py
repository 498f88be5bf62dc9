"""A limiter: what would pass the ceiling is turned down, smoothly and before it comes.

The gain that each sample needs is held for half the look-ahead on both sides (the least counts),
rises again by so many dB a second, and is smoothed over just as long: by a mean of gains that are
all low enough, so nothing passes. P. Hämäläinen, Smoothing of the control signal without
clipped output in digital peak limiters, DAFx 2002.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy
from numpy.typing import NDArray

from ..media.sound_files import BLOCK
from .scratch import ScratchSound
from .true_peak import HALF, HIGHEST, gap_peaks

LOOK_AHEAD = 0.005
"""seconds"""
RELEASE = 60.0
"""dB a second"""
MOST = 10.0
"""dB by which music may be limited before it sounds squashed"""
# Gains so near to 1 are what is left of rounding.
_NOTHING = 1e-9


class Limiter:
    """A sound with a gain on it and a ceiling over it; only what must be is changed.

    Every stretch is computed by itself, with as much around it as counts, so that it does not
    matter where reading begins.

    Args:
        scratch: the sound.
        gain: a factor for all of it.
        ceiling: in dBTP; up to ``MOST`` under the highest peak.
        circular: the sound is a loop: its end is what comes before its beginning.
    """

    def __init__(
        self, scratch: ScratchSound, gain: float, ceiling: float, *, circular: bool = False
    ) -> None:
        self._scratch, self._gain, self._ceiling = scratch, gain, ceiling
        self._circular = circular
        self._ahead = 2 * max(1, round(LOOK_AHEAD * scratch.sample_rate / 4))
        # Twice what is needed: a loop may have a higher peak where its ends meet.
        self._memory = round(2 * MOST / RELEASE * scratch.sample_rate)
        # A loop that is played once has peaks of its own where it begins and ends.
        edge = min(HALF + 1, scratch.samples)
        self._head = self._peaks(scratch.read(-HALF, edge + HALF))
        self._tail = self._peaks(
            scratch.read(scratch.samples - edge - HALF, scratch.samples + HALF)
        )

    def blocks(self) -> Iterator[NDArray[numpy.float32]]:
        """The limited sound, (samples, channels) at a time."""
        gain = numpy.float32(self._gain)
        for start in range(0, self._scratch.samples, BLOCK):
            stop = min(start + BLOCK, self._scratch.samples)
            block = self._scratch.read(start, stop).T * gain
            yield block * self._gains(start, stop)[:, None]

    def _gains(self, start: int, stop: int) -> NDArray[numpy.float32]:
        """(stop - start,): 1 where nothing is limited."""
        from scipy.ndimage import minimum_filter1d, uniform_filter1d

        ahead = self._ahead
        first, last = start - 2 * ahead - self._memory, stop + 2 * ahead
        samples = self._scratch.read(first - HALF, last + HALF, circular=self._circular)
        highest = float(numpy.abs(samples).max(initial=0.0)) * HIGHEST
        if highest * self._gain <= 10 ** (self._ceiling / 20):
            return numpy.ones(stop - start, numpy.float32)
        peaks = self._peaks(samples)
        if self._circular:
            self._add_edges(peaks, first)
        loud = numpy.maximum(peaks.astype(float) * self._gain, 1e-30)
        needed = numpy.minimum(0.0, self._ceiling - 20 * numpy.log10(loud))
        held = minimum_filter1d(needed, 2 * ahead + 1)[ahead:-ahead]
        rising = numpy.arange(len(held)) * (RELEASE / self._scratch.sample_rate)
        released = numpy.minimum.accumulate(held - rising) + rising
        lowered = 1 - 10 ** (numpy.minimum(released, 0.0)[self._memory :] / 20)
        # Two means are a triangle over the look-ahead.
        for _ in range(2):
            lowered = uniform_filter1d(lowered, ahead + 1)
        lowered = lowered[ahead:-ahead]
        lowered[lowered < _NOTHING] = 0.0
        gains: NDArray[numpy.float32] = (1 - lowered).astype(numpy.float32)
        return gains

    def _peaks(self, samples: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        """The highest of each sample and the gaps beside it, for all but 16 at either end."""
        gaps = gap_peaks(samples)
        inside = numpy.abs(samples[:, HALF:-HALF]).max(0, initial=0.0)
        peaks: NDArray[numpy.float32] = numpy.maximum(inside, numpy.maximum(gaps[:-1], gaps[1:]))
        return peaks

    def _add_edges(self, peaks: NDArray[numpy.float32], first: int) -> None:
        position = numpy.arange(first, first + len(peaks)) % self._scratch.samples
        for start, edge in ((0, self._head), (self._scratch.samples - len(self._tail), self._tail)):
            near = (position >= start) & (position < start + len(edge))
            peaks[near] = numpy.maximum(peaks[near], edge[position[near] - start])
