"""Curves of ``growth.py`` in words: exponents, and what a thousand more would take."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

FLAT, LINEAR = 0.15, (0.85, 1.15)
SAME_MEMORY = 0.05
"""share of the peak that may come and go without being called growth"""
Figures = dict[str, float]
Point = tuple[float, Figures]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of the straight line nearest to the points where both axes are logarithms.

    >>> round(exponent([(1, 3), (10, 300), (100, 30000)]), 6)
    2.0
    """
    xs, ys = ([math.log(one[i]) for one in points] for i in (0, 1))
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return above / sum((a - x) ** 2 for a in xs)


def called(slope: float) -> str:
    """A word for an exponent."""
    if slope < -FLAT:
        return "falling"
    if slope < FLAT:
        return "flat"
    if slope < LINEAR[0]:
        return "less than linear"
    return "linear" if slope <= LINEAR[1] else "MORE THAN LINEAR"


def time_line(points: Sequence[Point], unit: str) -> str:
    """What the processor's time is over x: the whole way, and at the end of it."""
    curve = [(x, figures["cpu"]) for x, figures in points]
    end = exponent(curve[-2:])
    (x0, y0), (x1, y1) = curve[-2:]
    each = (y1 - y0) / (x1 - x0)
    return (
        f"time: {called(end)} at the end (exponent {end:.2f}; {exponent(curve):.2f} over all), "
        f"{y1:.3g} s at {x1:,.0f} {unit}, {1e6 * each:.3g} us for one more"
    )


def memory_line(points: Sequence[Point], unit: str) -> str:
    """What the peak is over x, beyond what the loaded model takes."""
    (x0, first), (_, last) = points[0], points[-1]
    grown = last["peak"] - first["peak"]
    if grown < SAME_MEMORY * first["peak"]:
        ends = f"{first['peak']:.0f} MiB at {x0:,.0f} and {last['peak']:.0f} at the end"
        return f"memory: flat, {ends}"
    excess = [(x, max(one["peak"] - one["before"], 0.1)) for x, one in points]
    end = exponent(excess[-2:])
    (_, before), (_, after) = excess[-2:]
    each = (after - before) / (points[-1][0] - points[-2][0]) * 2**20
    return (
        f"memory: {called(end)} at the end (exponent {end:.2f} of what is above the start), "
        f"{first['peak']:.0f} MiB to {last['peak']:.0f}, {each:,.0f} bytes for one more"
    )


def table(points: Sequence[Point], unit: str) -> Iterator[str]:
    """A Markdown table; every figure that was measured is a column."""
    names = [name for name in points[0][1] if name != "before"]
    titles = {"peak": "peak, MiB", "disk": "kept on disk, MiB"}
    yield f"| {unit} | " + " | ".join(titles.get(name, f"{name}, s") for name in names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for x, figures in points:
        yield f"| {x:,.0f} | " + " | ".join(f"{figures[name]:.4g}" for name in names) + " |"
