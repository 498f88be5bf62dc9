"""What can be heard in a piece of a sound file, as curves over time.

Onset strength is the spectral flux of librosa: the mean rise of the mel bands in decibels (S. Böck
and G. Widmer, "Maximum filter vibrato suppression for onset detection", DAFx 2013, without the
filter). Bands are split by Butterworth filters of 8th order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from ..media.sound_files import read_blocks, resampled, sound_info

RATE = 22_050
HOP = 64
CURVE_RATE = RATE / HOP
"""values per second of every curve"""
CROSSOVERS = (200.0, 2000.0)
"""Hz between bass and mid, and between mid and treble"""

_ORDER = 8
_WINDOW = 512
_MEL_BANDS = 32
# Power of the quietest thing that counts: about 70 dB below full scale.
_QUIET = 1e-5
# What rises all the time, as noise does, is no onset: so many medians over a second are taken off.
_MEDIANS = 3.0
_SECONDS_OF_MEDIAN = 1.0
# Onsets are as strong as they are loud so many seconds from there.
_SECONDS_OF_ACCENT = 0.04

Curve = NDArray[numpy.float64]


@dataclass(frozen=True, eq=False)
class Curves:
    """A piece of sound, in slices of ``HOP`` samples at ``RATE``, all curves of one length.

    Attributes:
        onset: strength of what begins in a slice, at least 0.
        bass: mean square below 200 Hz.
        mid: mean square between 200 and 2000 Hz.
        treble: mean square above 2000 Hz.
        loudness: mean square of all.
    """

    onset: Curve
    bass: Curve
    mid: Curve
    treble: Curve
    loudness: Curve

    def accents(self) -> Curve:
        """Onset strength, louder ones counted for more: what beats are looked for in."""
        ahead = round(_SECONDS_OF_ACCENT * CURVE_RATE)
        total = numpy.concatenate(([0.0], numpy.cumsum(self.loudness)))
        at = numpy.arange(len(self.loudness))
        power = (total[numpy.minimum(at + ahead, len(at))] - total[at]) / ahead
        accents: Curve = self.onset * numpy.sqrt(numpy.sqrt(numpy.maximum(power, 0.0)))
        return accents


def listen(path: Path | str, start: float, end: float) -> Curves:
    """The curves of a file between two times in seconds, or up to where it ends.

    Raises:
        DataError: no sound file, or one that does not decode.
    """
    from scipy.ndimage import median_filter
    from scipy.signal import butter, sosfilt

    low, high = CROSSOVERS
    edges: list[tuple[Any, str]] = [(low, "low"), ((low, high), "band"), (high, "high")]
    filters = [butter(_ORDER, edge, kind, fs=RATE, output="sos") for edge, kind in edges]
    states = [numpy.zeros((len(sections), 2)) for sections in filters]
    flux = _Flux()
    onsets: list[Curve] = []
    powers: list[Curve] = []
    for samples in _slices(_mono(path, start, end)):
        parts = [samples]
        for index, sections in enumerate(filters):
            part, states[index] = sosfilt(sections, samples, zi=states[index])
            parts.append(part)
        squares = numpy.square(numpy.stack(parts).astype(numpy.float64))
        powers.append(squares.reshape(len(parts), -1, HOP).mean(axis=2))
        onsets.append(flux.rise(samples))
    onset = numpy.concatenate(onsets)
    steady = median_filter(onset, size=round(_SECONDS_OF_MEDIAN * CURVE_RATE), mode="nearest")
    loudness, bass, mid, treble = numpy.concatenate(powers, axis=1)
    gathered = _gathered(numpy.maximum(onset - _MEDIANS * steady, 0.0))
    # Most of a rise is seen one slice after it has begun; measured with clicks, bursts and notes.
    prompt = numpy.append(gathered[1:], 0.0)
    return Curves(prompt, bass, mid, treble, loudness)


def _gathered(curve: Curve) -> Curve:
    """Each hill of a curve, from dip to dip, brought to its peak: an onset has one time."""
    rises = numpy.diff(curve, prepend=curve[:1]) > 0
    # A hill begins with the first slice that rises after one that did not.
    dips = rises & ~numpy.concatenate(([False], rises[:-1]))
    hills = numpy.cumsum(dips)
    order = numpy.lexsort((-curve, hills))
    peaks = order[numpy.searchsorted(hills[order], numpy.arange(hills[-1] + 1))]
    gathered = numpy.zeros_like(curve)
    gathered[peaks] = numpy.bincount(hills, curve)
    return gathered


def per_frame(curve: Curve, start: float, fps: float, frames: int) -> Curve:
    """The mean of a curve over every frame of a film; 0 before and after the curve.

    A frame has what is within half a frame of its time, so that an event at a time T belongs to
    frame round(T * fps).

    Args:
        curve: as ``listen`` gives it.
        start: seconds into it at which the film begins.
        fps: frames per second.
        frames: number of frames.
    """
    edges = (start + (numpy.arange(frames + 1) - 0.5) / fps) * CURVE_RATE
    total = numpy.concatenate(([0.0], numpy.cumsum(curve)))
    up_to = numpy.interp(edges, numpy.arange(len(total)), total)
    means: Curve = numpy.maximum(numpy.diff(up_to), 0.0) * fps / CURVE_RATE
    return means


def _mono(path: Path | str, start: float, end: float) -> Iterator[NDArray[numpy.float32]]:
    """One channel at ``RATE``, block by block."""
    info = sound_info(path, start)
    first = round(start * info.rate)
    blocks = read_blocks(path, first, ceil(end * info.rate) - first)
    mixed = (block.mean(axis=1, keepdims=True) for block in blocks)
    for block in resampled(mixed, 1, info.rate, RATE):
        yield block[:, 0]


def _slices(blocks: Iterator[NDArray[numpy.float32]]) -> Iterator[NDArray[numpy.float32]]:
    """The same samples in blocks of a multiple of ``HOP``; the last filled up with zeros."""
    rest = numpy.empty(0, numpy.float32)
    for block in blocks:
        rest = numpy.concatenate((rest, block))
        whole = len(rest) // HOP * HOP
        if whole:
            yield rest[:whole]
            rest = rest[whole:]
    yield numpy.pad(rest, (0, HOP - len(rest)))


class _Flux:
    """Onset strength, going on from block to block."""

    def __init__(self) -> None:
        from librosa.filters import mel

        self._bands = mel(sr=RATE, n_fft=_WINDOW, n_mels=_MEL_BANDS)
        # Silence before the first sample, so that what begins at once is an onset too.
        self._before = numpy.zeros(_WINDOW, numpy.float32)

    def rise(self, samples: NDArray[numpy.float32]) -> Curve:
        """One value for each slice of ``HOP`` samples: what rises as it enters the window.

        A window that ends with the slice is compared with the one before. No centring, hence no
        delay: what begins in a slice is first seen there.
        """
        import librosa
        from librosa.onset import onset_strength

        heard = numpy.concatenate((self._before, samples))
        self._before = heard[-_WINDOW:]
        spectrum = librosa.stft(heard, n_fft=_WINDOW, hop_length=HOP, center=False)
        bands = numpy.tensordot(self._bands, numpy.square(numpy.abs(spectrum)), axes=1)
        levels = librosa.power_to_db(bands, ref=1.0, amin=_QUIET, top_db=None)
        strength = onset_strength(S=levels, sr=RATE, hop_length=HOP, center=False)
        return numpy.asarray(strength[1:], dtype=numpy.float64)
