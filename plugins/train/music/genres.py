"""Genres: what drums, bass and chords play in them, written one letter per sixteenth note.

Drums: X loud, x as usual, o soft, ? soft and only sometimes. Bass: R root, 3 third, 5 fifth,
7 seventh, 8 octave, a a semitone below the next root. Chords: C short, H held, 1 2 3 4 one tone of
the chord, b its root an octave lower. Lead: x a note, X one that is always there. In all of them -
holds on and . is silence.
"""

from __future__ import annotations

from dataclasses import dataclass

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
BLUES = (0, 3, 5, 6, 7, 10)

CHORDS = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "9": (4, 10, 14),
    "maj7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "m7b5": (0, 3, 6, 10),
    "power": (0, 7, 12),
}
Progression = tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Genre:
    """How one kind of music goes.

    Attributes:
        tempi: slowest and fastest, in beats per minute.
        scale: semitones above the key's root from which leads are made.
        progressions: chords, one a bar: root in semitones above the key's, and kind.
        drums: bars for the drums, drum -> letters; none: no drums.
        bass: bars for the bass.
        chords: bars for the chords.
        lead: rhythms of a lead.
        players: families that play the chords.
        bass_programs: General MIDI programs of the bass.
        kit: General MIDI drum kit.
        beats: in a bar.
        swing: lateness of every second eighth, in beats.
        shuffle: lateness of every second sixteenth, in beats.
        adjective: as in "a jazzy solo", or "".
        programs: family -> program that this music has rather than the family's.
        timed: whether the beat can be heard.
    """

    tempi: tuple[int, int]
    scale: tuple[int, ...]
    progressions: tuple[Progression, ...]
    drums: tuple[dict[str, str], ...]
    bass: tuple[str, ...]
    chords: tuple[str, ...]
    lead: tuple[str, ...]
    players: tuple[str, ...]
    bass_programs: tuple[int, ...] = (33,)
    kit: int = 0
    beats: int = 4
    swing: float = 0.0
    shuffle: float = 0.0
    adjective: str = ""
    programs: tuple[tuple[str, int], ...] = ()
    timed: bool = True


