"""Great arcs between unit vectors of a few dimensions, given as lists; no tensors."""

from __future__ import annotations

import math

Vector = list[float]

_NOTHING = 1e-12


def slerp(a: Vector, b: Vector, t: float) -> Vector:
    """The point at t on the great arc from unit vector a to b, which are not opposite."""
    angle = angle_between(a, b)
    if math.sin(angle) < _NOTHING:
        return unit(combine(a, 1 - t, b, t))
    scale = 1 / math.sin(angle)
    return unit(combine(a, math.sin((1 - t) * angle) * scale, b, math.sin(t * angle) * scale))


def angle_between(a: Vector, b: Vector) -> float:
    """Between unit vectors; exact for small angles too (W. Kahan, 2006)."""
    return 2 * math.atan2(math.dist(a, b), math.hypot(*combine(a, 1.0, b, 1.0)))


def combine(a: Vector, p: float, b: Vector, q: float) -> Vector:
    """p a + q b."""
    return [p * x + q * y for x, y in zip(a, b, strict=True)]


def without(vector: Vector, axis: Vector) -> Vector:
    """The part of a vector at right angles to a unit vector."""
    return combine(vector, 1.0, axis, -math.fsum(x * y for x, y in zip(vector, axis, strict=True)))


def unit(vector: Vector) -> Vector:
    """The same direction, of length 1."""
    length = math.hypot(*vector)
    return [x / length for x in vector]
