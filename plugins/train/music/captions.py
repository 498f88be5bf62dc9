"""What a composed clip is called: several phrasings, all of them true."""

from __future__ import annotations

from collections.abc import Sequence

SLOW, FAST = 88, 132
"""beats per minute up to which music is called slow, and from which it is called fast"""
WORDS = {"techno": "beat", "house": "beat", "hip hop": "beat", "reggae": "rhythm", "waltz": "waltz"}


def describe_solo(
    genre: str, adjective: str, family: str, exact: str, tempo: int | None
) -> tuple[str, ...]:
    """Captions of one instrument alone.

    Args:
        genre: in whose manner it plays.
        adjective: of the genre, or "".
        family: the instrument.
        exact: its more exact name, or "".
        tempo: beats per minute, or None where no beat can be heard.
    """
    name = "bass line" if family == "bass" else family
    solo = "drum solo" if family == "drums" else name if family == "bass" else f"{family} solo"
    manner = adjective or genre
    found = [
        family,
        f"{_a(solo)} {solo}",
        f"{_a(solo)} {solo}",
        f"{_a(manner)} {manner} {solo}",
        f"{_a(genre)} {genre} {solo}",
        f"{solo}, {genre}",
        f"{family}, {genre}",
    ]
    if family == "drums":
        found += [f"{_a(genre)} {genre} drum beat", f"{genre} drums"]
    elif exact:
        found += [f"{_a(exact)} {exact} solo", exact, f"{exact}, {genre}"]
    return _with_tempo(found, tempo)


def describe_band(
    genre: str,
    adjective: str,
    lead: str,
    exact: str,
    chords: str,
    drums: bool,
    tempo: int | None,
) -> tuple[str, ...]:
    """Captions of a band with a lead.

    Args:
        genre: of the whole.
        adjective: of the lead's manner, or "".
        lead: the family that leads.
        exact: its more exact name, or "".
        chords: the family that plays the chords.
        drums: whether there are any.
        tempo: beats per minute, or None where no beat can be heard.
    """
    manner = f"{adjective} {lead}" if adjective else lead
    found = [
        f"{genre} with {_a(lead)} {lead} solo",
        f"{genre} with {_a(manner)} {manner} solo",
        f"{genre} bass line with {_a(manner)} {manner} solo",
        f"{genre} {lead}",
        f"{genre} with {lead}",
        f"{genre}, {lead}",
        f"{genre}, {chords} and {lead}",
    ]
    if drums:
        word = WORDS.get(genre, "band")
        found += [f"{genre} {word} with {lead}".replace("waltz waltz", "waltz")]
    if exact:
        found += [f"{genre} with {_a(exact)} {exact} solo"]
    if genre == "jazz" and lead == chords and drums:
        found += [f"{_a('jazz')} jazz {lead} trio", f"jazz {lead} trio"]
    return _with_tempo(found, tempo)


def describe_rhythm(genre: str, chords: str, drums: bool, tempo: int | None) -> tuple[str, ...]:
    """Captions of a band without a lead; the arguments are those of ``describe_band``."""
    word = WORDS.get(genre, "groove") if drums else "music"
    groove = genre if word == genre else f"{genre} {word}"
    found = [
        genre,
        groove,
        f"{_a(groove)} {groove}",
        f"{groove} with {chords}",
        f"{genre}, {chords}",
        f"{genre} {chords} chords",
    ]
    if drums:
        found.append(f"{genre} bass line with {chords} and drums")
    return _with_tempo(found, tempo)


def _with_tempo(found: Sequence[str], tempo: int | None) -> tuple[str, ...]:
    """Two captions of five without the tempo, two with beats per minute, one with a word."""
    if tempo is None:
        return (*found, *(f"slow {_bare(text)}" for text in found[1:3]))
    exact = [f"{text}, {tempo} bpm" for text in found]
    exact += [f"{tempo} bpm {_bare(text)}" for text in found[1:3]]
    word = "slow" if tempo <= SLOW else "fast" if tempo >= FAST else ""
    worded = [_worded(text, word) for text in found[1:]] if word else []
    return (*found, *exact, *worded)


def _worded(text: str, word: str) -> str:
    bare = _bare(text)
    return f"{word} {bare}" if bare == text else f"a {word} {bare}"


def _bare(text: str) -> str:
    """Without the article."""
    first, _, rest = text.partition(" ")
    return rest if first in ("a", "an") else text


def _a(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"
