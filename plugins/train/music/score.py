"""What a composed clip is made of: notes, parts of one instrument each, and who plays them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One note.

    Attributes:
        start: in beats (quarter notes) from the beginning of the clip.
        length: in beats.
        pitch: MIDI key, 60 is middle C; for drums the drum's key.
        loudness: MIDI velocity, 1 to 127.
    """

    start: float
    length: float
    pitch: int
    loudness: int


@dataclass(frozen=True)
class Part:
    """What one instrument plays.

    Attributes:
        family: a name of ``FAMILIES``, or "drums".
        program: General MIDI program, counted from 0; for drums the kit.
        notes: in the order of their start.
    """

    family: str
    program: int
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Clip:
    """A piece of music and all that is to be known of it.

    Attributes:
        genre: a name of ``GENRES``.
        kind: "solo" (one instrument), "band" (bass, drums, chords, a lead) or "rhythm" (the same
            without a lead).
        prominent: the family that is in front: the solo, the lead, or what plays the chords.
        tempo: beats per minute.
        parts: all that sounds.
        captions: phrasings of what it is; one of them is drawn for every sample.
        timed: whether the tempo can be heard (and is said in some of the captions).
    """

    genre: str
    kind: str
    prominent: str
    tempo: int
    parts: tuple[Part, ...]
    captions: tuple[str, ...]
    timed: bool


@dataclass(frozen=True)
class Family:
    """Instruments that go by one name.

    Attributes:
        programs: General MIDI program (counted from 0) -> what it is called more exactly, or "".
        lowest, highest: MIDI keys between which it leads.
        legato: share of a note's length that sounds.
        level: loudness beside the others, 1 is as loud.
    """

    programs: dict[int, str]
    lowest: int
    highest: int
    legato: float = 0.9
    level: float = 1.0


FAMILIES: dict[str, Family] = {
    "piano": Family({0: "", 1: ""}, 60, 86, 0.9),
    "guitar": Family({24: "acoustic guitar", 25: "acoustic guitar", 27: "electric guitar"}, 52, 78),
    "bass": Family({33: "", 34: ""}, 28, 48, 0.85),
    "strings": Family({48: "", 40: "violin"}, 60, 88, 1.0, 0.95),
    "brass": Family({56: "trumpet", 61: "", 57: "trombone"}, 55, 79, 0.85),
    "saxophone": Family({65: "", 66: ""}, 54, 78, 0.9),
    "flute": Family({73: ""}, 67, 93, 0.9),
    "organ": Family({16: "", 17: ""}, 55, 81, 0.95, 0.85),
    "synth lead": Family({80: "", 81: ""}, 60, 86, 0.8, 0.8),
    "bells": Family({9: "glockenspiel", 11: "vibraphone", 10: "music box"}, 65, 91, 1.0),
}
# General MIDI's drum keys.
DRUMS = {
    "kick": 36,
    "rim": 37,
    "snare": 38,
    "clap": 39,
    "hat": 42,
    "open hat": 46,
    "crash": 49,
    "ride": 51,
    "tambourine": 54,
    "shaker": 70,
    "brush": 38,
}
