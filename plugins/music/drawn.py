"""Pictures of spectrograms that music begins from: those of its own, Riffusion's, or painted ones.

Without EXIF tags a picture as high as there are bands is taken as it is, any other one as
Riffusion's: 10 ms a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdcreative import DataError, SpectrogramParams

if TYPE_CHECKING:
    from PIL.Image import Image


def read_drawn(path: str, params: SpectrogramParams) -> tuple[list[Image], float]:
    """A picture as sides of grey, one or left and right, and the seconds of a column.

    Args:
        path: of the file.
        params: the bands; the sides become as high.

    Raises:
        DataError: it cannot be read, or its tags make no sense.
    """
    from PIL import Image as Pictures

    from sdcreative import read_picture

    file = Path(path).expanduser()
    picture = read_picture(file)
    with Pictures.open(file) as opened:
        exif = opened.getexif()
    try:
        found = SpectrogramParams.from_exif(exif)
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    step_ms = found.step_ms if exif or picture.height != params.bands else params.step_ms
    if picture.height != params.bands:
        picture = picture.resize((picture.width, params.bands), Pictures.Resampling.LANCZOS)
    sides = list(picture.split()[1:]) if found.stereo else [picture.convert("L")]
    return sides, step_ms / 1000


def read_mask(path: str) -> Image:
    """A mask in grey, white where something is painted.

    Raises:
        DataError: it cannot be read, or is black all over.
    """
    from sdcreative import read_picture

    mask = read_picture(Path(path).expanduser(), None, "L")
    if mask.getextrema()[1] == 0:
        raise DataError(f"{path}: is black all over, so that nothing is painted; make parts white")
    return mask


def fitted(mask: Image, size: tuple[int, int]) -> Image:
    """A mask that covers a picture of a size; what juts out is cut off evenly."""
    from PIL import Image as Pictures
    from PIL import ImageOps

    return ImageOps.fit(mask, size, Pictures.Resampling.LANCZOS)


def louder(sides: Sequence[Image]) -> Image:
    """One side of several: the darkest of them everywhere."""
    from PIL import ImageChops

    darkest = sides[0]
    for other in sides[1:]:
        darkest = ImageChops.darker(darkest, other)
    return darkest


def cut(picture: Image, columns: int, first: int, width: int) -> Image:
    """Columns of a picture that begins again at its end.

    Args:
        picture: in one colour or three.
        columns: that it is stretched to before.
        first: the first one that is wanted, from 0.
        width: how many.
    """
    import numpy as np
    from PIL import Image as Pictures

    if picture.width != columns:
        picture = picture.resize((columns, picture.height), Pictures.Resampling.LANCZOS)
    places = (first + np.arange(width)) % columns
    return Pictures.fromarray(np.asarray(picture)[:, places])
