"""Parts of a spectrogram to masks, and to the stretches of sound that they leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .settings import Region

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative import SpectrogramParams


def region_mask(
    regions: Sequence[Region], first: int, width: int, params: SpectrogramParams
) -> Image | None:
    """Where a picture is painted anew: L, white in any of the regions; None if nowhere.

    Args:
        regions: in seconds and Hz.
        first: the picture's first column.
        width: of the picture.
        params: the bands.
    """
    import numpy as np
    from PIL import Image as Pictures

    seconds = (first + np.arange(width)) * params.hop_length / params.sample_rate
    # A band is where its triangle has its top.
    tops = np.array(params.corners()[1:-1])[::-1]
    mask = np.zeros((params.bands, width), bool)
    for region in regions:
        columns = np.ones(width, bool)
        rows = np.ones(params.bands, bool)
        if region.seconds is not None:
            columns = (region.seconds[0] <= seconds) & (seconds < region.seconds[1])
        if region.hz is not None:
            rows = (region.hz[0] <= tops) & (tops < region.hz[1])
        mask |= rows[:, None] & columns
    return Pictures.fromarray(np.where(mask, 255, 0).astype(np.uint8)) if mask.any() else None


def kept_spans(
    regions: Sequence[Region], seconds: float, params: SpectrogramParams
) -> tuple[tuple[float, float], ...]:
    """(from, to) in seconds where no region is, nor the half of a window that blurs it.

    Args:
        regions: those without a time leave nothing.
        seconds: length of the whole.
        params: the window.
    """
    margin = params.window_ms / 2000
    taken = sorted(
        (region.seconds[0] - margin, region.seconds[1] + margin)
        if region.seconds is not None
        else (0.0, seconds)
        for region in regions
    )
    kept, at = [], 0.0
    for start, end in taken:
        if start > at:
            kept.append((at, min(start, seconds)))
        at = max(at, end)
    if at < seconds:
        kept.append((at, seconds))
    return tuple(span for span in kept if span[1] > span[0])
