"""Settings of the `finetune` tool: a model, pictures, and a LoRA or all weights to be trained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from sdcreative import Strict

from ..settings import SIZE, FolderData, Schedule

Text = Annotated[str, Field(min_length=1)]
Target = Literal["attention", "mlp", "conv"]
Weights = Literal["fp16", "bf16", "fp32"]


class TuningSchedule(Schedule):
    """How long and how fast; gentler than training from nothing."""

    batch: Annotated[int, Field(ge=1)] = 4
    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """decay of the averaged weights, which are what is saved; 0: the last ones"""


class EmojiDrawings(Strict):
    """The emoji drawings of the npm registry, all of them or those of some styles."""

    source: Literal["emoji"]
    groups: list[str] = Field(default=["animals", "food"], min_length=1)
    styles: list[str] | None = None
    """such as [blob]; all if left out"""
    cache: str | None = None
    """folder for the fetched drawings; the user's cache folder if left out"""


class MadeData(Strict):
    """Pictures that the model makes of prompts, altered: a look to be learned, without any data."""

    source: Literal["made"]
    prompts: list[Text] = Field(min_length=1)
    """also the captions"""
    look: Literal["grey", "sepia", "amber", "posterised"] = "grey"
    seeds: Annotated[int, Field(ge=1)] = 1
    """pictures of every prompt"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 5.0


class PriorData(Strict):
    """Pictures of the class as it is, which the model is to keep (Ruiz et al. 2023, eq. 2)."""

    folder: Text
    captions: str | None = None
    """name of the JSONL or CSV file in that folder"""
    weight: Annotated[float, Field(gt=0)] = 1.0
    """of their loss, beside that of the pictures to be learned"""


class LoraMethod(Strict):
    """Low-rank changes beside the model's own weights (Hu et al. 2021)."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    alpha: Annotated[float, Field(gt=0)] | None = None
    """the change is multiplied by alpha / rank; the rank if left out"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """share of each layer's inputs that its change does not see"""
    targets: list[Target] = Field(default=["attention"], min_length=1)
    """which layers; conv is all in the residual blocks, as LoCon has it"""
    text_encoders: bool = False
    """also the text encoders, the same kinds of layers of them"""
    dora: bool = False
    """train the magnitudes of the changed weights too (Liu et al. 2024)"""
    format: Literal["kohya", "peft"] | None = None
    """names in the file; kohya's if left out, peft's for Stable Diffusion 3"""
    weights: Weights = "fp16"
    """how the file holds them"""


class FullMethod(Strict):
    """All weights of the denoiser."""

    text_encoders: bool = False
    """also those of the text encoders; T5 stays as it is"""
    weights: Literal["fp16", "fp32"] = "fp16"
    """how the model's folder holds them"""


class LossSettings(Strict):
    """What is minimised."""

    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None
    """weights of timesteps (Hang et al. 2023); 5 is usual; not for models of flow"""
    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    """noise that whole channels share, for very dark and very bright pictures; 0.05 is usual"""
    huber: Annotated[float, Field(gt=0)] | None = None
    """errors above this count linearly, not squared; against outliers"""
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.05
    """share of the captions left out, for guidance"""


class SheetSettings(Strict):
    """The pictures that show what was learned, without and with it, from the same seeds."""

    prompts: list[Text] = Field(default=[])
    """captions of held-out pictures if left out"""
    count: Annotated[int, Field(ge=1, le=64)] = 6
    """pictures; prompts are taken in turn"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """of the first picture"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 5.0


class FinetuneSettings(Strict):
    """A model, tuned on pictures with captions."""

    model: Text = "emoji"
    """built-in name, folder of a diffusers model, checkpoint file, or id on the Hugging Face hub"""
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    """what the model predicts, whatever it says; decides between files of Stable Diffusion 2"""
    data: Annotated[FolderData | EmojiDrawings | MadeData, Field(discriminator="source")]
    prior: PriorData | None = None
    size: Annotated[int, Field(ge=16)] | Annotated[str, Field(pattern=SIZE)] | None = None
    """pixels, or WIDTHxHEIGHT: the area of all pictures, in any form; the model's own if left
    out"""
    buckets: bool = True
    """pictures keep their form as nearly as possible; false cuts all to one"""
    bucket_step: Annotated[int, Field(ge=1)] | None = None
    """sides are multiples of this; 64 if left out, for small models what they need"""
    background: Text = "white"
    """colour behind transparent pictures, a name or #rrggbb"""
    skip_broken: bool = False
    """leave out pictures that cannot be read or have no caption, instead of stopping"""
    hold_out_every: Annotated[int, Field(ge=0)] = 10
    """one in so many pictures is only measured on; 0: none"""
    lora: LoraMethod | None = None
    full: FullMethod | None = None
    clip_skip: Annotated[int, Field(ge=1)] = 1
    """layer of the text encoders, counted from the last one; 1 is the one that the family takes"""
    loss: LossSettings = LossSettings()
    schedule: TuningSchedule
    gradient_checkpointing: bool = False
    """less memory, a third more time"""
    precision: Literal["no", "fp16", "bf16"] = "no"
    """of the computations; what is trained stays float32. A CPU takes bf16 where it has
    instructions for it, else float32"""
    device: Literal["auto", "cpu"] = "auto"
    sheet: SheetSettings = SheetSettings()
    cache: str | None = None
    """folder for latents and texts; the user's cache folder if left out"""
    offline: bool = False
    """never ask the model hub"""
    output: Text
    """folder: of the LoRA, which is named after it, or of the tuned model; where it holds an
    unfinished training, that goes on"""

    @field_validator("background")
    @classmethod
    def _colour(cls, name: str) -> str:
        return known_colour(name)

    @model_validator(mode="after")
    def _one_method(self) -> FinetuneSettings:
        if (self.lora is None) == (self.full is None):
            raise ValueError("give one of lora and full: what is to be trained")
        return self

    @property
    def text_encoders(self) -> bool:
        """Whether the text encoders are trained along."""
        method = self.lora or self.full
        return method is not None and method.text_encoders

    def shape(self, own: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels of the size; ``own`` where it is left out."""
        return shape_of(self.size, own)


def shape_of(size: int | str | None, own: tuple[int, int]) -> tuple[int, int]:
    """Width and height in pixels of a side, or of "WIDTHxHEIGHT"; ``own`` for None."""
    if size is None:
        return own
    if isinstance(size, int):
        return size, size
    width, _, height = size.partition("x")
    return int(width), int(height)


def known_colour(name: str) -> str:
    """The name itself, if it is one of a colour, or #rrggbb.

    Raises:
        ValueError: it is none.
    """
    from PIL import ImageColor

    try:
        ImageColor.getrgb(name)
    except ValueError:
        raise ValueError(f"{name!r} is no colour; give a name or #rrggbb") from None
    return name
