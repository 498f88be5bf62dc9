"""Start pictures between keyframes that show pictures: which, and how much is painted anew."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdcreative import Crossfade

if TYPE_CHECKING:
    from PIL.Image import Image

    from .scenes import Scene


def start_picture(
    start: Scene, end: Scene, t: float, strength: float
) -> tuple[Image | Crossfade | None, float]:
    """The start picture between two keyframes, and how much of it is painted anew.

    From picture to picture they are crossfaded, and the share goes along half a sine: 0 at both,
    ``strength`` half way. From a picture to a plain prompt it goes along a quarter of a sine, up to
    1, where nothing is left of the picture; and back likewise.

    Args:
        t: place between them, in [0, 1].
        strength: between two pictures, in [0, 1].

    Returns:
        (picture, share in [0, 1]); exactly 0 on a keyframe with a picture, and (None, 1.0) where
        there is none to start from.
    """
    if t in (0, 1):
        there = (end if t else start).picture
        return there, 1.0 if there is None else 0.0
    if start.picture is not None and end.picture is not None:
        share = strength * math.sin(math.pi * t)
        if start.picture is end.picture:
            return start.picture, share
        return Crossfade(start.picture, end.picture, t), share
    if start.picture is not None:
        return start.picture, math.sin(math.pi / 2 * t)
    if end.picture is not None:
        return end.picture, math.cos(math.pi / 2 * t)
    return None, 1.0
