"""A beat as sound, from which a seed image is made: drums, bass and chords in a key, to the sample.

Everything is counted in beats and placed on the nearest sample, so that the tempo is exact. In a
loop what rings past the end is heard at the beginning.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from functools import partial
from itertools import count, takewhile
from math import floor, isfinite
from typing import TYPE_CHECKING, Literal

from sdcreative import UsageError

from .beat_patterns import BEATS, BeatPattern
from .grid import beat_columns

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

Mode = Literal["major", "minor"]

PATTERNS: dict[str, str] = {name: pattern.description for name, pattern in BEATS.items()}
"""name -> description"""
LONGEST = 3600.0
"""seconds"""
LOWEST_RATE, HIGHEST_RATE = 8000, 192_000

_SCALES: dict[Mode, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
}
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_KEY = re.compile(
    r"(?P<letter>[A-Ga-g])\s*(?P<accidental>[#♯b♭]|-?(?:sharp|flat)(?=\W|$))?"
    r"[\s:]*(?P<mode>M|m|(?i:maj|min|major|minor))?"
)
_ACCIDENTALS = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
# MIDI keys above which the octave lies that the part's chord tones are brought to.
_BASS, _CHORD, _ARPEGGIO = 33, 55, 67
_DRUM_LEVELS = {"X": 1.0, "x": 0.75, "o": 0.4}
_CHORD_TONES = {"R": 0, "3": 1, "5": 2}
# How much louder or softer than written, as players are.
_HUMAN = 0.08
_VARIANTS = 3
# Shares of a beat: notes that are so much longer than nothing are played.
_NOTHING = 1e-6
_LEGATO = 0.95


@dataclass(frozen=True)
class Hit:
    """One sound of a beat.

    Attributes:
        start: in beats from the beginning.
        length: in beats; drums ring as long as they do.
        sound: a name of ``instruments.DRUMS`` or ``instruments.NOTES``.
        pitch: MIDI key, 60 is middle C; None for drums.
        level: 1 is loud.
        variant: which of several strokes, 0 for notes.
    """

    start: float
    length: float
    sound: str
    pitch: int | None
    level: float
    variant: int = 0


def parse_key(text: str, mode: Mode = "major") -> tuple[int, Mode]:
    """Pitch class (0 is C, 11 is B) and mode of a key: "C", "F# minor", "Bbm", "e flat major".

    Capital and small letters are the same but in "M" and "m"; a key that does not say its mode is
    in ``mode``.

    Raises:
        UsageError: no key.

    >>> parse_key("F# minor"), parse_key("Bbm"), parse_key("a")
    ((6, 'minor'), (10, 'minor'), (9, 'major'))
    """
    match = _KEY.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no key; give one such as C, F# minor, Bbm or E flat major")
    said = match["mode"]
    if said:
        mode = "minor" if said == "m" or said.lower().startswith("min") else "major"
    accidental = (match["accidental"] or "").lstrip("-")
    return (_LETTERS[match["letter"].upper()] + _ACCIDENTALS.get(accidental, 0)) % 12, mode


def render_beat(
    pattern: str,
    *,
    tempo: float,
    beats: float,
    sample_rate: int,
    key: str | None = None,
    mode: Mode = "major",
    seed: int = 0,
    loop: bool = True,
) -> NDArray[np.float32]:
    """A beat as samples (samples,), one channel, float32 within [-1, 1], peak at -1 dB.

    Args:
        pattern: a name of ``PATTERNS``.
        tempo: beats per minute, 20 to 400.
        beats: how many; a fraction of a bar is cut off where it is.
        sample_rate: samples per second, 8000 to 192,000.
        key: of bass and chords, as ``parse_key`` takes it. None: drums alone, and C for patterns
            that are nothing without notes.
        mode: "major" or "minor", where ``key`` does not say it.
        seed: of strokes, loudness and the choice among the pattern's chords.
        loop: what rings past the end goes on at the beginning, so that it repeats without a seam.

    Returns:
        exactly round(beats * 60 / tempo * sample_rate) samples; the same for the same arguments.

    Raises:
        UsageError: an argument out of its range, or a pattern or key that there is none of.
    """
    samples = _samples(tempo, beats, sample_rate)
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed {seed}: give a whole number from 0 to {2**63 - 1}")
    played = hits(pattern, beats, key, mode, seed)
    from .playing import mix

    return mix(played, samples, 60 / tempo * sample_rate, sample_rate, seed, loop)


def hits(
    pattern: str, beats: float, key: str | None = None, mode: Mode = "major", seed: int = 0
) -> list[Hit]:
    """What is played, in the order of its start; arguments and errors as in ``render_beat``."""
    if pattern not in BEATS:
        from difflib import get_close_matches

        near = get_close_matches(pattern, BEATS, 1)
        raise UsageError(
            f"pattern {pattern!r}: there is none; "
            + (f"did you mean {near[0]}?" if near else f"give one of {', '.join(BEATS)}")
        )
    form = BEATS[pattern]
    found = list(_drums(form, beats, seed))
    if key is not None or form.pitched:
        found += _notes(form, beats, *parse_key("C" if key is None else key, mode), seed)
    return sorted(found, key=lambda hit: (hit.start, hit.sound, hit.pitch or 0))


def _samples(tempo: float, beats: float, sample_rate: int) -> int:
    beat_columns(tempo, 1)
    if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
        raise UsageError(
            f"sample_rate {sample_rate}: give {LOWEST_RATE} to {HIGHEST_RATE} samples per second"
        )
    seconds = beats * 60 / tempo
    if not (isfinite(beats) and 0 < seconds <= LONGEST):
        raise UsageError(
            f"{beats:g} beats at tempo {tempo:g} take {seconds:g} s; give more than 0, up to "
            f"{LONGEST:g} s"
        )
    samples = round(seconds * sample_rate)
    if samples < 1:
        raise UsageError(f"{beats:g} beats at tempo {tempo:g} are no sample long; give more")
    return samples


def _steps(
    letters: str, form: BeatPattern, beats: float
) -> Iterator[tuple[int, str, float, float]]:
    """Number, letter, start and length (in beats) of every letter that begins something."""

    def start(step: int) -> float:
        return step / form.steps + (form.swing if step % 2 else 0.0)

    for step in takewhile(lambda step: step / form.steps < beats, count()):
        letter = letters[step % len(letters)]
        if letter in ".-" or beats - start(step) < _NOTHING:
            continue
        end = next(s for s in count(step + 1) if letters[s % len(letters)] != "-")
        length = min(start(end), beats) - start(step)
        yield step, letter, start(step), length


def _level(sound: str, step: int, seed: int) -> float:
    """A little louder or softer, the same for the same stroke of the same seed."""
    drawn = zlib.crc32(f"{sound}|{step}|{seed}".encode()) / 2**32
    return 1 + _HUMAN * (2 * drawn - 1)


def _drums(form: BeatPattern, beats: float, seed: int) -> Iterator[Hit]:
    for sound, letters in form.drums.items():
        for step, letter, start, length in _steps(letters, form, beats):
            level = _DRUM_LEVELS[letter] * _level(sound, step, seed)
            yield Hit(start, length, sound, None, level, step % _VARIANTS)


def _notes(form: BeatPattern, beats: float, tonic: int, mode: Mode, seed: int) -> Iterator[Hit]:
    degrees = form.progressions[seed % len(form.progressions)]

    def chord(start: float) -> list[int]:
        """Semitones above C of the chord's tones at a time, from its root upwards."""
        root = degrees[floor(start / form.bar) % len(degrees)]
        above = range(root, root + (8 if form.seventh else 6), 2)
        return [tonic + _SCALES[mode][d % 7] + 12 * (d // 7) for d in above]

    parts = ((form.bass, _bass), (form.chords, _chord), (form.arpeggio, _arpeggio))
    for part, pitches in parts:
        if part is None:
            continue
        sound, letters = part
        for step, letter, start, length in _steps(letters, form, beats):
            # A late step is still in the bar in which it is written.
            tones = chord(step / form.steps)
            play = partial(Hit, start, length * _LEGATO, sound, level=_level(sound, step, seed))
            yield from (play(pitch=pitch) for pitch in pitches(tones, letter))


def _within(tone: int, lowest: int) -> int:
    """The tone in the octave that begins at a MIDI key."""
    return lowest + (tone - lowest) % 12


def _bass(tones: list[int], letter: str) -> list[int]:
    root = _within(tones[0], _BASS)
    if letter == "8":
        return [root + 12]
    return [root + tones[_CHORD_TONES[letter]] - tones[0]]


def _chord(tones: list[int], letter: str) -> list[int]:
    return sorted(_within(tone, _CHORD) for tone in tones)


def _arpeggio(tones: list[int], letter: str) -> list[int]:
    octave, tone = divmod(int(letter) - 1, len(tones))
    return [_within(tones[0], _ARPEGGIO) + tones[tone] - tones[0] + 12 * octave]
