"""True peaks: how high a sound reaches between its samples (ITU-R BS.1770-4, annex 2).

Four times as many samples, by a longer filter than the annex has (32 samples wide, 63 dB), so that
it is right up to 0.44 of the sample rate.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

HALF = 16
"""samples on either side of a gap that count for what lies in it"""
_OVERSAMPLING = 4
_KAISER = 6.0


def _filters() -> NDArray[numpy.float32]:
    """(3, 32): what gives the points at 1/4, 2/4 and 3/4 of a gap."""
    whole = numpy.arange(1 - HALF, HALF + 1)
    rows = []
    for step in range(1, _OVERSAMPLING):
        away = whole - step / _OVERSAMPLING
        window = numpy.i0(_KAISER * numpy.sqrt(1 - (away / HALF) ** 2)) / numpy.i0(_KAISER)
        row = numpy.sinc(away) * window
        rows.append(row / row.sum())
    return numpy.stack(rows).astype(numpy.float32)


_FILTERS = _filters()
HIGHEST = float(numpy.abs(_FILTERS).sum(1).max())
"""how far a true peak can be above all samples around it"""


def gap_peaks(samples: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """The highest point in each gap between two samples, over all channels.

    Args:
        samples: (channels, samples).

    Returns:
        (samples - 31,), at least none: of the gap after sample 15, after sample 16, and so on.
    """
    count = max(0, samples.shape[1] - 2 * HALF + 1)
    peaks = numpy.zeros(count, numpy.float32)
    if count:
        for channel in numpy.ascontiguousarray(samples, numpy.float32):
            for row in _FILTERS:
                numpy.maximum(peaks, numpy.abs(numpy.correlate(channel, row, "valid")), out=peaks)
    return peaks


class TruePeak:
    """The true peak of a sound that comes in blocks.

    Args:
        channels: of every block.
    """

    def __init__(self, channels: int) -> None:
        self._peak = 0.0
        # So much silence that the first gap that counts is the one after the first sample.
        self._last = numpy.zeros((channels, HALF - 1), numpy.float32)

    def feed(self, block: NDArray[numpy.float32]) -> None:
        """Take (samples, channels)."""
        joined = numpy.concatenate([self._last, block.T.astype(numpy.float32)], 1)
        highest = float(numpy.abs(joined).max(initial=0.0))
        if highest * HIGHEST > self._peak:
            between = float(gap_peaks(joined).max(initial=0.0))
            self._peak = max(self._peak, highest, between)
        self._last = joined[:, -(2 * HALF - 1) :]

    def finish(self) -> float:
        """The peak of all that came, in dBTP; -inf for silence."""
        self.feed(numpy.zeros((HALF - 1, len(self._last)), numpy.float32))
        return decibels(self._peak)


def decibels(amplitude: float) -> float:
    """20 log10; -inf for 0.

    >>> decibels(0.5)
    -6.020599913279624
    """
    return 20 * float(numpy.log10(amplitude)) if amplitude > 0 else -numpy.inf
