"""Half way between two shots, along the path that both lie on."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..core.shots import Blend, Crossfade, Following, Inversion, Mixture, Noise, Shot, Sizes, Trunk
from ..core.walks import Terms, as_terms, seed_arc

if TYPE_CHECKING:
    from PIL.Image import Image

End = TypeVar("End")

_NOTHING = 1e-6
"""a sum of weights shorter than this has no direction: the two noises are opposite"""


class _ApartError(Exception):
    """Two shots, or parts of them, have no path in common."""


def midway(before: Shot, after: Shot) -> Shot | None:
    """The shot half way from one to another.

    Prompts, negative prompts, noises and start pictures: between two points of the same path the
    one in the middle of it, ends of paths included; from one path to the next one the point in the
    middle of both, past the end that they share; between two ends the middle of the path between
    them. Other noises of seeds meet half way on the sphere of their weights. Guidance and strength
    are means. Trunks of one path are as long as both on average, a shot without one having none of
    its steps; trunks of different paths are left out.

    Returns:
        None where there is no such thing, as between two masks, or where it would be one of the
        two. No shot lies between those of which one follows from the picture before it.
    """
    if before.mask is not after.mask:
        return None
    try:
        noise = _noise(before.noise, after.noise)
        found = Shot(
            _blend(before.prompt, after.prompt),
            noise,
            _blend(before.negative, after.negative),
            (before.guidance_scale + after.guidance_scale) / 2,
            _trunk(before, after, noise),
            _image(before.image, after.image),
            before.mask,
            (before.strength + after.strength) / 2,
            _sizes(before.sizes, after.sizes),
        )
    except _ApartError:
        return None
    return None if found in (before, after) else found


@dataclass(frozen=True)
class _Point(Generic[End]):
    """A point on the way from one end to another; on an end itself there is no other."""

    start: End
    end: End | None = None
    t: float = 0.0


def _point(start: End, end: End | None, t: float, same: Callable[[Any, Any], bool]) -> _Point[End]:
    if end is None or same(start, end) or t == 0:
        return _Point(start)
    return _Point(end) if t == 1 else _Point(start, end, t)


def _equal(a: Any, b: Any) -> bool:
    return bool(a == b)


def _identical(a: Any, b: Any) -> bool:
    return a is b


def _half(
    a: _Point[End], b: _Point[End], same: Callable[[Any, Any], bool] = _equal, turns: bool = True
) -> _Point[End]:
    """Half way from a to b.

    Args:
        same: whether two ends are one.
        turns: whether the way from one end to another is also the way back.

    Raises:
        _ApartError: they do not lie on one path.
    """
    if a.end is None and b.end is None:
        return a if same(a.start, b.start) else _Point(a.start, b.start, 0.5)
    if a.end is None or b.end is None:
        lone, on = (a, b) if a.end is None else (b, a)
        if same(lone.start, on.start):
            return _Point(on.start, on.end, on.t / 2)
        if same(lone.start, on.end):
            return _Point(on.start, on.end, (1 + on.t) / 2)
        raise _ApartError
    if same(a.start, b.start) and same(a.end, b.end):
        return _Point(a.start, a.end, (a.t + b.t) / 2)
    if turns and same(a.start, b.end) and same(a.end, b.start):
        return _Point(a.start, a.end, (a.t + 1 - b.t) / 2)
    if same(a.end, b.start):
        left = 1 - a.t
        half = (left + b.t) / 2
        if half <= left:
            return _point(a.start, a.end, a.t + half, same)
        return _point(b.start, b.end, half - left, same)
    raise _ApartError


def _blend(a: Blend, b: Blend) -> Blend:
    first, second = (_point(each.start, each.end, each.t, _equal) for each in (a, b))
    if first.end is not None and second.end is not None:
        if (a.method, a.centre) != (b.method, b.centre):
            raise _ApartError
        if (a.start, a.end) == (b.start, b.end) and a.curve != b.curve:
            raise _ApartError
    found = _half(first, second, turns=a.curve is None and b.curve is None)
    if found.end is None:
        return Blend(found.start)
    for blend, point in ((a, first), (b, second)):
        if (point.start, point.end) == (found.start, found.end):
            return replace(blend, t=found.t)
    return Blend(found.start, found.end, found.t)


def _noise(a: Noise | Mixture, b: Noise | Mixture) -> Noise | Mixture:
    if a == b:
        return a
    if isinstance(a, Noise) and isinstance(b, Noise):
        first, second = (_point(each.start, each.end, each.t, _equal) for each in (a, b))
        try:
            found = _half(first, second)
        except _ApartError:
            return _mixed(a, b)
        return Noise(found.start, found.end, found.t)
    return _mixed(a, b)


def _mixed(a: Noise | Mixture, b: Noise | Mixture) -> Noise | Mixture:
    """Half way on the sphere of the weights of seeds."""
    total: dict[int, float] = {}
    for noise in (a, b):
        for seed, weight in _terms(noise):
            total[seed] = total.get(seed, 0.0) + weight
    length = math.hypot(*total.values())
    if length < _NOTHING:
        raise _ApartError
    terms = as_terms(list(total), [weight / length for weight in total.values()])
    return Noise(terms[0][0]) if terms == ((terms[0][0], 1.0),) else Mixture(terms)


def _terms(noise: Noise | Mixture) -> Terms:
    if isinstance(noise, Mixture):
        return noise.terms
    start, end = noise.start, noise.start if noise.end is None else noise.end
    if isinstance(start, Inversion) or isinstance(end, Inversion):
        raise _ApartError
    return seed_arc(start, end, noise.t)


def _trunk(before: Shot, after: Shot, noise: Noise | Mixture) -> Trunk | None:
    a, b = before.trunk, after.trunk
    if a == b:
        return a
    longer = max((trunk for trunk in (a, b) if trunk), key=lambda trunk: trunk.steps)
    if a is not None and b is not None and replace(a, steps=b.steps) != b:
        return None
    if (a is None or b is None) and longer.noise != noise:
        return None
    steps = sum(trunk.steps for trunk in (a, b) if trunk)
    return replace(longer, steps=(steps + 1) // 2)


def _sizes(a: Sizes | None, b: Sizes | None) -> Sizes | None:
    if a is None and b is None:
        return None
    if a is None or b is None:
        raise _ApartError
    return a.towards(b, 0.5)


def _image(
    a: Image | Crossfade | Following | None, b: Image | Crossfade | Following | None
) -> Image | Crossfade | None:
    if a is None and b is None:
        return None
    if a is None or b is None or isinstance(a, Following) or isinstance(b, Following):
        raise _ApartError
    points: list[_Point[Image]] = [
        _point(each.start, each.end, each.t, _identical)
        if isinstance(each, Crossfade)
        else _Point(each)
        for each in (a, b)
    ]
    found = _half(points[0], points[1], _identical)
    return found.start if found.end is None else Crossfade(found.start, found.end, found.t)
