"""A short way through points of which the distances are known: a small travelling salesman."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

Distances = Sequence[Sequence[float]]

_STARTS = 16
# A change that gains less is rounding; going on for it might never end.
_GAIN = 1e-12


def steps(order: Sequence[int], distances: Distances, closed: bool) -> list[float]:
    """From each point to the next; of a closed way also from the last to the first."""
    pairs = pairwise([*order, order[0]] if closed else order)
    return [distances[a][b] for a, b in pairs]


def smooth_order(distances: Distances, closed: bool) -> list[int]:
    """All points in an order that makes the way short.

    The nearest neighbour is taken each time, from up to 16 starts, and each way is improved by
    2-opt (G. A. Croes, "A Method for Solving Traveling-Salesman Problems", 1958); the shortest is
    kept.

    Args:
        distances: symmetric, N rows of N, with zeros on the diagonal; N at least 1.
        closed: the way comes back to where it begins; it then begins at point 0. An open one runs
            from the lower of its two ends.
    """
    count = len(distances)
    starts = range(0, count, -(-count // _STARTS))
    ways = [_improved(_nearest(start, distances), distances, closed) for start in starts]
    best = min(ways, key=lambda way: (sum(steps(way, distances, closed)), way))
    return _turned(best, closed)


def shortened(order: Sequence[int], distances: Distances, closed: bool, keep: int) -> list[int]:
    """Leave out points until ``keep`` are left, each time the one that is the longest way round."""
    left = list(order)
    while len(left) > max(keep, 2):
        gains = [_detour(left, index, distances, closed) for index in range(len(left))]
        del left[gains.index(max(gains))]
        left = _improved(left, distances, closed)
    return _turned(left, closed)


def _nearest(start: int, distances: Distances) -> list[int]:
    way = [start]
    others = set(range(len(distances))) - {start}
    while others:
        here = distances[way[-1]]
        way.append(min(others, key=lambda point: (here[point], point)))
        others.remove(way[-1])
    return way


def _improved(way: list[int], distances: Distances, closed: bool) -> list[int]:
    """Turn parts of a way round as long as that makes it shorter."""
    while change := next(_shorter(way, distances, closed), None):
        first, last = change
        way = way[:first] + way[first : last + 1][::-1] + way[last + 1 :]
    return way


def _shorter(way: list[int], distances: Distances, closed: bool) -> Iterator[tuple[int, int]]:
    """(first, last) of the parts that are better walked the other way round."""
    size = len(way)
    for first in range(1 if closed else 0, size - 1):
        for last in range(first + 1, size):
            gain = 0.0
            if first > 0:
                before = distances[way[first - 1]]
                gain += before[way[first]] - before[way[last]]
            if closed or last < size - 1:
                after = distances[way[(last + 1) % size]]
                gain += after[way[last]] - after[way[first]]
            if gain > _GAIN:
                yield first, last


def _detour(way: list[int], index: int, distances: Distances, closed: bool) -> float:
    """How much shorter a way becomes without one of its points."""
    here, size = way[index], len(way)
    ends = not closed and index in (0, size - 1)
    if ends:
        return distances[here][way[1 if index == 0 else -2]]
    before, after = way[index - 1], way[(index + 1) % size]
    return distances[before][here] + distances[here][after] - distances[before][after]


def _turned(way: list[int], closed: bool) -> list[int]:
    """The same way, written so that equal ways are equal lists."""
    if closed:
        start = way.index(min(way))
        way = way[start:] + way[:start]
        return way if way[1:2] <= way[-1:] else [way[0], *way[:0:-1]]
    return way if way[0] <= way[-1] else way[::-1]
