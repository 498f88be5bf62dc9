"""Drums, bass and chords: the letters of a genre, read into notes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .genres import CHORDS, Genre
from .score import DRUMS, Note

STEP = 0.25
"""beats in a letter"""
LOUDNESS = {"X": 118, "x": 96, "o": 58, "?": 50}
SOFT_CHANCE = 0.4

Chord = tuple[int, tuple[int, ...]]
"""pitch class of the root, and the semitones above it"""


def late(genre: Genre, step: int) -> float:
    """Beats by which the swing of a genre delays a letter."""
    if step % 4 == 2:
        return genre.swing
    return genre.shuffle if step % 2 else 0.0


def letters(genre: Genre) -> int:
    """Letters in a bar."""
    return genre.beats * 4


def chords_of(genre: Genre, key: int, bars: int, rng: np.random.Generator) -> list[Chord]:
    """One chord a bar, from a progression drawn at random and repeated."""
    progression = genre.progressions[int(rng.integers(len(genre.progressions)))]
    row = [progression[i % len(progression)] for i in range(bars)]
    return [((key + root) % 12, CHORDS[kind]) for root, kind in row]


def play_drums(genre: Genre, bars: int, rng: np.random.Generator) -> tuple[Note, ...]:
    """One pattern throughout; soft strokes come and go, and a crash may open."""
    pattern = genre.drums[int(rng.integers(len(genre.drums)))]
    notes = []
    if rng.random() < 0.2:
        notes.append(Note(0.0, 1.0, DRUMS["crash"], 96))
    for bar in range(bars):
        for drum, row in pattern.items():
            for step, letter in enumerate(row):
                if letter == "." or (letter == "?" and rng.random() > SOFT_CHANCE):
                    continue
                start = bar * genre.beats + step * STEP + late(genre, step)
                notes.append(Note(start, STEP, DRUMS[drum], _varied(LOUDNESS[letter], rng)))
    return _in_order(notes)


def play_bass(
    genre: Genre, chords: Sequence[Chord], rng: np.random.Generator, lowest: int = 28
) -> tuple[Note, ...]:
    """One or two patterns in turn, on the roots of the chords."""
    rows = [genre.bass[int(rng.integers(len(genre.bass)))] for _ in range(2)]
    if rng.random() < 0.5:
        rows[1] = rows[0]
    notes = []
    for bar, (root, tones) in enumerate(chords):
        low = lowest + (root - lowest) % 12
        following = chords[(bar + 1) % len(chords)][0]
        approach = lowest + (following - lowest) % 12 - 1
        third = min(tones, key=lambda t: abs(t - 3.5))
        fifth = next((t for t in tones if t in (6, 7)), 7)
        pitch_of = {"R": low, "3": low + third, "5": low + fifth, "7": low + 10, "8": low + 12}
        pitch_of["a"] = approach if approach >= lowest else approach + 12
        for step, letter, held in _held(rows[bar % 2]):
            start = bar * genre.beats + step * STEP + late(genre, step)
            loudness = 108 if step == 0 else 98
            notes.append(Note(start, held * STEP, pitch_of[letter], _varied(loudness, rng)))
    return _in_order(notes)


def play_chords(
    genre: Genre, chords: Sequence[Chord], rng: np.random.Generator, lowest: int = 52
) -> tuple[Note, ...]:
    """One pattern throughout, with the voices of each chord close to those before."""
    row = genre.chords[int(rng.integers(len(genre.chords)))]
    notes = []
    for bar, (root, tones) in enumerate(chords):
        voices = sorted(lowest + (root + tone - lowest) % 12 for tone in tones)
        for step, letter, held in _held(row):
            start = bar * genre.beats + step * STEP + late(genre, step)
            sounding = voices
            if letter.isdigit():
                number = int(letter) - 1
                sounding = [voices[number % len(voices)] + 12 * (number // len(voices))]
            elif letter == "b":
                sounding = [voices[0] - 12]
            length = held * STEP * (0.6 if letter == "C" and held == 1 else 1.0)
            notes += [Note(start, length, pitch, _varied(84, rng)) for pitch in sounding]
    return _in_order(notes)


def _held(row: str) -> list[tuple[int, str, int]]:
    """(place, letter, letters that it lasts) of every letter that begins something."""
    found = []
    for step, letter in enumerate(row):
        if letter in ".-":
            continue
        rest = row[step + 1 :]
        found.append((step, letter, 1 + len(rest) - len(rest.lstrip("-"))))
    return found


def _varied(loudness: int, rng: np.random.Generator) -> int:
    return int(np.clip(loudness + rng.integers(-6, 7), 1, 127))


def _in_order(notes: list[Note]) -> tuple[Note, ...]:
    return tuple(sorted(notes, key=lambda note: (note.start, note.pitch)))
