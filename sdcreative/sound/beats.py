"""Where the beats of a piece are: tracked, or on a grid of a known tempo."""

from __future__ import annotations

from math import ceil

import numpy

from .features import CURVE_RATE, HOP, RATE, Curve

SLOWEST, FASTEST, USUAL = 50.0, 210.0, 115.0
"""beats per minute that are looked for"""

_TEMPOS = 800
_SECONDS_PER_TEMPO = 60.0
# A tempo also shows after 2, 4 and 8 beats; three halves of it do not.
_MULTIPLES = (1, 2, 4, 8)
_OCTAVES, _NEAR_OCTAVES = 1.0, 0.3
# Players are that much, in seconds, before or after a beat.
_LOOSE = 0.02
# A beat at an end of the piece counts if something a fifth as strong as usual is there.
_FAINT = 0.2


def track_beats(onset: Curve) -> list[float]:
    """Times of the beats in a piece, in seconds.

    librosa's tracker (D. Ellis, "Beat tracking by dynamic programming", Journal of New Music
    Research 36, 2007), with a tempo for each minute.

    Args:
        onset: accents, as ``Curves`` has them.
    """
    from librosa.beat import beat_track

    if not onset.any():
        return []
    tempos = _tempos(onset)
    bpm = numpy.repeat(tempos, ceil(_SECONDS_PER_TEMPO * CURVE_RATE))[: len(onset)]
    # The tracker wants a beat before each, unless there is none within two of them.
    lead = ceil(2 * 60 / SLOWEST * CURVE_RATE) + 1
    _, found = beat_track(
        onset_envelope=numpy.pad(onset, (lead, 0)),
        sr=RATE,
        hop_length=HOP,
        bpm=numpy.pad(bpm, (lead, 0), "edge") if len(tempos) > 1 else tempos,
        units="frames",
        trim=False,
    )
    found = numpy.asarray(found) - lead
    beats = _heard(found[found >= 0], onset)
    return [float(time) for time in (beats + 0.5) / CURVE_RATE]


def mean_tempo(beats: list[float]) -> float:
    """Beats per minute; 0 for fewer than two beats. Gaps in the tracking do not count."""
    if len(beats) < 2:
        return 0.0
    steps = numpy.diff(beats)
    usual = float(numpy.median(steps))
    return float(60 / steps[abs(steps - usual) <= 0.2 * usual].mean())


def find_phase(onset: Curve, start: float, end: float, bpm: float) -> float:
    """Seconds from ``start`` to the first beat of a known tempo, less than a beat.

    The grid is laid where most begins on it.

    Args:
        onset: accents, as ``Curves`` has them.
        start: seconds into it from which the grid runs.
        end: up to where.
        bpm: beats per minute.
    """
    times = (numpy.arange(len(onset)) + 0.5) / CURVE_RATE
    smooth = _smoothed(onset)
    period = 60 / bpm
    phases = numpy.arange(0.0, period, 1 / CURVE_RATE)
    scores = numpy.zeros(len(phases))
    for beat in range(ceil((end - start) / period)):
        scores += numpy.interp(start + phases + beat * period, times, smooth, left=0, right=0)
    return float(phases[int(scores.argmax())])


def _tempos(onset: Curve) -> Curve:
    """Beats per minute for every minute of a piece."""
    smooth = _smoothed(onset)
    each = ceil(_SECONDS_PER_TEMPO * CURVE_RATE)
    pieces = [smooth[at : at + each] for at in range(0, len(smooth), each)]
    whole = float(numpy.median([_tempo(piece, USUAL, _OCTAVES) for piece in pieces]))
    if len(pieces) == 1:
        return numpy.array([whole])
    # One minute is not at twice the tempo of the others.
    return numpy.array([_tempo(piece, whole, _NEAR_OCTAVES) for piece in pieces])


def _tempo(smooth: Curve, usual: float, octaves: float) -> float:
    """The tempo after whose beats a piece is most like itself, sooner a usual one.

    Autocorrelation with a log-normal weight, as Ellis has it (above, section 3.2), summed over
    several beats.

    Args:
        smooth: onset strength.
        usual: the most likely tempo, in beats per minute.
        octaves: standard deviation of the weight, in factors of two.
    """
    bpm = numpy.geomspace(SLOWEST, FASTEST, _TEMPOS)
    weight = numpy.exp(-0.5 * (numpy.log2(bpm / usual) / octaves) ** 2)
    changing = smooth - smooth.mean()
    count = len(changing)
    alike = numpy.fft.irfft(numpy.abs(numpy.fft.rfft(changing, 2 * count)) ** 2)[:count]
    lags = numpy.arange(count)
    # Fewer and fewer samples overlap; lags of a few are left to fade.
    alike *= count / numpy.maximum(count - lags, count // 4 + 1)
    beat = 60 * CURVE_RATE / bpm
    score = sum(numpy.interp(many * beat, lags, alike, right=0.0) for many in _MULTIPLES)
    return float(bpm[int(numpy.argmax(score * weight))])


def _smoothed(onset: Curve) -> Curve:
    reach = ceil(4 * _LOOSE * CURVE_RATE)
    bell = numpy.exp(-0.5 * (numpy.arange(-reach, reach + 1) / (_LOOSE * CURVE_RATE)) ** 2)
    # "same" would be as long as the longer of both.
    return numpy.convolve(onset, bell)[reach : reach + len(onset)]


def _heard(beats: Curve, onset: Curve) -> Curve:
    """The beats without those before the first and after the last that can be heard."""
    strength = _smoothed(onset)[beats]
    loud = numpy.flatnonzero(strength >= _FAINT * numpy.median(strength)) if len(beats) else beats
    return beats[loud[0] : loud[-1] + 1] if len(loud) else beats[:0]
