"""Melodies: a motif of rhythm and steps, varied from bar to bar, on the tones of the chords."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .accompany import STEP, Chord, late
from .genres import Genre
from .score import Family, Note

LEAPS = np.array([-3, -2, -1, 0, 1, 2, 3, 4])
LEAP_CHANCES = np.array([0.05, 0.15, 0.27, 0.06, 0.27, 0.13, 0.05, 0.02])


def play_lead(
    genre: Genre,
    family: Family,
    key: int,
    chords: Sequence[Chord],
    busy: float,
    rng: np.random.Generator,
) -> tuple[Note, ...]:
    """A melody over the chords.

    Args:
        genre: gives rhythms, scale and swing.
        family: gives the range.
        key: pitch class of the key's root.
        chords: one a bar.
        busy: density: share of the notes of a rhythm that are played, in [0, 1].
        rng: the only source of randomness.
    """
    motifs = [_motif(genre, busy, rng) for _ in range(2)]
    order = (0, 0, 1, 0) if rng.random() < 0.6 else (0, 1, 0, 1)
    scale = _pitches(key, genre.scale, family)
    place = len(scale) // 2 + int(rng.integers(-2, 3))
    notes = []
    for bar, chord in enumerate(chords):
        for step, held, leap in motifs[order[bar % 4]]:
            place = _inside(place + leap, len(scale))
            pitch = scale[place]
            if step % 8 == 0:
                pitch = _nearest_chord_tone(pitch, chord, family)
                place = int(np.abs(np.array(scale) - pitch).argmin())
            start = bar * genre.beats + step * STEP + late(genre, step)
            end = bar * genre.beats + (step + held) * STEP + late(genre, step + held)
            loudness = int(np.clip(106 + rng.integers(-8, 9) + 6 * (step % 4 == 0), 1, 127))
            notes.append(Note(start, (end - start) * family.legato, pitch, loudness))
    return tuple(notes)


def _motif(genre: Genre, busy: float, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """(letter, letters that it lasts, steps along the scale) of each note in a bar."""
    row = genre.lead[int(rng.integers(len(genre.lead)))]
    struck = [
        step
        for step, letter in enumerate(row)
        if letter == "X" or (letter == "x" and rng.random() < busy)
    ]
    struck = struck or [row.index("x")]
    leaps = rng.choice(LEAPS, size=len(struck), p=LEAP_CHANCES)
    motif = []
    for number, step in enumerate(struck):
        following = struck[number + 1] if number + 1 < len(struck) else len(row)
        held = row[step + 1 : following]
        length = 1 + len(held) - len(held.lstrip("-"))
        if length == 1:
            length = min(following - step, 2 if step % 2 == 0 else 1)
        motif.append((step, length, int(leaps[number])))
    return motif


def _pitches(key: int, scale: Sequence[int], family: Family) -> list[int]:
    allowed = {(key + tone) % 12 for tone in scale}
    return [p for p in range(family.lowest, family.highest + 1) if p % 12 in allowed]


def _inside(place: int, count: int) -> int:
    """Turned back at the ends of the range."""
    if place < 0:
        place = -place
    if place >= count:
        place = 2 * count - 2 - place
    return min(max(place, 0), count - 1)


def _nearest_chord_tone(pitch: int, chord: Chord, family: Family) -> int:
    root, tones = chord
    wanted = {(root + tone) % 12 for tone in tones}
    near = [p for p in range(pitch - 3, pitch + 4) if p % 12 in wanted]
    inside = [p for p in near if family.lowest <= p <= family.highest]
    return min(inside, key=lambda p: (abs(p - pitch), p)) if inside else pitch
