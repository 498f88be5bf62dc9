"""Patterns for a seed image, one letter per step.

Drums: X loud, x as usual, o soft. Bass: R the chord's root, 3 its third, 5 its fifth, 8 its octave.
Chords: C. Arpeggios: 1 to 6, the tones of the chord upwards. In all of them - holds on and . is
silence. Every part is repeated by itself, so its length is any number of bars.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FOUR_CHORDS = ((0, 5, 3, 4), (0, 3, 5, 4), (0, 2, 5, 3))
TWO_CHORDS = ((0, 3), (0, 5), (0, 4))


@dataclass(frozen=True)
class BeatPattern:
    """How one pattern goes.

    Attributes:
        description: one line for people.
        drums: instrument -> letters.
        bass: letters, and the sound that plays them.
        chords: the same.
        arpeggio: the same.
        progressions: scale degrees of the chords, counted from 0, one a bar.
        seventh: chords of four tones.
        steps: letters for a beat.
        bar: beats in a bar.
        swing: lateness of every second step, in beats.
        pitched: nothing without notes, so that it is in C where no key is given.
    """

    description: str
    drums: dict[str, str] = field(default_factory=dict)
    bass: tuple[str, str] | None = None
    chords: tuple[str, str] | None = None
    arpeggio: tuple[str, str] | None = None
    progressions: tuple[tuple[int, ...], ...] = FOUR_CHORDS
    seventh: bool = False
    steps: int = 4
    bar: int = 4
    swing: float = 0.0
    pitched: bool = False


BEATS: dict[str, BeatPattern] = {
    "four_on_the_floor": BeatPattern(
        "kick on every beat, snare on two and four, hats between; octave bass",
        drums={
            "kick": "X...X...X...X...",
            "snare": "....X.......X...",
            "hat": "x.x.x.x.x.x.x.x.",
        },
        bass=("bass", "R.8.R.8.R.8.R.8."),
        chords=("stab", "C---....C---...."),
    ),
    "house": BeatPattern(
        "kick on every beat, claps, open hats off the beat; organ-like stabs",
        drums={
            "kick": "X...X...X...X...",
            "clap": "....X.......X...",
            "open hat": "..x...x...x...x.",
            "hat": "o..oo..oo..oo..o",
            "shaker": "oxooxxooxxooxxoo",
        },
        bass=("bass", "..R-..RR..R-..5."),
        chords=("stab", "C-.C-.C-..C-.C-."),
        progressions=((0, 5, 3, 3), (0, 3), (0, 2, 5, 3)),
        seventh=True,
    ),
    "techno": BeatPattern(
        "kick on every beat, rolling sixteenths, one dark chord",
        drums={
            "kick": "X...X...X...X...",
            "open hat": "..X...X...X...X.",
            "hat": "xoxoxoxoxoxoxoxo",
            "clap": "....x.......x...",
            "rim": "...x..x....x..x.",
        },
        bass=("sub", ".RRR.RRR.RRR.RRR"),
        chords=("stab", "...C..C....C...."),
        progressions=((0,), (0, 0, 5, 5)),
    ),
    "rock": BeatPattern(
        "backbeat on two and four, eighths in hats and bass, long chords",
        drums={
            "kick": "X.......X.x.....X..x....X.x.....",
            "snare": "....X.......X...",
            "hat": "X.x.X.x.X.x.X.x.",
        },
        bass=("bass", "R-R-R-R-R-R-R-5-"),
        chords=("stab", "C-----C---C-C---"),
        progressions=((0, 3, 4, 3), (0, 5, 3, 4)),
    ),
    "funk": BeatPattern(
        "syncopated sixteenths with ghost notes, scratching chords",
        drums={
            "kick": "X..x..x...x..x..X..x......x..x..",
            "snare": "....X..o.o..X..o....X..o.oo.X..o",
            "hat": "XoxoXoxoXoxoXoxo",
        },
        bass=("bass", "R..R.8..5.R.3.5."),
        chords=("pluck", "..C..CC...C..C.C"),
        progressions=((0,), (0, 3), (0, 0, 3, 3)),
        seventh=True,
        swing=0.02,
    ),
    "hiphop": BeatPattern(
        "laid-back, swung sixteenths; deep bass and soft chords",
        drums={
            "kick": "X......x..X.....X..x...x..X.....",
            "snare": "....X.......X...",
            "hat": "x.x.x.xxx.x.x.x.",
            "shaker": "..o...o...o...o.",
        },
        bass=("sub", "R-----.R--R-..5-"),
        chords=("mellow", "C-------..C-----"),
        progressions=TWO_CHORDS,
        seventh=True,
        swing=0.06,
    ),
    "reggae": BeatPattern(
        "one drop: kick and rim on three, chords cut short on two and four",
        drums={
            "kick": "........X.......",
            "rim": "........X.....x.",
            "hat": "X.x.X.x.X.x.X.x.",
            "shaker": "o.o.o.o.o.o.o.o.",
        },
        bass=("sub", "R--.5.3-..R-5.R."),
        chords=("pluck", "....C.......C..."),
        progressions=((0, 3), (0, 4), (0, 5, 3, 4)),
    ),
    "waltz": BeatPattern(
        "three beats a bar: bass on one, chords on two and three",
        drums={
            "kick": "X...........",
            "rim": "....x...x...",
            "hat": "X...x.o.x.o.",
            "shaker": "o.o.o.o.o.o.",
        },
        bass=("bass", "R-----------5-----------"),
        chords=("mellow", "....C--.C--."),
        arpeggio=("vibraphone", "1...3...5.4."),
        bar=3,
    ),
    "bossa": BeatPattern(
        "clave on the rim, heartbeat kick, shaker; plucked seventh chords",
        drums={
            "kick": "X..xX..x",
            "rim": "X..X..X...X..X..",
            "shaker": "xoxoxoxo",
        },
        bass=("sub", "R--5R--5"),
        chords=("pluck", "C-.C-.C-.C-.C-.C"),
        progressions=((0, 0, 3, 4), (0, 5, 3, 4), (0, 2, 3, 4)),
        seventh=True,
        steps=2,
    ),
    "drum_and_bass": BeatPattern(
        "broken beat, snare on two and four, long deep bass, wide chords",
        drums={
            "kick": "X.........X.....",
            "snare": "....X..o.o..X..o",
            "hat": "x.xox.x.x.xox.x.",
            "open hat": "......x.......x.",
        },
        bass=("bass", "R------...R-----R--.5---..8-3---"),
        chords=("pad", "C---------------"),
        progressions=TWO_CHORDS,
    ),
    "metronome": BeatPattern(
        "a click on every beat, a higher one on the first of four; in no key",
        drums={"high click": "X...", "click": ".xxx"},
        steps=1,
    ),
    "pulse": BeatPattern(
        "agile: chords that pulse in eighths over a running bass, with few drums",
        drums={
            "kick": "X.......X.......",
            "shaker": "xooxxooxxooxxoox",
        },
        bass=("bass", "R.R.R.R.R.R.R.5."),
        chords=("stab", "C-C-C-CCC-C-C-C-"),
        arpeggio=("pluck", "1.3.5.4.6.4.5.3."),
        pitched=True,
    ),
    "marimba": BeatPattern(
        "wooden arpeggios over a marimba's low notes and a shaker",
        drums={"shaker": "xoxoxoxoxoxoxoxo", "rim": "......o.......o."},
        bass=("low marimba", "R.....R...5....."),
        chords=("marimba", "C.....C.....C..."),
        arpeggio=("marimba", "1.35.4.31.35.464"),
        progressions=((0, 3, 5, 4), (0, 2, 3, 4)),
        pitched=True,
    ),
    "motorway": BeatPattern(
        "straight ahead: driving eighths, one chord a bar, a lead that circles",
        drums={
            "kick": "X...X...X...X...",
            "snare": "....X.......X...",
            "hat": "X.xoX.xoX.xoX.xo",
        },
        bass=("bass", "R.R.8.R.R.R.8.5."),
        chords=("pad", "C---------------"),
        arpeggio=("pluck", "1323542315325432"),
        progressions=((0, 0, 5, 3), (0, 0, 3, 4)),
        pitched=True,
    ),
    "vibes": BeatPattern(
        "vibraphone over soft seventh chords, brushed sixteenths, a walking bass",
        drums={
            "kick": "o.......o.......",
            "shaker": "xooxxoooxooxxooo",
            "rim": "....o.......o...",
        },
        bass=("sub", "R---3---5---3---"),
        chords=("mellow", "C-------....C---"),
        arpeggio=("vibraphone", "1..3..4-..6-4.3-"),
        seventh=True,
        pitched=True,
    ),
}
