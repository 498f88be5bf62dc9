"""The frames of a timeline in ranges for workers.

Every worker composes its batches as one machine would, and makes those whole that have a frame in
its range. So where ranges are cut decides how much is made twice, and never what a frame looks
like: cuts lie between two batches, and where there is a choice not inside of what shares a trunk.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil

from ..core.prompt_syntax import has_syntax
from ..core.shots import Blend, Following, Shot, Trunk
from ..core.timeline import Between, Timeline
from ..rendering.planning import evaluations_by_shot, same_path

DECODING = 3
"""U-Net evaluations that decoding a picture takes as long as: 2514 to 803 GFLOP in Stable
Diffusion 1.5 at 512 pixels"""

Sizes = tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Range:
    """Frames that one worker renders.

    Attributes:
        first, last: indexes, both included; those between that are not wanted are left out.
        begins: the frame from which on batches have to be composed to be the same.
        weight: of the work, in U-Net evaluations.
    """

    first: int
    last: int
    begins: int
    weight: int


@dataclass
class Batch:
    """Shots that are denoised together, and the frames between that are decoded with them.

    Attributes:
        opens: first frame, perhaps a Between.
        first, last: first and last shot.
        joined: whether the shot before shares its trunk.
        leads: whether a Between is made before its first shot.
        cost: in U-Net evaluations.
        wanted: whether any of its frames is.
    """

    opens: int
    first: int
    last: int
    joined: bool
    leads: bool
    cost: int = 0
    wanted: bool = False

    def take(self, index: int, cost: int, wanted: bool) -> None:
        """Add a shot, and the frames between that come before it."""
        self.last, self.cost = index, self.cost + cost
        self.wanted = self.wanted or wanted


def looks_back(timeline: Timeline) -> dict[int, tuple[int, int]]:
    """Index of every shot that follows others -> the one before it, and the first one."""
    found: dict[int, tuple[int, int]] = {}
    shots: list[int] = []
    for index, frame in enumerate(timeline):
        if isinstance(frame, Shot):
            if isinstance(frame.image, Following) and len(shots) >= timeline.voices:
                found[index] = (shots[-timeline.voices], index % timeline.voices)
            shots = [*shots[1 - timeline.voices :], index] if timeline.voices > 1 else [index]
    return found


def followed(
    follows: Mapping[int, tuple[int, int]],
    wanted: Collection[int],
    begins: int,
    composes: Callable[[int], bool],
) -> list[int]:
    """Indexes of frames that are not made, but followed by some that are composed for a range.

    Args:
        follows: as ``looks_back`` gives it.
        wanted, begins: of the range.
        composes: as in ``cut``.
    """
    if not follows:
        return []
    composed = (index for index in range(begins, max(wanted) + 1) if composes(index))
    return sorted({other for one in composed for other in follows.get(one, ())} - set(wanted))


def cut(
    timeline: Timeline,
    wanted: Collection[int],
    composes: Callable[[int], bool],
    *,
    batch_size: int,
    workers: int,
    pieces: int,
    sizes: Sizes | None = None,
    sure_bytes: int = 0,
) -> list[Range]:
    """Ranges that hold all wanted frames, in order, as even as the cuts allow.

    A film in which a shot follows the one before is one range. What shares a trunk is cut only
    where it is more than one worker's fair share; the trunk is then computed by each.

    Args:
        timeline: what is rendered.
        wanted: indexes of frames to make; a set.
        composes: whether a frame is part of a batch.
        batch_size: shots denoised together.
        workers: how many there are.
        pieces: how many ranges to aim at, at least ``workers``.
        sizes: as in ``planning.plan``.
        sure_bytes: prompts of at most so many bytes are sure to be of one length for the model.
    """
    if not wanted:
        return []
    batches = compose(timeline, wanted, composes, batch_size, sizes)
    sure = _sure(timeline, composes, sure_bytes)
    if follows := looks_back(timeline):
        return [_chain(timeline, wanted, follows, sum(one.cost for one in batches if one.wanted))]
    made = [number for number, batch in enumerate(batches) if batch.wanted]
    weights = [batches[number].cost for number in made]
    allowed = _allowed([batches[number].joined for number in made], weights, workers, pieces)
    closes = any(index > batches[-1].last for index in wanted)
    ranges = []
    for start, end in _between(_even(weights, pieces, allowed), len(made)):
        one, last = batches[made[start]], batches[made[end - 1]]
        before = batches[made[start] - 1] if one.leads and made[start] else one
        at_end = last is batches[-1]
        ranges.append(
            Range(
                one.opens,
                timeline.length - 1 if at_end else last.last,
                0 if not sure or (at_end and closes) else before.first,
                sum(weights[start:end]),
            )
        )
    return ranges


def compose(
    timeline: Timeline,
    wanted: Collection[int],
    composes: Callable[[int], bool],
    batch_size: int,
    sizes: Sizes | None = None,
) -> list[Batch]:
    """The batches that rendering composes; those without a wanted frame are left out by it.

    Where prompts differ in length there are more than these, as only the model can tell.
    """
    costs = evaluations_by_shot(timeline, composes, sizes)
    batches: list[Batch] = []
    kinds: tuple[object, ...] | None = None
    trunk: Trunk | None = None
    count, opens, leads = 0, 0, False
    cost, asked = 0, False
    for index, frame in enumerate(timeline):
        if not composes(index):
            continue
        cost += DECODING
        asked = asked or index in wanted
        if isinstance(frame, Between):
            leads = True
            continue
        kind = _kind(frame, timeline.steps)
        if not batches or count >= batch_size or kind != kinds:
            joined = bool(trunk and frame.trunk and same_path(frame.trunk, trunk))
            batches.append(Batch(opens, index, index, joined, leads))
            count, kinds = 0, kind
        batches[-1].take(index, cost + next(costs)[1], asked)
        count, trunk, opens, leads = count + 1, frame.trunk, index + 1, False
        cost, asked = 0, False
    if leads:
        batches[-1].take(batches[-1].last, cost, asked)
    return batches


def _kind(shot: Shot, steps: int) -> tuple[object, ...]:
    """What shots of one batch have in common, as far as no model is needed to tell."""
    start = None if shot.image is None else round(steps * shot.strength)
    return start, shot.mask is None, shot.guidance_scale == 1


def _sure(timeline: Timeline, composes: Callable[[int], bool], most: int) -> bool:
    """Whether no two prompts can differ in length: no token is shorter than a byte."""
    known: dict[str, bool] = {}
    for index, frame in enumerate(timeline):
        if isinstance(frame, Shot) and composes(index):
            for text in (*_texts(frame.prompt), *_texts(frame.negative)):
                if text not in known:
                    known[text] = len(text.encode()) <= most and not has_syntax(text)
                if not known[text]:
                    return False
    return True


def _texts(blend: Blend) -> Iterator[str]:
    curve = blend.curve
    ends = (blend.start, blend.end, *((curve.before, curve.after) if curve else ()))
    yield from (text for text in ends if text is not None)


def _chain(
    timeline: Timeline, wanted: Collection[int], follows: dict[int, tuple[int, int]], weight: int
) -> Range:
    """All of a film whose shots follow each other; a batch begins wherever all voices follow."""
    first, voices = min(wanted), timeline.voices
    begins = first - first % voices
    sure = all(index in follows for index in range(begins, min(begins + voices, timeline.length)))
    return Range(first, max(wanted), begins if sure else 0, weight)


def _allowed(
    joined: Sequence[bool], weights: Sequence[int], workers: int, pieces: int
) -> list[int]:
    """Where a cut may be: before any batch that shares no trunk with the one before.

    Batches that share one and are together more than a worker's fair share are cut as well: as
    often as that takes, or anywhere if there are no more pieces than workers.
    """
    starts = [number for number in range(len(joined)) if not number or not joined[number]]
    fair = sum(weights) / workers
    found: list[int] = []
    for start, end in _between(starts[1:], len(joined)):
        group = weights[start:end]
        parts = max(1, ceil(sum(group) / fair - 1e-9))
        if parts > 1 and pieces <= workers:
            parts = len(group)
        found += [start, *(start + at for at in _even(group, parts, range(1, len(group))))]
    return [at for at in found if at]


def _even(weights: Sequence[int], parts: int, allowed: Sequence[int]) -> list[int]:
    """Of the allowed cuts, those nearest to even parts."""
    before = [0, *accumulate(weights)]
    chosen: set[int] = set()
    for part in range(1, parts):
        target = part * before[-1] / parts
        at = bisect_left(allowed, target, key=lambda number: before[number])
        near = allowed[max(0, at - 1) : at + 1]
        chosen.update(sorted(near, key=lambda number: abs(before[number] - target))[:1])
    return sorted(chosen)


def _between(cuts: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    """(start, end) of what lies between cuts.

    >>> list(_between([2, 5], 6))
    [(0, 2), (2, 5), (5, 6)]
    """
    return zip([0, *cuts], [*cuts, length], strict=True)
