"""A sound as a film hears it: for every frame, what begins, what is beaten, and how loud it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from math import floor, inf, isfinite
from pathlib import Path
from typing import Literal

import numpy

from ..core.timeline import MAX_FRAMES
from ..errors import UsageError
from ..media.sound_files import sound_info
from .beats import find_phase, mean_tempo, track_beats
from .features import Curve, Curves, listen, per_frame
from .settings import Audio, Drive

__all__ = ["Audio", "Heard", "hear", "sound_seconds"]

BEATS_PER_BAR = 4
# Heard beside the film, so that the tempo of a short piece is known too.
_CONTEXT = 15.0
# What is weaker than a tenth of the strongest is not what "strong" is measured by.
_NOTABLE = 0.1
_STRONG = 95
# A band 30 dB below the whole, and what is 80 dB below full scale, stays dark.
_WEAK_BAND = 0.03
_SILENCE = 1e-4
_HALF_LIFE = 0.1
# Share of a strong onset that steady noise makes.
_FLOOR = 0.05


@dataclass(frozen=True)
class Heard:
    """What is heard in a film.

    Attributes:
        fps: frames per second.
        tempo: beats per minute; 0 where no beat was found.
        beats: seconds from the film's start; the first is beat 1.
        onset: for every frame, how much begins there, in [0, 1].
        beat: 1 on the frame of a beat, halved every tenth of a second after it.
        bass: how loud it is below 200 Hz, in [0, 1].
        mid: the same between 200 and 2000 Hz.
        treble: the same above 2000 Hz.
        loudness: the same for all together.
        pull: share of the movement that follows the sound, in [0, 1].
        beats_per_bar: how many beats make a bar.
    """

    fps: float
    tempo: float
    beats: tuple[float, ...]
    onset: tuple[float, ...]
    beat: tuple[float, ...]
    bass: tuple[float, ...]
    mid: tuple[float, ...]
    treble: tuple[float, ...]
    loudness: tuple[float, ...]
    pull: float = 0.9
    beats_per_bar: int = BEATS_PER_BAR

    def energy(self, drive: Drive) -> tuple[float, ...]:
        """How much a film moves up to every frame, as ``positions`` takes it.

        ``pull`` of the whole follows what drives it; the rest is spread evenly.
        """
        if drive == "none":
            return (1.0,) * len(self.onset)
        feature: tuple[float, ...] = getattr(self, drive)
        even = (1 - self.pull) * sum(feature) / len(feature)
        return tuple(even + self.pull * value for value in feature)

    def at(self, frame: int) -> dict[str, float]:
        """The names in expressions; all are 0 after the film."""
        names = ("onset", "beat", "bass", "mid", "treble", "loudness")
        if not 0 <= frame < len(self.onset):
            return dict.fromkeys(names, 0.0)
        return {name: getattr(self, name)[frame] for name in names}

    def beat_time(self, number: float, what: Literal["beat", "bar"] = "beat") -> float:
        """Seconds from the film's start of a beat or bar; both begin with 1.

        Fractions lie between two; after the last beat it goes on at the tempo.

        Raises:
            UsageError: a number below 1 or without end, or no beat was found.
        """
        if not 1 <= number < inf:
            raise UsageError(f"there is no {what} {number:g}; the first is 1")
        if not self.beats:
            raise UsageError(f"no {what} was found; give 'bpm' and 'first_beat' in 'audio'")
        index = (number - 1) * (self.beats_per_bar if what == "bar" else 1)
        if index == 0:
            return self.beats[0]
        last = len(self.beats) - 1
        if index >= last:
            if not self.tempo:
                raise UsageError(f"one beat was found, and no tempo for {what} {number:g}; "
                                 "give 'bpm' in 'audio'")  # fmt: skip
            return self.beats[last] + (index - last) * 60 / self.tempo
        before = floor(index)
        step = self.beats[before + 1] - self.beats[before]
        return self.beats[before] + (index - before) * step


def sound_seconds(audio: Audio) -> float:
    """What is left of the file from ``start`` on.

    Raises:
        DataError: no sound file, or one that is over by then.
    """
    return sound_info(_path(audio), audio.start).seconds - audio.start


def hear(audio: Audio, fps: float, frames: int) -> Heard:
    """Listen to what a film is heard with.

    The file is read block by block, from a little before the film to a little after it. What was
    heard once is remembered until the file changes.

    Args:
        audio: the file, and where the film begins in it.
        fps: frames per second of the film, more than 0.
        frames: number of its frames, 1 to 3,000,000.

    Raises:
        DataError: no sound file, one that is over where the film begins, that does not decode, or
            has samples that are no numbers.
        UsageError: fps or frames outside their range.
    """
    if not (isfinite(fps) and fps > 0):
        raise UsageError(f"fps is {fps}; give a number above 0")
    if not 1 <= frames <= MAX_FRAMES:
        raise UsageError(f"{frames} frames; give 1 to {MAX_FRAMES:,}")
    sound_info(_path(audio), audio.start)
    state = _path(audio).stat()
    return _hear(audio, fps, frames, _path(audio).resolve(), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _hear(audio: Audio, fps: float, frames: int, path: Path, _changed: int, _size: int) -> Heard:
    length = frames / fps
    begin = max(0.0, audio.start - _CONTEXT)
    curves = listen(path, begin, audio.start + length + _CONTEXT)
    start = audio.start - begin
    beats, tempo = _beats(audio, curves, start, length, fps)

    def amplitude(curve: Curve) -> Curve:
        return numpy.sqrt(per_frame(curve, start, fps, frames))

    loudness = amplitude(curves.loudness)
    weak = max(_SILENCE, _WEAK_BAND * float(loudness.max()))
    return Heard(
        fps=fps,
        tempo=tempo,
        beats=tuple(beats),
        onset=_scaled(per_frame(curves.onset, start, fps, frames), floor=_FLOOR),
        beat=_pulses(beats, fps, frames),
        bass=_scaled(amplitude(curves.bass), weak),
        mid=_scaled(amplitude(curves.mid), weak),
        treble=_scaled(amplitude(curves.treble), weak),
        loudness=_scaled(loudness, _SILENCE),
        pull=audio.pull,
        beats_per_bar=audio.beats_per_bar or BEATS_PER_BAR,
    )


def _path(audio: Audio) -> Path:
    return Path(audio.path).expanduser()


def _beats(
    audio: Audio, curves: Curves, start: float, length: float, fps: float
) -> tuple[list[float], float]:
    """The film's beats in seconds from its start, and the tempo."""
    if audio.bpm is not None:
        first = audio.first_beat
        if first is None:
            first = find_phase(curves.accents(), start, start + length, audio.bpm)
        return list(takewhile(lambda time: time < length, _grid(first, audio.bpm))), audio.bpm
    tracked = [time - start for time in track_beats(curves.accents())]
    tempo = mean_tempo(tracked)
    # What rounds to frame 0 is on it; and beat 1 is the one nearest to where it should be.
    earliest = -0.5 / fps
    if audio.first_beat is not None:
        earliest = max(earliest, audio.first_beat - (30 / tempo if tempo else 0.0))
    return [max(0.0, time) for time in tracked if earliest <= time < length], tempo


