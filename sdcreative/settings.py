"""The settings that tools have in common; every tool's settings derive from one of these."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, field_validator

from .core.feature_caching import FAST
from .core.large import Tiling
from .core.spacing import Spacing
from .core.timeline import Linears
from .setting_groups import (
    CacheSettings,
    EmbeddingUse,
    GuidanceSettings,
    HiresSettings,
    LoraUse,
    Name,
    Size,
    SizesSettings,
    Swap,
    as_value_error,
)
from .setting_groups import Strict as Strict


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError(f"{name!r} is no device; choose auto, cpu, mps, cuda or cuda:1")
    return name


Device = Annotated[str, AfterValidator(_known_device)]


def _processors(value: list[Any]) -> list[Any]:
    if value:
        from .processors import check_processors

        check_processors(value)
    return value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


PREVIEW_STEPS = 6
"""of a preview, at most: they come as near to the film as its decoder does (docs/previews.md)"""

PLACES = {
    "output",
    "also",
    "device",
    "batch_size",
    "offline",
    "models_dir",
    "low_memory",
    "encoder",
    "compile",
}
"""Keys of RenderSettings that say where and how fast, not what."""


class RenderSettings(Strict):
    """What every tool that makes pictures is told."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: Annotated[str, Field(min_length=1)] = "emoji"
    """built-in name, folder of a diffusers model, checkpoint file, or id on the Hugging Face hub"""
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    """what the model predicts, whatever it says; decides between files of Stable Diffusion 2"""
    ema: bool = False
    """the averaged weights (EMA) of a checkpoint file that also has the last ones"""
    loras: list[Annotated[LoraUse, BeforeValidator(_as_file)]] = Field(default=[])
    """added to the model; <lora:name:0.8> in a prompt is the same"""
    embeddings: list[Annotated[EmbeddingUse, BeforeValidator(_as_file)]] = Field(default=[])
    """new words for prompts, learned by textual inversion"""
    models_dir: Annotated[list[Name], BeforeValidator(_as_list)] = Field(default=[])
    """folders where models, LoRAs and embeddings are found by name; ComfyUI's and A1111's too"""
    swap: Swap = Swap()
    """parts that come from elsewhere: vae, scheduler, text_encoder"""
    clip_skip: Annotated[int, Field(ge=1, le=24)] = 1
    """layer of the text encoder, counted from the last: 2 is A1111's "clip skip 2" """
    sampler: str = "DPM++ 2M"
    """such as Euler a or DPM++ 2M Karras; case, spaces and hyphens do not matter"""
    spacing: Spacing = "auto"
    """how timesteps lie; auto is the model's own, few-step models often want trailing"""
    eta: Annotated[float, Field(ge=0, le=1)] | None = None
    """of sampler TCD: share of new noise in every step; 0.3 if left out"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """sampling steps"""
    preview: bool = False
    """few steps and a quick decoder, to see how a film moves"""
    size: Size | None = None
    """pixels, or WIDTHxHEIGHT; the model's own if left out"""
    seed: Annotated[int, Field(ge=-1, lt=2**32)] = 0
    """-1 draws one and prints it; torch's CPU generator knows 32 bits"""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 7.5
    """how closely to follow the prompt; 1 switches guidance off"""
    prompt_syntax: Literal["a1111", "plain"] = "a1111"
    """a1111 reads (word:1.2), [a:b:0.5], AND, {a|b} in prompts; plain takes them as text"""
    guidance: GuidanceSettings = GuidanceSettings()
    """rescale, interval and schedule of guidance"""
    speed: Literal["exact", "fast"] = "exact"
    """fast sets cache and guidance.interval where these are not given, and changes pictures"""
    cache: CacheSettings | None = None
    """deep features of the model that are reused from step to step"""
    sizes: SizesSettings | None = None
    """what Stable Diffusion XL is told of sizes; those of the film if left out"""
    tile: Annotated[int, Field(ge=8)] | None = None
    """side in pixels of overlapping windows, for sizes larger than the model's own"""
    tile_overlap: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    """share of a window's side that neighbours have in common"""
    hires: HiresSettings | None = None
    """a second pass in a larger size"""
    safety: Literal["off", "report", "stop"] = "off"
    """what the model's safety checker leads to, where it has one"""
    process: Annotated[list[str | dict[str, Any]], AfterValidator(_processors)] = Field(default=[])
    """what is done with the pictures before they are written, such as deflicker"""
    output: Annotated[str, Field(min_length=1)] | None = None
    """file to write; its ending chooses the format"""
    device: Device = "auto"
    """auto, cpu, mps, cuda or cuda:1"""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto is float16 on CUDA and float32 elsewhere"""
    linears: Linears = "auto"
    """float8 multiplies the denoiser's matrices in 8 bits, on CUDA devices that can"""
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """pictures denoised together; suited to device and size if left out"""
    compile: Literal["auto", "on", "off"] = "auto"
    """layers of the model to faster code, before the first picture; auto: long films on CUDA"""
    low_memory: bool = False
    """keep only the part of the model that is at work on the device, and decode in tiles"""
    encoder: Literal["software", "auto", "nvenc", "qsv", "vaapi", "videotoolbox"] = "software"
    """of .mp4, .mov and .mkv; software is the same everywhere, auto takes hardware that works"""
    offline: bool = False
    """never ask the model hub"""

    @property
    def reading(self) -> Literal["weighted", "plain"]:
        """How a timeline reads its prompts."""
        return "plain" if self.prompt_syntax == "plain" else "weighted"

    def sampling(self) -> dict[str, Any]:
        """Fields of a timeline that these settings decide, whichever tool made it."""
        fast = self.speed == "fast"
        return {
            "prompts": self.reading,
            "clip_skip": self.clip_skip,
            "guidance": self.guidance.style(fast),
            "sizes": self.sizes and self.sizes.told(),
            "tiling": None if self.tile is None else Tiling(self.tile, self.tile_overlap),
            "hires": None if self.preview else self.hires and self.hires.asked(),
            "caching": self.cache.asked() if self.cache else FAST if fast else None,
            "spacing": self.spacing,
            "eta": self.eta,
            "linears": self.linears,
            "preview": self.preview,
        }

    def drafted(self) -> RenderSettings:
        """The same in few steps, where a preview is wanted."""
        if not self.preview or self.steps <= PREVIEW_STEPS:
            return self
        return self.model_copy(update={"steps": PREVIEW_STEPS})

    @property
    def beside(self) -> tuple[str, ...]:
        """Files that are written beside ``output``."""
        return ()

    @field_validator("sampler")
    @classmethod
    def _canonical(cls, name: str) -> str:
        from .models.sampler_names import canonical

        with as_value_error():
            return canonical(name)
