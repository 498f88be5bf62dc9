"""Clips from numbers: the same number is the same clip, whatever was composed before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .accompany import Chord, chords_of, play_bass, play_chords, play_drums
from .captions import describe_band, describe_rhythm, describe_solo
from .genres import GENRES, Genre
from .lead import play_lead
from .score import FAMILIES, Clip, Part

VERSION = 1
"""raised when a number no longer is the clip that it was"""
KINDS = {"solo": 0.34, "band": 0.46, "rhythm": 0.2}
# Twice: bass and drums are in front nowhere else.
SOLOISTS = (*FAMILIES, "bass", "drums", "drums")
LEADERS = tuple(name for name in FAMILIES if name != "bass")
# Of the same loudness a lead would drown in what is played with it.
BACKGROUND = 0.62


def compose_clip(number: int, seed: int, seconds: float) -> Clip:
    """Compose one clip, which begins with a bar.

    Args:
        number: which of the clips, from 0.
        seed: which series of them.
        seconds: that the notes fill; those of the last bar may begin later.
    """
    rng = np.random.default_rng([seed, number])
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    name = str(rng.choice(list(GENRES)))
    genre = GENRES[name]
    tempo = int(rng.integers(genre.tempi[0], genre.tempi[1] + 1))
    key = int(rng.integers(12))
    bars = math.ceil(seconds * tempo / 60 / genre.beats)
    chords = chords_of(genre, key, bars, rng)
    busy = float(rng.uniform(0.35, 1.0))
    band = _Band(name, genre, tempo, key, bars, chords, busy, rng)
    return {"solo": band.solo, "band": band.band, "rhythm": band.rhythm}[kind]()


class _Band:
    """Who plays in a clip; a method for each kind."""

    def __init__(
        self,
        name: str,
        genre: Genre,
        tempo: int,
        key: int,
        bars: int,
        chords: list[Chord],
        busy: float,
        rng: np.random.Generator,
    ) -> None:
        self.name, self.genre, self.tempo, self.key = name, genre, tempo, key
        self.bars, self.chords, self.busy, self.rng = bars, chords, busy, rng
        self.said_tempo = tempo if genre.timed else None

    def solo(self) -> Clip:
        able = SOLOISTS if self.genre.drums else tuple(n for n in SOLOISTS if n != "drums")
        family = self._pick(able)
        if family == "drums":
            parts = (self._drums(),)
        elif family == "bass":
            parts = (self._bass(),)
        elif family in self.genre.players and self.rng.random() < 0.35:
            parts = (self._chords(family, level=1.0), self._lead(family, self.genre))
        else:
            parts = (self._lead(family, self.genre),)
        exact = FAMILIES[family].programs.get(parts[-1].program, "") if family != "drums" else ""
        captions = describe_solo(self.name, self.genre.adjective, family, exact, self.said_tempo)
        return self._clip("solo", family, parts, captions)

    def band(self) -> Clip:
        """The lead may play in another genre's manner, which its caption then says."""
        lead, player = self._pick(LEADERS), self._pick(self.genre.players)
        adjective, manner = self.genre.adjective, self.genre
        if self.genre.drums and self.genre.beats == 4 and self.rng.random() < 0.15:
            manner = GENRES[self._pick(("funk", "jazz"))]
            adjective = manner.adjective
        parts = (*self._rhythm(player), self._lead(lead, manner))
        exact = FAMILIES[lead].programs.get(parts[-1].program, "")
        captions = describe_band(
            self.name, adjective, lead, exact, player, bool(self.genre.drums), self.said_tempo
        )
        return self._clip("band", lead, parts, captions)

    def rhythm(self) -> Clip:
        player = self._pick(self.genre.players)
        captions = describe_rhythm(self.name, player, bool(self.genre.drums), self.said_tempo)
        return self._clip("rhythm", player, self._rhythm(player, level=1.0), captions)

    def _clip(
        self, kind: str, prominent: str, parts: tuple[Part, ...], captions: tuple[str, ...]
    ) -> Clip:
        timed = self.genre.timed
        return Clip(self.name, kind, prominent, self.tempo, parts, captions, timed)

    def _rhythm(self, player: str, level: float = BACKGROUND) -> tuple[Part, ...]:
        drums = (self._drums(0.8),) if self.genre.drums else ()
        return (*drums, self._bass(0.85), self._chords(player, level))

    def _drums(self, level: float = 1.0) -> Part:
        notes = play_drums(self.genre, self.bars, self.rng)
        return _levelled(Part("drums", self.genre.kit, notes), level)

    def _bass(self, level: float = 1.0) -> Part:
        program = self._pick(self.genre.bass_programs)
        return _levelled(Part("bass", program, play_bass(self.genre, self.chords, self.rng)), level)

    def _chords(self, family: str, level: float) -> Part:
        notes = play_chords(self.genre, self.chords, self.rng)
        return _levelled(Part(family, self._program(family, self.genre), notes), level)

    def _lead(self, family: str, manner: Genre) -> Part:
        player = FAMILIES[family]
        notes = play_lead(manner, player, self.key, self.chords, self.busy, self.rng)
        return _levelled(Part(family, self._program(family, self.genre), notes), player.level)

    def _program(self, family: str, genre: Genre) -> int:
        usual = dict(genre.programs)
        if family in usual and self.rng.random() < 0.7:
            return usual[family]
        return self._pick(tuple(FAMILIES[family].programs))

    def _pick(self, choices: tuple[Any, ...]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]


def _levelled(part: Part, level: float) -> Part:
    """Quieter: MIDI's loudness goes with the square of the velocity."""
    share = level**0.5
    notes = tuple(
        type(note)(note.start, note.length, note.pitch, max(1, round(note.loudness * share)))
        for note in part.notes
    )
    return Part(part.family, part.program, notes)
