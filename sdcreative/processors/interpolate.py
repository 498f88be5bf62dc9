"""`interpolate`: more pictures a second, made by following what moves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, model_validator

from ..errors import ModelError, UsageError
from ..settings import Device, Strict
from ..tools import Film, Processor

if TYPE_CHECKING:
    from PIL.Image import Image


class InterpolateSettings(Strict):
    """What a preset says to ``interpolate``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    factor: Annotated[int, Field(ge=2, le=16)] = 2
    """times as many pictures a second; the film lasts as long as before"""
    weights: Annotated[str, Field(min_length=1)] | None = None
    """RIFE 4.5 or 4.6: flownet.pkl as published by Practical-RIFE, or as .safetensors"""
    device: Device = "auto"
    """auto, cpu, mps, cuda or cuda:1"""

    @model_validator(mode="after")
    def _has_weights(self) -> InterpolateSettings:
        if self.weights is None:
            raise ValueError(
                "missing key 'weights': a file of RIFE 4.6 weights (flownet.pkl); "
                "'inbetween:' of animate, which blends latents, needs none"
            )
        return self


def _plan(settings: InterpolateSettings, film: Film) -> Film:
    if film.length < 2:
        raise UsageError("interpolate: there is nothing between 1 picture; leave it out")
    if not _path(settings).is_file():
        raise ModelError(
            f"interpolate: there is no file {settings.weights}; get flownet.pkl of RIFE 4.6 from "
            "https://github.com/hzwer/Practical-RIFE"
        )
    gaps = film.length if film.closed else film.length - 1
    length = film.length + gaps * (settings.factor - 1)
    return Film(film.size, length, film.fps * settings.factor, film.closed)


def _process(
    settings: InterpolateSettings, film: Film, pictures: Iterable[Image]
) -> Iterator[Image]:
    """The pictures themselves, and ``factor - 1`` in every gap; in a loop, after the last too."""
    from .rife import Interpolator

    interpolator = Interpolator(_path(settings), settings.device)
    places = [number / settings.factor for number in range(1, settings.factor)]
    first: Image | None = None
    before: Image | None = None
    for picture in pictures:
        if before is not None:
            yield from interpolator.between(before, picture, places)
        yield picture
        first, before = first or picture, picture
    if film.closed and before is not None and first is not None:
        yield from interpolator.between(before, first, places)


def _path(settings: InterpolateSettings) -> Path:
    return Path(os.path.expanduser(str(settings.weights)))


INTERPOLATE = Processor(
    name="interpolate",
    summary="Make more pictures a second with RIFE; needs its weights.",
    settings=InterpolateSettings,
    plan=_plan,
    process=_process,
)
