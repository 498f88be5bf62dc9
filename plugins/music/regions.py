"""Parts of a spectrogram to masks, and to the stretches of sound that they leave alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdcreative import UsageError

from .settings import Region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from sdcreative import SpectrogramParams


def check_regions(regions: Sequence[Region], columns: int, params: SpectrogramParams) -> None:
    """Refuse regions in which nothing lies.

    Args:
        regions: in seconds and Hz.
        columns: of the whole.
        params: the bands.

    Raises:
        UsageError: one that is over before the next column or band, or lies outside.
    """
    for number, region in enumerate(regions):
        times, bands = _inside(region, 0, columns, params)
        if not times.any():
            raise UsageError(
                f"repaint.{number}.seconds: no column lies in {_said(region.seconds)}; there is "
                f"one every {params.step_ms} ms from 0 to {params.seconds(columns):g} s"
            )
        if not bands.any():
            raise UsageError(
                f"repaint.{number}.hz: no band lies in {_said(region.hz)}; the {params.bands} "
                f"bands are from {params.min_hz:g} to {params.max_hz:g} Hz, wider the higher"
            )


def _said(pair: Sequence[float] | None) -> str:
    return " to ".join(f"{number:g}" for number in pair or ())


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

    mask = np.zeros((params.bands, width), bool)
    for region in regions:
        times, bands = _inside(region, first, width, params)
        mask |= bands[:, None] & times
    return Pictures.fromarray(np.where(mask, 255, 0).astype(np.uint8)) if mask.any() else None


def _inside(
    region: Region, first: int, width: int, params: SpectrogramParams
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which columns, and which rows from the top, are in a region."""
    import numpy as np

    times, bands = np.ones(width, bool), np.ones(params.bands, bool)
    if region.seconds is not None:
        seconds = (first + np.arange(width)) * params.hop_length / params.sample_rate
        times = (region.seconds[0] <= seconds) & (seconds < region.seconds[1])
    if region.hz is not None:
        # A band is where its triangle has its top.
        tops = np.array(params.corners()[-2:0:-1])
        bands = (region.hz[0] <= tops) & (tops < region.hz[1])
    return times, bands


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
