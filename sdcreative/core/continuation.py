"""What shots start from that are made of pictures before: moved ones, and ones that go on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import UsageError
from .motion import followed
from .shots import Continuation, Follow, Shot

if TYPE_CHECKING:
    from PIL.Image import Image

RAMP = 8
"""Columns of what is kept over which it changes into what is painted; a latent is as wide."""


def begun(shot: Shot, before: Image, first: Image) -> Shot:
    """A shot that looks back, with the picture that it starts from.

    Args:
        shot: any other one stays as it is.
        before: RGB, the picture of the shot before, of its own voice.
        first: RGB, the first picture of its voice.

    Raises:
        UsageError: a motion or a continuation that no picture can make.
    """
    if isinstance(shot.image, Follow):
        return replace(shot, image=followed(shot.image, before, first))
    if isinstance(shot.image, Continuation):
        image, mask = continued(shot.image, before, first, shot.mask)
        return replace(shot, image=image, mask=mask)
    return shot


def continued(
    continuation: Continuation, before: Image, first: Image, mask: Image | None = None
) -> tuple[Image, Image]:
    """The start picture and the mask of a shot that goes on from another.

    Args:
        continuation: what they share.
        before: RGB, the picture of the shot before.
        first: RGB, the film's first picture, of the same size.
        mask: what of the rest is painted, white where it is; None paints all of it.

    Returns:
        RGB, and L that is black where the picture is kept and white where it is painted.

    Raises:
        UsageError: nothing is shared, or nothing is left to paint.
    """
    from PIL import Image as Pictures
    from PIL import ImageOps

    width, height = before.size
    overlap, closing = continuation.overlap, continuation.closing
    if overlap < 1 or closing < 0 or overlap + closing >= width:
        raise UsageError(
            f"a continuation with {overlap} + {closing} of {width} columns kept; "
            "give some, and leave some to paint"
        )
    shared = np.asarray(before.convert("RGB"))[:, width - overlap :]
    if continuation.image is None:
        pixels = np.tile(shared, (1, -(-width // overlap), 1))[:, :width].copy()
    else:
        fitted = ImageOps.fit(
            continuation.image.convert("RGB"), before.size, Pictures.Resampling.LANCZOS
        )
        pixels = np.array(fitted)
        pixels[:, :overlap] = shared
    painted = np.full((height, width), 255, np.uint8)
    if mask is not None:
        fitted = ImageOps.fit(mask.convert("L"), before.size, Pictures.Resampling.LANCZOS)
        painted = np.array(fitted)
    _keep(painted, overlap)
    if closing:
        pixels[:, width - closing :] = np.asarray(first.convert("RGB"))[:, :closing]
        _keep(painted[:, ::-1], closing)
    return Pictures.fromarray(pixels), Pictures.fromarray(painted)


def _keep(mask: np.ndarray[tuple[int, int], np.dtype[np.uint8]], columns: int) -> None:
    """Blacken the first columns of a mask; its last ones lead over to what follows."""
    ramp = min(RAMP, columns)
    mask[:, : columns - ramp] = 0
    rising = (np.arange(1, ramp + 1) / (ramp + 1))[None]
    part = mask[:, columns - ramp : columns]
    part[:] = np.rint(part * rising).astype(np.uint8)
