"""Smooth paths through more than two tensors, which pass keyframes without a corner.

Both methods choose a velocity for every keyframe and join neighbours by a cubic with these
velocities at its ends, so that position and velocity go on where two segments meet (C1). The
velocity is the slope of the parabola through a keyframe and its two neighbours, for spans of any
lengths (C. de Boor, "A Practical Guide to Splines", 1978, chapter IV: Bessel tangents); for equal
spans that is the curve of E. Catmull and R. Rom, "A class of local interpolating splines" (1974).
Where a path begins or ends there is one neighbour only, and the velocity is that of the plain way.

No velocity exceeds three times the slower of the two slopes beside it (F. Fritsch and R. Carlson,
"Monotone piecewise cubic interpolation", 1980), so that a short span beside a long one causes no
loop, and what is equal in two neighbouring keyframes rests between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite, pi

import torch
from torch import Tensor

from ..errors import UsageError
from .interpolation import check, lerp, slerp, widen

Spans = tuple[float, float, float]
EVEN: Spans = (1.0, 1.0, 1.0)


def smooth_lerp(
    before: Tensor | None,
    a: Tensor,
    b: Tensor,
    after: Tensor | None,
    t: float,
    spans: Spans = EVEN,
    *,
    dim: int = -1,
) -> Tensor:
    """The point at t between a and b on the cubic through before, a, b and after.

    Args:
        before: the keyframe before a, or None where the path begins at a.
        a: floating point, of at least one dimension; given back, as a copy, at t = 0.
        b: given back, as a copy, at t = 1; all four have one shape and dtype.
        after: the keyframe after b, or None where the path ends at b.
        t: in [0, 1].
        spans: how long the three ways last, in any unit; more than 0.
        dim: the dimension that holds the vectors.

    Returns:
        Shape and dtype of a; ``lerp`` where before and after are None. Vectors that are equal in
        a and b stay the same bit for bit.

    Raises:
        UsageError: t or a span out of range, or tensors that differ in shape or dtype.
    """
    _check(before, a, b, after, t, spans)
    if t in (0, 1) or (before is None and after is None):
        return lerp(a, b, t)
    start, end = widen(a), widen(b)
    leaving = _straight(_wide(before), start, end, spans[0], spans[1], dim)
    # Seen from b the path runs the other way.
    arriving = -_straight(_wide(after), end, start, spans[2], spans[1], dim)
    point = _hermite(start, end, leaving * spans[1], arriving * spans[1], t).to(a.dtype)
    return torch.where((a == b).all(dim=dim, keepdim=True), a, point)


def smooth_slerp(
    before: Tensor | None,
    a: Tensor,
    b: Tensor,
    after: Tensor | None,
    t: float,
    spans: Spans = EVEN,
    *,
    dim: int = -1,
    centre: Tensor | None = None,
) -> Tensor:
    """The point at t between a and b on the spherical curve through before, a, b and after.

    K. Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985, section 4: the
    direction follows a Bezier curve, evaluated by de Casteljau's construction with ``slerp`` in
    place of straight lines; its inner control points lie on the tangents, a third of the span
    away. The length goes from |a| to |b| on a cubic that never leaves the two, as the line that
    ``slerp`` takes does not. Where there is no arc between a and b, as ``slerp`` has it, the path
    is the cubic of ``smooth_lerp``; the velocity goes on from one kind to the other.

    Args:
        before: the keyframe before a, or None where the path begins at a.
        a: floating point, of at least one dimension; given back, as a copy, at t = 0.
        b: given back, as a copy, at t = 1; all four have one shape and dtype.
        after: the keyframe after b, or None where the path ends at b.
        t: in [0, 1].
        spans: how long the three ways last, in any unit; more than 0.
        dim: the dimension that holds the vectors.
        centre: the point to turn around, in a shape that broadcasts to that of a; the origin if
            None.

    Returns:
        Shape and dtype of a; ``slerp`` where before and after are None. Vectors that are equal in
        a and b stay the same bit for bit.

    Raises:
        UsageError: t or a span out of range, or tensors that differ in shape or dtype.
        RuntimeError: a centre that does not broadcast to the shape of a.
    """
    _check(before, a, b, after, t, spans)
    if t in (0, 1) or (before is None and after is None):
        return slerp(a, b, t, dim=dim, centre=centre)
    middle = torch.zeros_like(widen(a)) if centre is None else widen(centre).expand_as(a)
    start, end = _Arm.of(widen(a) - middle, dim), _Arm.of(widen(b) - middle, dim)
    first = None if before is None else _Arm.of(widen(before) - middle, dim)
    last = None if after is None else _Arm.of(widen(after) - middle, dim)
    span = spans[1]
    leaving = span * _turning(first, start, end, spans[0], span, dim)
    arriving = -span * _turning(last, end, start, spans[2], span, dim)

    growth, heading = start.split(leaving, dim)
    late_growth, late_heading = end.split(arriving, dim)
    length = _hermite(start.length, end.length, growth, late_growth, t)
    controls = [
        start.direction,
        _walk(start.direction, heading / 3, dim),
        _walk(end.direction, -late_heading / 3, dim),
        end.direction,
    ]
    while len(controls) > 1:
        controls = [slerp(u, v, t, dim=dim) for u, v in pairwise(controls)]
    line = _hermite(start.vector, end.vector, leaving, arriving, t)
    curve = torch.where(_has_arc(start, end, dim), length * controls[0], line)
    point = (curve + middle).to(a.dtype)
    return torch.where((a == b).all(dim=dim, keepdim=True), a, point)


@dataclass(frozen=True, eq=False)
class _Arm:
    """Vectors seen from the centre: length and direction; no length has the direction 0."""

    vector: Tensor
    length: Tensor
    direction: Tensor

    @classmethod
    def of(cls, vector: Tensor, dim: int) -> _Arm:
        length = torch.linalg.vector_norm(vector, dim=dim, keepdim=True)
        return cls(vector, length, vector / torch.where(length > 0, length, 1.0))

    def split(self, velocity: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """How fast the length grows, and the direction turns, in radians along a tangent."""
        growth = (velocity * self.direction).sum(dim=dim, keepdim=True)
        heading = velocity - growth * self.direction
        return growth, heading / torch.where(self.length > 0, self.length, 1.0)


def _turning(
    other: _Arm | None, here: _Arm, next_: _Arm, span_before: float, span: float, dim: int
) -> Tensor:
    """Velocity at a keyframe of a spherical path, in units of the ambient space."""
    before = None if other is None else other.vector
    straight = _straight(before, here.vector, next_.vector, span_before, span, dim)
    heading = _heading(here.direction, next_.direction, dim) / span
    growth = (next_.length - here.length) / span
    has_arc = _has_arc(here, next_, dim)
    if other is not None:
        arriving = -_heading(here.direction, other.direction, dim) / span_before
        heading = _between(arriving, heading, span_before, span, dim)
        grown = (here.length - other.length) / span_before
        steady = (grown * growth > 0).to(growth.dtype)
        growth = steady * _between(grown, growth, span_before, span, dim)
        has_arc = has_arc & _has_arc(here, other, dim)
    return torch.where(has_arc, growth * here.direction + here.length * heading, straight)


def _straight(
    before: Tensor | None, here: Tensor, next_: Tensor, span_before: float, span: float, dim: int
) -> Tensor:
    """Velocity at a keyframe of a path in flat space."""
    slope = (next_ - here) / span
    if before is None:
        return slope
    return _between((here - before) / span_before, slope, span_before, span, dim)


def _between(arriving: Tensor, leaving: Tensor, before: float, span: float, dim: int) -> Tensor:
    """The parabola's slope where two slopes meet, kept below three times the slower one."""
    slope = (span * arriving + before * leaving) / (before + span)
    speeds = [
        torch.linalg.vector_norm(each, dim=dim, keepdim=True) for each in (arriving, leaving, slope)
    ]
    limit = 3 * torch.minimum(speeds[0], speeds[1])
    too_fast = speeds[2] > limit
    return torch.where(too_fast, slope * (limit / torch.where(too_fast, speeds[2], 1.0)), slope)