GENRES: dict[str, Genre] = {
    "funk": Genre(
        tempi=(90, 122),
        scale=(0, 3, 5, 6, 7, 9, 10),
        progressions=(((0, "9"),), ((0, "9"), (5, "9")), ((0, "9"), (0, "9"), (10, "9"))),
        drums=(
            {"kick": "X..x..x...x..X..", "snare": "....X..o.o..X..o", "hat": "x.xxx.xxx.xxx.xx"},
            {"kick": "X.x....x..x.....", "snare": "....X..o.?..X.?.", "hat": "xxxxxxxxxxxxxxxx"},
        ),
        bass=("R..R.8..7.R.5.8.", "R-.R..8.R.7-.5.a", "R.R...8.7..5R.8."),
        chords=("..C..C....C..C..", "....C..C....C.C.", ".C..C..C..C.C..C"),
        lead=("X..x.x..X.x..x..", "..x.xX..x..xx...", "X.xx..x.X....x.x"),
        players=("guitar", "organ", "brass"),
        bass_programs=(36, 33),
        adjective="funky",
        programs=(("guitar", 27), ("brass", 61)),
    ),
    "jazz": Genre(
        tempi=(76, 170),
        scale=(0, 2, 3, 4, 5, 7, 9, 10, 11),
        progressions=(
            ((2, "m7"), (7, "7"), (0, "maj7"), (9, "7")),
            ((0, "maj7"), (9, "m7"), (2, "m7"), (7, "7")),
            ((0, "m7"), (5, "7"), (2, "m7b5"), (7, "7")),
        ),
        drums=(
            {"ride": "X...x.x.X...x.x.", "hat": "....x.......x...", "snare": "......?.......o."},
            {"ride": "X...x.x.X...x.x.", "hat": "....x.......x...", "kick": "o.......?.....?."},
        ),
        bass=("R-..3-..5-..a-..", "R-..5-..8-..a-..", "R-..7-..5-..3-.."),
        chords=("C.....C.........", "......C-....C...", "..C.........C-.."),
        lead=("X.x.x.x.X.x...x.", "..x.X.x.x.x.X...", "X...x.x.x.x.x.x."),
        players=("piano", "guitar", "bells"),
        bass_programs=(32,),
        kit=32,
        swing=0.16,
        adjective="jazzy",
        programs=(("guitar", 26), ("brass", 56), ("bells", 11)),
    ),
    "techno": Genre(
        tempi=(122, 145),
        scale=(0, 3, 5, 7, 10),
        progressions=(((0, "m"),), ((0, "m"), (0, "m"), (8, ""), (10, ""))),
        drums=(
            {
                "kick": "X...X...X...X...",
                "open hat": "..x...x...x...x.",
                "clap": "....x.......x...",
            },
            {"kick": "X...X...X...X...", "hat": "x.xxx.xxx.xxx.xx", "open hat": "..x...x...x...x."},
        ),
        bass=("..RR..RR..RR..RR", ".RRR.RRR.RRR.RRR", "..R...R...R..R8."),
        chords=("C..C..C...C..C..", "1.3.2.4.1.3.2.4.", "...C......C....."),
        lead=("x.xxx.x.x.xxx.xx", "X..x..x.X..x..x.", "xxx.xxx.xxx.xx.x"),
        players=("synth lead",),
        bass_programs=(38, 39),
        kit=25,
    ),
    "house": Genre(
        tempi=(116, 130),
        scale=MINOR,
        progressions=(((0, "m7"), (5, "m7")), ((0, "m7"), (8, "maj7"), (10, "7"), (7, "m7"))),
        drums=(
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X...",
                "open hat": "..X...X...X...X.",
            },
            {"kick": "X...X...X...X...", "clap": "....X.......X...", "shaker": "x.xxx.xxx.xxx.xx"},
        ),
        bass=("..R-..R-..R-..8-", "R-.R-.5-R-.R-.8-", "..R...R-.8..R-5-"),
        chords=("C..C..C...C.C...", "H-.H-.H-..H-..H-", "..C...C...C...C."),
        lead=("X..x..X...x.x...", "..x.x..xX..x....", "X...x..x..x.x..."),
        players=("piano", "organ"),
        bass_programs=(38, 39),
        kit=24,
    ),
    "reggae": Genre(
        tempi=(70, 96),
        scale=DORIAN,
        progressions=(((0, "m"), (5, "m")), ((0, ""), (5, "")), ((0, "m"), (10, ""))),
        drums=(
            {"kick": "........X.......", "rim": "........X.......", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.......X.......", "snare": "....x.......x.?.", "hat": "..x...x...x...x."},
        ),
        bass=("....R-.R5-..3-R-", "R-..R.5.8-..5-3-", "..R-R-..5-R-..3-"),
        chords=("....C.......C...", "..C...C...C...C.", "....C.C.....C.C."),
        lead=("X...x.x.x.......", "..x.x...X..x....", "X..x..x.....x..."),
        players=("guitar", "organ", "piano"),
        programs=(("guitar", 27), ("brass", 57)),
    ),
    "waltz": Genre(
        tempi=(84, 170),
        scale=MAJOR,
        progressions=(
            ((0, ""), (7, "7"), (7, "7"), (0, "")),
            ((0, ""), (5, ""), (7, "7"), (0, "")),
            ((0, "m"), (7, "7"), (5, "m"), (0, "m")),
        ),
        drums=({"kick": "X...........", "hat": "....x...x..."},),
        bass=("R---........", "R--.........", "R----......."),
        chords=("....C...C...", "....C-..C-.."),
        lead=("X---x---x---", "X-------x---", "X---x.x.x.x."),
        players=("piano", "strings", "guitar"),
        bass_programs=(32,),
        beats=3,
    ),
    "rock": Genre(
        tempi=(100, 165),
        scale=(0, 3, 5, 7, 10),
        progressions=(
            ((0, "power"), (5, "power"), (7, "power"), (5, "power")),
            ((0, "power"), (8, "power"), (3, "power"), (10, "power")),
            ((0, "power"), (10, "power")),
        ),
        drums=(
            {"kick": "X.......X.x.....", "snare": "....X.......X...", "hat": "X.x.X.x.X.x.X.x."},
            {"kick": "X.x...x.X.......", "snare": "....X.......X..o", "ride": "X.x.X.x.X.x.X.x."},
        ),
        bass=("R.R.R.R.R.R.R.R.", "R-R-R-R-R-R-5-R-"),
        chords=("H---H---H---H---", "C.C.C.C.C.C.C.C.", "H-------H---H---"),
        lead=("X...x.x.X-..x.x.", "X.x.x.x.X-------", "x.xxx...X---x.x."),
        players=("guitar",),
        bass_programs=(34, 33),
        kit=16,
        adjective="rocking",
        programs=(("guitar", 30),),
    ),
    "ambient": Genre(
        tempi=(70, 90),
        scale=(0, 2, 4, 7, 9),
        progressions=(((0, "maj7"), (5, "maj7")), ((9, "m7"), (5, "maj7")), ((0, "maj7"),)),
        drums=(),
        bass=("R---------------",),
        chords=("H---------------",),
        lead=("X-------x-------", "x---------------", "....X-------x---"),
        players=("strings",),
        bass_programs=(39,),
        programs=(("strings", 48),),
        timed=False,
    ),
    "hip hop": Genre(
        tempi=(80, 100),
        scale=(0, 3, 5, 6, 7, 10),
        progressions=(((0, "m7"), (5, "m7")), ((0, "m7"), (8, "maj7")), ((0, "m7"),)),
        drums=(
            {"kick": "X......x..X.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X..x......Xx....", "snare": "....X.......X..?", "hat": "x.x.x.xxx.x.x.x."},
        ),
        bass=("R--....R..R-....", "R-.R......8-..7."),
        chords=("H-------....C...", "C-....C-........"),
        lead=("X..x..x.........", "x.x.X-....x.x...", "X.....x.x...x..."),
        players=("piano", "bells"),
        bass_programs=(39, 33),
        kit=25,
        shuffle=0.06,
    ),
    "bossa nova": Genre(
        tempi=(110, 150),
        scale=MAJOR,
        progressions=(
            ((0, "maj7"), (2, "7"), (2, "m7"), (7, "7")),
            ((2, "m7"), (7, "7"), (0, "maj7"), (0, "maj7")),
        ),
        drums=(
            {"rim": "X.....x.....x...", "kick": "X.....x.X.....x.", "shaker": "x.xxx.xxx.xxx.xx"},
            {"rim": "..x.....x.....x.", "kick": "X.....x.X.....x.", "hat": "x.x.x.x.x.x.x.x."},
        ),
        bass=("R-----5-5-----R-",),
        chords=("C.....C.....C...", "C..C..C...C..C.."),
        lead=("X-..x...x-..x...", "..x...X---..x...", "X---x.....x.x..."),
        players=("guitar", "piano"),
        bass_programs=(32,),
        programs=(("guitar", 24),),
    ),
    "classical": Genre(
        tempi=(72, 140),
        scale=MAJOR,
        progressions=(
            ((0, ""), (7, ""), (9, "m"), (5, "")),
            ((0, "m"), (5, "m"), (7, ""), (0, "m")),
            ((0, ""), (5, ""), (0, ""), (7, "")),
        ),
        drums=(),
        bass=("R-------5-------", "R---------------"),
        chords=("1.3.2.3.1.3.2.3.", "1-2-3-2-1-2-3-2-", "H-------H-------"),
        lead=("X---x-x-X---x-x-", "X-x-x-x-X-------", "X-------x-x-x-x-"),
        players=("piano", "strings"),
        bass_programs=(43,),
        programs=(("strings", 48), ("brass", 60)),
    ),
}
