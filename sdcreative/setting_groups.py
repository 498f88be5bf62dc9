"""Groups of settings within those that tools have in common."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from .core.feature_caching import FAST, FAST_INTERVAL, Caching
from .core.guidance_style import GuidanceStyle
from .core.large import LARGEST, Hires, Upscale
from .core.shots import Sizes
from .errors import UsageError


class Strict(BaseModel):
    """Settings without guessing: unknown keys, wrong types, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


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


Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Scale = Annotated[float, Field(ge=-10, le=10)]


class LoraUse(Strict):
    """A LoRA, and how strongly it acts."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Name
    """a file, or a name in ``models_dir``"""
    scale: Scale = 1.0
    """of what it adds; 0 leaves it out"""
    text_scale: Scale | None = None
    """of what it adds to the text encoder; the same if left out"""


class EmbeddingUse(Strict):
    """A textual-inversion embedding, and the word for it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Name
    """a file, or a name in ``models_dir``"""
    token: Name | None = None
    """the word in prompts; the file's own if left out"""


class Swap(Strict):
    """Parts that come from elsewhere than the model."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    vae: Name | None = None
    """autoencoder: a folder, a file, a name in ``models_dir``, or an id on the hub"""
    scheduler: Name | None = None
    """folder or JSON file of a noise schedule"""
    text_encoder: Name | None = None
    """folder or file"""
    text_encoder_2: Name | None = None
    """the second one of Stable Diffusion XL and 3"""
    text_encoder_3: Name | None = None
    """T5 of Stable Diffusion 3"""
    tokenizer_3: Name | None = None
    """folder of T5's tokenizer, which no checkpoint file holds; that of the model if left out"""

    def named(self) -> dict[str, str]:
        """Part -> where it is to come from."""
        return {part: place for part, place in self.model_dump().items() if place is not None}


class SizesSettings(Strict):
    """What Stable Diffusion XL is told of the sizes of a picture."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    original: Size
    """of the picture before it was scaled down; small ones look coarse"""
    crop: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    """pixels cut off at the left and the top; 0, 0 shows things whole"""
    target: Size | None = None
    """that it is shown in; the film's own if left out"""

    def told(self) -> Sizes:
        """The same for a timeline."""
        return Sizes(self.original, self.crop, self.target)


class GuidanceSettings(Strict):
    """How guidance acts beside its scale; see ``docs/sampling.md``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    rescale: Share = 0.0
    """how far contrast is brought back to that of the unguided picture"""
    interval: tuple[Share, Share] | None = None
    """shares of the steps between which there is guidance; all of them, or what speed fast says, if
    left out"""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """how the scale grows over the steps, its mean being what was asked for"""
    clamp: Annotated[float, Field(ge=1)] = 1.0
    """scale that a schedule does not go below"""
    parallel: Share = 1.0
    """what is kept of guidance that only saturates (eta of adaptive projected guidance)"""
    norm: Annotated[float, Field(gt=0)] | None = None
    """longest step of guidance in all latents of a picture (r of the same)"""

    @model_validator(mode="after")
    def _makes_sense(self) -> GuidanceSettings:
        with as_value_error():
            self.style()
        return self

    def style(self, fast: bool = False) -> GuidanceStyle:
        """The same for a timeline; ``fast`` decides the interval where it is not given."""
        given = self.model_dump(exclude_none=True)
        return GuidanceStyle(**({"interval": FAST_INTERVAL} if fast else {}) | given)


class CacheSettings(Strict):
    """Deep features reused from step to step (DeepCache); see ``docs/speed.md``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    every: Annotated[int, Field(ge=1, le=1000)] = FAST.every
    """one call of the model in so many is made in full; 1 switches caching off"""
    schedule: Literal["uniform", "centred"] = FAST.schedule
    """full calls evenly apart, or as many close together around ``centre``"""
    depth: Annotated[int, Field(ge=1, le=100)] = FAST.depth
    """layers of the U-Net that the other calls evaluate, counted from its end"""
    first: Annotated[int, Field(ge=0, le=1000)] = FAST.first
    """the step from which on features are reused, counted from 0"""
    centre: Share = FAST.centre
    """share of the steps around which a centred schedule is dense"""
    power: Annotated[float, Field(ge=1, le=10)] = FAST.power
    """how dense it is there; 1 is uniform"""

    def asked(self) -> Caching | None:
        """The same for a timeline."""
        return None if self.every == 1 else Caching(**self.model_dump())


class HiresSettings(Strict):
    """A second pass in a larger size."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    scale: Annotated[float, Field(gt=1, le=LARGEST)] = 2.0
    """of both sides"""
    size: Size | None = None
    """WIDTHxHEIGHT instead of a scale"""
    strength: Share = 0.5
    """share of the steps that is done again"""
    steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    """of the second pass; as many as in the first if left out"""
    upscale: Upscale = "latent"
    """latents as they are, or pictures (image, realesrgan-...) that are encoded again"""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """of the second pass"""

    def asked(self) -> Hires:
        """The same for a timeline."""
        return Hires(**self.model_dump())


@contextmanager
def as_value_error() -> Iterator[None]:
    """What is wrong with values, as pydantic wants to be told."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error)) from error
