"""Interpolation between tensors: along the chord, and along the great arc.

K. Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985, section 3.3. For unit
vectors u and v with the angle omega between them:

    slerp(u, v, t) = sin((1 - t) omega) / sin(omega) u + sin(t omega) / sin(omega) v

Both functions give back the endpoints bit for bit, and leave what is equal in both untouched, so
that the part of a prompt which does not change cannot drift.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import UsageError


def lerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t on the straight line from a to b.

    Args:
        a: floating point, any shape; given back, as a copy, at t = 0.
        b: shape and dtype of a; given back, as a copy, at t = 1.
        t: in [0, 1].

    Returns:
        Shape and dtype of a; computed in float64, or float32 on devices that have no float64.

    Raises:
        UsageError: t out of range, or tensors that differ in shape or dtype.
    """
    check(a, b, t)
    if t in (0, 1):
        return (b if t else a).clone()
    start, end = widen(a), widen(b)
    return (start + t * (end - start)).to(a.dtype)


def slerp(a: Tensor, b: Tensor, t: float, *, dim: int = -1, centre: Tensor | None = None) -> Tensor:
    """The point at t on the arc from a to b, for each vector along ``dim``.

    The direction turns at constant speed on the great arc; the length goes linearly from |a| to
    |b|, so that it never exceeds the longer of the two. Three cases have no arc and take the
    straight line: vectors nearly parallel, where the two agree; a vector of length 0, which has
    no direction; vectors nearly opposite, where no arc is better than another: that line passes
    through the centre.

    Args:
        a: floating point, any shape of at least one dimension; given back, as a copy, at t = 0.
        b: shape and dtype of a; given back, as a copy, at t = 1.
        t: in [0, 1].
        dim: the dimension that holds the vectors; all others hold many of them.
        centre: the point to turn around and measure lengths from, in a shape that broadcasts to
            that of a; the origin if None.

    Returns:
        Shape and dtype of a; computed in float64, or float32 on devices that have no float64.

    Raises:
        UsageError: t out of range, or tensors that differ in shape or dtype.
        RuntimeError: a centre that does not broadcast to the shape of a.
    """
    check(a, b, t)
    if t in (0, 1):
        return (b if t else a).clone()
    start, end = widen(a), widen(b)
    middle = 0.0 if centre is None else widen(centre).expand_as(a)
    start, end = start - middle, end - middle

    start_length = torch.linalg.vector_norm(start, dim=dim, keepdim=True)
    end_length = torch.linalg.vector_norm(end, dim=dim, keepdim=True)
    u, v = start / start_length, end / end_length
    # W. Kahan's angle keeps its accuracy where acos(u . v) loses it: near 0 and near pi.
    omega = 2 * torch.atan2(
        torch.linalg.vector_norm(u - v, dim=dim, keepdim=True),
        torch.linalg.vector_norm(u + v, dim=dim, keepdim=True),
    )
    sine = torch.sin(omega)
    length = start_length + t * (end_length - start_length)
    arc = length * (torch.sin((1 - t) * omega) * u + torch.sin(t * omega) * v) / sine
    chord = start + t * (end - start)

    # False where a length is 0 too: the angle is then NaN.
    has_arc = sine > torch.finfo(sine.dtype).eps ** 0.5
    point = (torch.where(has_arc, arc, chord) + middle).to(a.dtype)
    return torch.where((a == b).all(dim=dim, keepdim=True), a, point)


def widen(x: Tensor) -> Tensor:
    """The widest dtype that the tensor's device computes in."""
    return x.float() if x.device.type == "mps" else x.double()


def check(a: Tensor, b: Tensor, t: float) -> None:
    """Refuse what cannot be interpolated.

    Raises:
        UsageError: t out of range, or tensors that differ in shape or dtype.
    """
    if not 0 <= t <= 1:
        raise UsageError(f"t is {t}; it has to lie within 0 and 1")
    if a.shape != b.shape or a.dtype != b.dtype:
        raise UsageError(
            f"cannot interpolate {a.dtype} of shape {tuple(a.shape)} and {b.dtype} of shape "
            f"{tuple(b.shape)}; make them alike"
        )
    if not a.dtype.is_floating_point:
        raise UsageError(f"cannot interpolate {a.dtype}; convert it to floating point")
