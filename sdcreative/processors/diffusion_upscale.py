"""`diffusion_upscale`: pictures four times as large, detail drawn by a diffusion model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from ..errors import ModelError, UsageError
from ..presets.faults import SettingError
from ..settings import Device, Strict
from ..tools import Film, Processor

if TYPE_CHECKING:
    from PIL.Image import Image

FACTOR = 4


class DiffusionUpscaleSettings(Strict):
    """What a preset says to ``diffusion_upscale``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: Annotated[str, Field(min_length=1)] | None = None
    """folder of a Stable Diffusion x4 upscaler"""
    prompt: str = ""
    """what the pictures show; detail follows it"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    noise_level: Annotated[int, Field(ge=0, le=999)] = 20
    """noise put into the small picture: more lets the model invent more"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 30
    """sampling steps of each picture"""
    sampler: str = "DDIM"
    """such as DPM++ 2M"""
    guidance_scale: Annotated[float, Field(ge=1, le=100)] = 9.0
    """how closely to follow the prompt; 1 switches guidance off"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """of the noise, which is the same for all pictures of a film"""
    tile: Annotated[int, Field(ge=16, le=4096)] = 128
    """side of the windows in pixels of the small picture; the model was trained with 128"""
    tile_overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    """what neighbouring windows share at least, as a share of a side"""
    device: Device = "auto"
    """auto, cpu, mps, cuda or cuda:1"""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto is float16 on CUDA and float32 elsewhere"""

    @field_validator("sampler")
    @classmethod
    def _canonical(cls, name: str) -> str:
        from ..models.sampler_names import canonical

        try:
            return canonical(name)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _has_a_model(self) -> DiffusionUpscaleSettings:
        if self.model is None:
            raise ValueError(
                "missing key 'model': a Stable Diffusion x4 upscaler; 'upscale' needs none"
            )
        return self

    @model_validator(mode="after")
    def _sampler_takes_the_steps(self) -> DiffusionUpscaleSettings:
        from ..models.sampler_names import check_steps

        try:
            check_steps(self.sampler, self.steps)
        except UsageError as error:
            raise SettingError(str(error), "steps") from error
        return self


def _plan(settings: DiffusionUpscaleSettings, film: Film) -> Film:
    from ..models.upscaler import check_upscaler

    check_upscaler(_folder(settings))
    width, height = film.size
    return Film((width * FACTOR, height * FACTOR), film.length, film.fps, film.closed)


def _process(
    settings: DiffusionUpscaleSettings, film: Film, pictures: Iterable[Image]
) -> Iterator[Image]:
    from ..models.placement import pick_device, pick_dtype
    from ..models.upscaler import load_upscaler
    from .diffusion_enlarger import DiffusionEnlarger

    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    upscaler = load_upscaler(_folder(settings), device=device, dtype=dtype)
    enlarger = DiffusionEnlarger(upscaler, settings)
    for picture in pictures:
        yield enlarger.enlarge(picture)


def _folder(settings: DiffusionUpscaleSettings) -> Path:
    path = Path(os.path.expanduser(str(settings.model)))
    if path.is_dir():
        return path
    if path.is_file():
        raise ModelError(
            f"diffusion_upscale: {path} is a single file; give the folder that holds "
            "model_index.json, unet/, vae/ and so on"
        )
    raise ModelError(
        f"diffusion_upscale: there is no folder {path}; where there is a network, run "
        "`hf download stabilityai/stable-diffusion-x4-upscaler --local-dir FOLDER`, and give that"
    )


DIFFUSION_UPSCALE = Processor(
    name="diffusion_upscale",
    summary="Make pictures 4 times as large with a Stable Diffusion upscaler; needs its weights.",
    settings=DiffusionUpscaleSettings,
    plan=_plan,
    process=_process,
)
