"""Which frames of a timeline to show, and what is told of it; nothing is rendered here."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..core.shots import Following, Shot
from ..core.timeline import Timeline
from .series import Plot, Series, noise_shares, prompt_shares, sources, started_from, worded

FEW, ENOUGH = 4, 5
"""of a film with fewer keyframes than the first, frames between them are shown up to the second"""


@dataclass(frozen=True)
class Still:
    """A frame to show.

    Attributes:
        frame: its number.
        keyframe: whether it is one.
        shot: what it is made from.
        prompts: name -> share, in (0, 1].
        seeds: likewise, of the noise.
    """

    frame: int
    keyframe: bool
    shot: Shot
    prompts: dict[str, float]
    seeds: dict[str, float]

    @property
    def follows(self) -> bool:
        """Whether it cannot be made without the frame before it."""
        return isinstance(self.shot.image, Following)


@dataclass(frozen=True)
class Board:
    """What a storyboard shows.

    Attributes:
        length: frames of the film, before any are played back.
        fps: frames per second.
        keyframes: their numbers, those that are not shown too; of a sheet of pictures all.
        stills: in order.
        plots: of what changes in a film.
        facts: what stays the same, a few words each.
        sheet: whether it is a sheet of pictures, which has no time.
    """

    length: int
    fps: float
    keyframes: tuple[int, ...]
    stills: tuple[Still, ...]
    plots: tuple[Plot, ...]
    facts: tuple[str, ...]
    sheet: bool = False


def read_board(timeline: Timeline, most: int) -> Board:
    """Walk a timeline twice: for its keyframes and values, and for the frames to show.

    Args:
        timeline: with at least one shot.
        most: stills at most, at least 1; more keyframes are thinned out evenly.
    """
    series, watch, follows = Series(), _Watch(), False
    for index, frame in enumerate(timeline):
        if isinstance(frame, Shot):
            series.add(index, frame)
            watch.add(index, frame)
            follows = follows or isinstance(frame.image, Following)
    sheet = timeline.columns is not None
    keyframes = series.frames if sheet else watch.keyframes()
    # Frames between the keyframes of a film whose frames follow from one another cost as much as
    # the film does.
    wanted = keyframes if follows else fill(keyframes, series.frames, timeline.length, most)
    shown, every = set(thin(wanted, most)), set(keyframes)
    stills = []
    for index, frame in enumerate(timeline):
        if isinstance(frame, Shot) and index in shown:
            noise = noise_shares(started_from(frame))
            stills.append(
                Still(
                    index,
                    index in every,
                    frame,
                    worded(prompt_shares(frame.prompt)),
                    {series.names.of(source): share for source, share in noise.items()},
                )
            )
    return Board(
        timeline.length,
        timeline.fps,
        tuple(keyframes),
        tuple(stills),
        () if sheet else series.plots(),
        series.facts(),
        sheet,
    )


class _Watch:
    """Finds the shots on which a blend arrives at one of its ends, or begins with other ends."""

    def __init__(self) -> None:
        self._before: tuple[frozenset[Hashable], ...] = ()
        self._found: tuple[list[int], ...] = ([], [], [])
        self._count = 0

    def add(self, frame: int, shot: Shot) -> None:
        now = sources(shot)
        for kind, ends in enumerate(now):
            if not self._before or _arrives(self._before[kind], ends):
                self._found[kind].append(frame)
        self._before = now
        self._count += 1

    def keyframes(self) -> list[int]:
        prompts, negatives, noises = self._found
        # Noise that is another one in every frame says nothing of where something happens.
        if 2 * len(noises) > self._count:
            noises = noises[:1]
        return sorted({*prompts, *negatives, *noises})


def _arrives(before: frozenset[Hashable], ends: frozenset[Hashable]) -> bool:
    if ends == before:
        return False
    leaves = len(before) == 1 and before <= ends
    # Noise of three seeds or more wanders; what comes in and goes out on the way is no place.
    return not leaves and len(ends) <= 2


def fill(keyframes: Sequence[int], shots: Sequence[int], length: int, most: int) -> list[int]:
    """Few keyframes with shots between them: the longest gap is halved until there are enough.

    Args:
        keyframes: increasing, at least one.
        shots: indexes of all shots, increasing.
        length: of the film; the way from the last keyframe to its end is a gap as well.
        most: never more than these.

    >>> fill([0, 47], range(48), 48, 12)
    [0, 12, 24, 36, 47]
    """
    chosen = list(keyframes)
    while len(keyframes) < FEW and len(chosen) < min(most, ENOUGH):
        ends = [*chosen, length]
        gaps = sorted(pairwise(ends), key=lambda gap: gap[0] - gap[1])
        for start, end in gaps:
            middle = _nearest(shots, (start + end + 1) // 2)
            if start < middle < end:
                chosen = sorted([*chosen, middle])
                break
        else:
            break
    return chosen


def thin(frames: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly, both ends among them.

    >>> thin([0, 1, 2, 3, 4, 5, 6, 7, 8], 3)
    [0, 4, 8]
    """
    if len(frames) <= most:
        return list(frames)
    if most == 1:
        return [frames[0]]
    return [frames[round(i * (len(frames) - 1) / (most - 1))] for i in range(most)]


def _nearest(numbers: Sequence[int], wanted: int) -> int:
    place = bisect_left(numbers, wanted)
    return min(numbers[max(0, place - 1) : place + 1], key=lambda number: abs(number - wanted))