def _grid(first: float, bpm: float) -> Iterator[float]:
    number = 0
    while True:
        yield first + number * 60 / bpm
        number += 1


def _pulses(beats: list[float], fps: float, frames: int) -> tuple[float, ...]:
    """1 on the frame nearest to each beat, halved every ``_HALF_LIFE`` seconds up to the next."""
    starts = {floor(beat * fps + 0.5) for beat in beats}
    decay = 0.5 ** (1 / (fps * _HALF_LIFE))
    value = 0.0
    pulses = []
    for frame in range(frames):
        value = 1.0 if frame in starts else value * decay
        pulses.append(value)
    return tuple(pulses)


def _scaled(values: Curve, least: float = 0.0, floor: float = 0.0) -> tuple[float, ...]:
    """In [0, 1]: divided by what is strong here, or ``least`` if that is more, and cut at 1.

    Strong is the 95th percentile of all that are not weak, so that neither long silence nor a
    single crack counts. ``floor`` of it is taken for nothing.
    """
    top = float(values.max())
    if top <= 0:
        return (0.0,) * len(values)
    strong = float(numpy.percentile(values[values > _NOTABLE * top], _STRONG))
    scaled = (values / max(strong, least) - floor) / (1 - floor)
    return tuple(float(value) for value in numpy.clip(scaled, 0.0, 1.0))
