"""The settings that tools have in common; every tool's settings derive from one of these."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
)

from .errors import UsageError


def _known_device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError(f"{name!r} is no device; choose auto, cpu, mps, cuda or cuda:1")
    return name


Device = Annotated[str, AfterValidator(_known_device)]


def parse_size(value: Any) -> tuple[int, int]:
    """(width, height) from 512, "512", "768x512" or [768, 512]; at least 8 pixels a side."""
    numbers: Any = value
    if isinstance(value, int) and not isinstance(value, bool):
        numbers = [value, value]
    elif isinstance(value, str) and (match := re.fullmatch(r"(\d{1,5})(?:[xX](\d{1,5}))?", value)):
        numbers = [int(match[1]), int(match[2] or match[1])]
    pair = list(numbers) if isinstance(numbers, list | tuple) else []
    if len(pair) != 2 or not all(type(n) is int and n >= 8 for n in pair):
        raise ValueError(f"{value!r} is not a size; give pixels (512) or WIDTHxHEIGHT (768x512)")
    return pair[0], pair[1]


Size = Annotated[
    tuple[int, int],
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 8},
                {"type": "string", "pattern": r"^\d{1,5}([xX]\d{1,5})?$"},
                {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]


class Strict(BaseModel):
    """Settings without guessing: unknown keys, wrong types, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _processors(value: list[Any]) -> list[Any]:
    if value:
        from .processors import check_processors

        check_processors(value)
    return value


Scale = Annotated[float, Field(ge=-10, le=10)]


class LoraUse(Strict):
    """A LoRA, and how strongly it acts."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[str, Field(min_length=1)]
    """a file, or a name in ``addon_folders``"""
    scale: Scale = 1.0
    """of what it adds; 0 leaves it out"""
    text_scale: Scale | None = None
    """of what it adds to the text encoder; the same if left out"""


class EmbeddingUse(Strict):
    """A textual-inversion embedding, and the word for it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[str, Field(min_length=1)]
    """a file, or a name in ``addon_folders``"""
    token: Annotated[str, Field(min_length=1)] | None = None
    """the word in prompts; the file's own if left out"""


def _as_file(value: Any) -> Any:
    return {"file": value} if isinstance(value, str) else value


PLACES = {"output", "also", "device", "batch_size", "offline"}
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
    loras: list[Annotated[LoraUse, BeforeValidator(_as_file)]] = []
    """added to the model; <lora:name:0.8> in a prompt is the same"""
    embeddings: list[Annotated[EmbeddingUse, BeforeValidator(_as_file)]] = []
    """new words for prompts, learned by textual inversion"""
    addon_folders: list[str] = []
    """where LoRAs and embeddings are found by their names; ComfyUI's and A1111's folders too"""
    sampler: str = "DPM++ 2M"
    """such as Euler a or DPM++ 2M Karras; case, spaces and hyphens do not matter"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    """sampling steps"""
    size: Size | None = None
    """pixels, or WIDTHxHEIGHT; the model's own if left out"""
    seed: Annotated[int, Field(ge=-1, lt=2**32)] = 0
    """-1 draws one and prints it; torch's CPU generator knows 32 bits"""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 7.5
    """how closely to follow the prompt; 1 switches guidance off"""
    prompt_syntax: Literal["a1111", "plain"] = "a1111"
    """a1111 reads (word:1.2), [a:b:0.5], AND, {a|b} in prompts; plain takes them as text"""
    process: Annotated[list[str | dict[str, Any]], AfterValidator(_processors)] = []
    """what is done with the pictures before they are written, such as deflicker"""
    output: Annotated[str, Field(min_length=1)] | None = None
    """file to write; its ending chooses the format"""
    device: Device = "auto"
    """auto, cpu, mps, cuda or cuda:1"""
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """auto is float16 on CUDA and float32 elsewhere"""
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """pictures denoised together; suited to device and size if left out"""
    offline: bool = False
    """never ask the model hub"""

    @property
    def reading(self) -> Literal["weighted", "plain"]:
        """How a timeline reads its prompts."""
        return "plain" if self.prompt_syntax == "plain" else "weighted"

    @property
    def beside(self) -> tuple[str, ...]:
        """Files that are written beside ``output``."""
        return ()

    @field_validator("sampler")
    @classmethod
    def _canonical(cls, name: str) -> str:
        from .models.sampler_names import canonical

        try:
            return canonical(name)
        except UsageError as error:
            raise ValueError(str(error)) from error
