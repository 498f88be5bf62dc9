"""`colour_match`: every picture in the colours of the first, or of a picture of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field

from ..errors import DataError
from ..settings import Strict
from ..tools import Film, Processor

if TYPE_CHECKING:
    from PIL.Image import Image


class ColourMatchSettings(Strict):
    """What a preset says to ``colour_match``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    reference: Annotated[str, Field(min_length=1)] | None = None
    """picture whose colours all take; the film's first if left out"""
    method: Literal["lab", "histogram"] = "lab"
    """lab matches means and deviations in CIELAB, histogram how often each level of red, green
    and blue occurs"""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """0 leaves all as it is"""


def match_histograms(picture: Image, reference: Image, strength: float = 1.0) -> Image:
    """A picture whose channels have the distributions of another's.

    Every level becomes the lowest one that at least as large a share of the reference does not
    exceed; R. C. Gonzalez and R. E. Woods, "Digital Image Processing", section on histogram
    specification. It counts in whole numbers: a picture that differs from the reference by a
    strictly increasing curve in each channel becomes the reference exactly.

    Args:
        picture: RGB.
        reference: RGB, of any size.
        strength: in [0, 1]; 0 gives the picture back.
    """
    import numpy

    seen = numpy.asarray(picture.histogram(), dtype=numpy.int64).reshape(3, 256).cumsum(axis=1)
    wanted = numpy.asarray(reference.histogram(), dtype=numpy.int64).reshape(3, 256).cumsum(axis=1)
    # Shares of the two pictures, over one denominator.
    seen, wanted = seen * wanted[:, -1:], wanted * seen[:, -1:]
    levels = numpy.arange(256)
    matched = numpy.stack([numpy.searchsorted(w, s) for w, s in zip(wanted, seen, strict=True)])
    table = numpy.rint(levels + strength * (matched - levels)).astype(int)
    return picture.point(table.ravel().tolist())


def _match_lab(picture: Image, reference: Image, strength: float) -> Image:
    import numpy
    from PIL import Image

    from ..core.motion import match_colours

    if strength == 0:
        return picture
    matched = match_colours(picture, reference, "lab")
    if strength == 1:
        return matched
    before, after = (numpy.asarray(each, dtype=numpy.float32) for each in (picture, matched))
    mixed = numpy.rint(before + strength * (after - before))
    return Image.fromarray(mixed.astype(numpy.uint8))


def _plan(settings: ColourMatchSettings, film: Film) -> Film:
    if settings.reference is not None and not Path(_path(settings.reference)).is_file():
        raise DataError(f"colour_match: there is no file {settings.reference} to match")
    return film


def _process(
    settings: ColourMatchSettings, film: Film, pictures: Iterable[Image]
) -> Iterator[Image]:
    reference = None
    if settings.reference is not None:
        from ..media.image import read_picture

        reference = read_picture(_path(settings.reference))
    match = _match_lab if settings.method == "lab" else match_histograms
    for picture in pictures:
        if reference is None:
            reference = picture
            yield picture
        else:
            yield match(picture, reference, settings.strength)


def _path(reference: str) -> str:
    return os.path.expanduser(reference)


COLOUR_MATCH = Processor(
    name="colour_match",
    summary="Give every picture the colours of the first, or of a picture of your own.",
    settings=ColourMatchSettings,
    plan=_plan,
    process=_process,
)
