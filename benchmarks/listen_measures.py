"""The measures of listen.py: what each figure says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from sdcreative.media.sound_files import read_blocks, sound_info
from sdcreative.sound.beats import mean_tempo, track_beats
from sdcreative.sound.features import RATE, listen

SILENT, FRAME = -60.0, 0.05
"""dBFS under which a frame of so many seconds is silent"""
BESIDE, GRID = 0.5, 0.01
"""seconds before and after a joint whose levels are compared, and to which levels are looked up"""
SAME = 1.04
"""the ratio up to which two tempi are the same"""
NOTES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
# C. Krumhansl, "Cognitive Foundations of Musical Pitch", 1990: how well tones fit into C.
FITTING = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}

Sound = NDArray[numpy.float32]
Chroma = NDArray[numpy.float64]


@dataclass(frozen=True)
class Asked:
    """What a file's settings say of it.

    Attributes:
        tempo: beats per minute, where it is known.
        key: of the beat it began from.
        loop: whether it is one.
        joints: seconds (from, to) in which pictures pass over into the next ones.
        steady: seconds (from, to) between fades.
    """

    tempo: float | None = None
    key: str | None = None
    loop: bool = False
    joints: tuple[tuple[float, float], ...] = ()
    steady: tuple[float, float] = (0.0, math.inf)


def read(path: Path) -> tuple[Sound, int]:
    """Samples (channels, samples) and how many a second."""
    info = sound_info(path)
    return numpy.concatenate(list(read_blocks(path, 0, info.samples))).T, info.rate


def silent_share(samples: Sound, rate: int) -> float:
    """Share of the frames whose RMS is below -60 dBFS."""
    power = _powers(samples, rate, FRAME)
    return float((power < 10 ** (SILENT / 10)).mean())


def clipped(samples: Sound) -> int:
    """Samples at full scale, as 16 bits have it, or above."""
    return int((numpy.abs(samples) >= 32_767 / 32_768).sum())


def _powers(samples: Sound, rate: int, seconds: float) -> NDArray[numpy.float64]:
    """Mean square of frames (frames,) of so many seconds; the last may be shorter."""
    square = numpy.square(samples.astype(numpy.float64)).mean(axis=0)
    length = seconds * rate
    edges = numpy.round(numpy.arange(math.ceil(len(square) / length) + 1) * length).astype(int)
    edges = numpy.unique(edges.clip(0, len(square)))
    return numpy.add.reduceat(square, edges[:-1]) / numpy.diff(edges)


def side_to_mid(samples: Sound) -> float:
    """Energy of half the difference over that of half the sum of both channels, in dB."""
    left, right = samples[:2].astype(numpy.float64)
    mid, side = (float(numpy.square(x / 2).sum()) for x in (left + right, left - right))
    if not side or not mid:
        return math.inf if side else -math.inf
    return 10 * math.log10(side / mid)


def level_jumps(samples: Sound, rate: int, asked: Asked) -> tuple[float, float]:
    """Mean change of level at joints, and over gaps as long elsewhere, in dB; nan without any.

    Levels are those of half a second before and after; what is below -60 dBFS counts as that.
    """
    total = numpy.concatenate(([0.0], numpy.cumsum(_powers(samples, rate, GRID))))
    beside = round(BESIDE / GRID)

    def jump(start: int, end: int) -> float:
        spans = ((start - beside, start), (end, end + beside))
        levels = [max((total[b] - total[a]) / beside, 10 ** (SILENT / 10)) for a, b in spans]
        return abs(10 * math.log10(levels[1] / levels[0]))

    first = round(asked.steady[0] / GRID) + beside
    last = round(min(asked.steady[1], samples.shape[1] / rate) / GRID) - beside
    places = [(round(start / GRID), round(end / GRID)) for start, end in asked.joints]
    inside = [(start, end) for start, end in places if first <= start and end <= last]
    if not inside:
        return math.nan, math.nan
    gap = inside[0][1] - inside[0][0]
    free = [
        jump(at, at + gap)
        for at in range(first, last - gap + 1, 5)
        if all(at + gap + beside <= start or at - beside >= end for start, end in places)
    ]
    elsewhere = float(numpy.mean(free)) if free else math.nan
    return float(numpy.mean([jump(*place) for place in inside])), elsewhere


def heard_tempo(path: Path) -> float:
    """Beats per minute, as films to music have them; 0 where there are none."""
    return mean_tempo(track_beats(listen(path, 0.0, sound_info(path).seconds).accents()))


def against(heard: float, asked: float | None) -> str:
    """The tempo and the one that was asked for."""
    if not heard:
        return "none" if asked is None else f"none of {asked:g}"
    if asked is None:
        return f"{heard:.1f}"
    for factor, word in ((1, ""), (2, ", double"), (0.5, ", half")):
        if abs(math.log(heard / asked / factor)) <= math.log(SAME):
            return f"{heard:.1f} of {asked:g}{word}"
    return f"{heard:.1f} of {asked:g}, another"


def pitch_classes(mono: Sound) -> Chroma:
    """How loud the twelve pitch classes are (12,), C first, of mono (samples,) at ``RATE``."""
    import librosa

    held = librosa.effects.harmonic(mono)
    chroma = librosa.feature.chroma_cqt(y=held, sr=RATE, norm=None, tuning=0.0)
    return chroma.sum(axis=1).astype(numpy.float64)


def strongest(chroma: Chroma) -> str:
    """Up to three pitch classes that are at least half as loud as the loudest."""
    order = numpy.argsort(-chroma)[:3]
    return " ".join(NOTES[i] for i in order if chroma[i] >= chroma[order[0]] / 2 > 0) or "none"


def key_of(chroma: Chroma) -> tuple[str, float]:
    """The key whose tones it has, and its clarity: the correlation with them, 1 at most."""
    if chroma.std() <= 1e-9 * chroma.mean():
        return "none", 0.0
    fits = {
        f"{NOTES[tonic]} {mode}": float(numpy.corrcoef(chroma, numpy.roll(tones, tonic))[0, 1])
        for mode, tones in FITTING.items()
        for tonic in range(12)
    }
    best = max(fits, key=fits.__getitem__)
    return best, fits[best]


def onset_rate(mono: Sound) -> float:
    """Onsets a second, of mono (samples,) at ``RATE``."""
    from librosa.onset import onset_detect

    return len(onset_detect(y=mono, sr=RATE)) / (len(mono) / RATE)


def centroid(mono: Sound) -> float:
    """The mean frequency in Hz, weighted by magnitude, of mono (samples,) at ``RATE``."""
    import librosa

    magnitudes = numpy.abs(librosa.stft(mono)).sum(axis=1)
    whole = float(magnitudes.sum())
    return float((librosa.fft_frequencies(sr=RATE) * magnitudes).sum() / whole) if whole else 0.0