def _hermite(start: Tensor, end: Tensor, leaving: Tensor, arriving: Tensor, t: float) -> Tensor:
    """Cubic with these ends and velocities, written as the straight line and what bends it."""
    way = end - start
    bend = (1 - t) * (leaving - way) - t * (arriving - way)
    return start + t * way + t * (1 - t) * bend


def _heading(u: Tensor, v: Tensor, dim: int) -> Tensor:
    """Tangent at the unit vector u of the arc to v, as long as the arc: the logarithm."""
    tangent = v - (u * v).sum(dim=dim, keepdim=True) * u
    sine = torch.linalg.vector_norm(tangent, dim=dim, keepdim=True)
    angle = 2 * torch.atan2(
        torch.linalg.vector_norm(u - v, dim=dim, keepdim=True),
        torch.linalg.vector_norm(u + v, dim=dim, keepdim=True),
    )
    return tangent * torch.where(sine > 0, angle / torch.where(sine > 0, sine, 1.0), 1.0)


def _walk(u: Tensor, tangent: Tensor, dim: int) -> Tensor:
    """The unit vector reached from u along a tangent: the exponential."""
    angle = torch.linalg.vector_norm(tangent, dim=dim, keepdim=True)
    point: Tensor = torch.cos(angle) * u + torch.sinc(angle / pi) * tangent
    return point


def _has_arc(a: _Arm, b: _Arm, dim: int) -> Tensor:
    """False where a direction is missing, or the two are opposite and no arc is better."""
    apart = torch.linalg.vector_norm(a.direction + b.direction, dim=dim, keepdim=True)
    has_arc: Tensor = (
        (a.length > 0) & (b.length > 0) & (apart > torch.finfo(apart.dtype).eps ** 0.5)
    )
    return has_arc


def _wide(x: Tensor | None) -> Tensor | None:
    return None if x is None else widen(x)


def _check(
    before: Tensor | None, a: Tensor, b: Tensor, after: Tensor | None, t: float, spans: Spans
) -> None:
    for other in (before, b, after):
        if other is not None:
            check(a, other, t)
    if not all(isfinite(span) and span > 0 for span in spans):
        raise UsageError(f"the spans of a curve are {spans}; give three numbers above 0")
