"""Settings of the `learn` tool: a model, a few pictures, and a word that is to stand for them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sdcreative import Strict

from ..settings import SIZE
from ..tuning.settings import MadeData, Text, known_colour, shape_of
from .judge_settings import JudgeSettings
from .scenes import PLACE, Kind
from .sound_settings import SoundFolder, for_sounds


class PictureFolder(Strict):
    """Three to five pictures in a folder; a caption lies in a .txt beside one, or nowhere."""

    source: Literal["folder"]
    folder: Text
    captions: str | None = None
    """name of a JSONL or CSV file in that folder"""
    masks: str | None = None
    """folder of masks, each named as its picture; white is what is to be learned"""


class DrawnPictures(Strict):
    """Transparent drawings of a toy that no model knows, drawn by this project."""

    source: Literal["drawn"]
    count: Annotated[int, Field(ge=1, le=5)] = 4


class RowSchedule(Strict):
    """How long and how fast; a step sees batch * accumulate pictures."""

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 4
    accumulate: Annotated[int, Field(ge=1)] = 1
    """batches whose gradients are averaged for one step, where memory is short"""
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    """the peak, after the warm-up"""
    decay: Literal["constant", "linear", "cosine"] = "constant"
    """how it falls after that, to a hundredth at the end"""
    warmup: Annotated[int, Field(ge=0)] = 0
    clip: Annotated[float, Field(gt=0)] = 1.0
    """largest norm of a step's gradients, those of all text encoders together"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    log_every: Annotated[int, Field(ge=1)] = 50


class RowLoss(Strict):
    """What is minimised."""

    min_snr_gamma: Annotated[float, Field(gt=0)] | None = None
    """weights of timesteps (Hang et al. 2023); 5 is usual"""
    noise_offset: Annotated[float, Field(ge=0, le=1)] = 0.0
    """noise that whole channels share, for very dark and very bright pictures"""
    huber: Annotated[float, Field(gt=0)] | None = None
    """errors above this count linearly, not squared; against outliers"""
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.0
    """share of captions whose words other than the token are left out"""
    outside: Annotated[float, Field(ge=0, le=1)] = 1.0
    """how much counts what is outside of a mask, or transparent; 1: as much as all else"""
    stay_near: Annotated[float, Field(ge=0)] = 0.0
    """pull of the rows to the initial ones, times their squared relative distance"""


class LearnSettings(Strict):
    """A word for a thing or a style, learned from a few pictures (Gal et al. 2022)."""

    model: Text = "emoji"
    """built-in name, folder of a diffusers model, checkpoint file, or id on the Hugging Face hub"""
    prediction_type: Literal["epsilon", "v_prediction"] | None = None
    """what the model predicts, whatever it says; decides between files of Stable Diffusion 2"""
    data: Annotated[
        PictureFolder | DrawnPictures | MadeData | SoundFolder, Field(discriminator="source")
    ]
    token: Text
    """the new word, such as <my-toy>; without spaces"""
    kind: Kind = "object"
    """what the pictures have in common; decides on the phrases they are learned with"""
    initial: Text
    """a word or phrase that the model knows, from which it sets out: the class of the thing"""
    start_from: str | None = None
    """file of an embedding to go on from, instead of the initial word"""
    vectors: Annotated[int, Field(ge=1, le=64)] | None = None
    """tokens that the word takes the place of; as many as the initial phrase has if left out"""
    progressive: bool = False
    """begin with one vector, the others join one by one over the first half of the steps"""
    templates: list[Text] = Field(default=[], max_length=200)
    """phrases with {} for the word, for pictures without a caption; a few plain ones if left out"""
    mirror: bool = True
    """also learn from mirrored pictures, where no caption speaks of left or right"""
    crops: Annotated[int, Field(ge=0, le=64)] = 0
    """further crops of every picture, of 70 to 100 % of its sides"""
    backgrounds: list[Text] = Field(default=["white"], min_length=1)
    """colours behind transparent pictures, one after another; where there are several, captions
    name them"""
    skip_broken: bool = False
    """leave out pictures that cannot be read, instead of stopping"""
    size: Annotated[int, Field(ge=16)] | Annotated[str, Field(pattern=SIZE)] | None = None
    """pixels, or WIDTHxHEIGHT: the area of all pictures; the model's own if left out"""
    buckets: bool = True
    """pictures keep their form as nearly as possible; false cuts all to one"""
    bucket_step: Annotated[int, Field(ge=1)] | None = None
    """sides are multiples of this; 64 if left out, for small models what they need"""
    clip_skip: Annotated[int, Field(ge=1)] = 1
    """layer of the text encoders, counted from the last one; 1 is the one that the family takes"""
    loss: RowLoss = RowLoss()
    schedule: RowSchedule
    judge: JudgeSettings = JudgeSettings()
    look_every: Annotated[int, Field(ge=1)] = 100
    """steps from one look at pictures of the word to the next, and from one checkpoint to the
    next"""
    keep_best: bool = True
    """what is written is the word of the best look, not of the last step"""
    gradient_checkpointing: bool = False
    """less memory, a third more time"""
    precision: Literal["no", "fp16", "bf16"] = "no"
    """of the denoiser; rows and text encoders stay float32"""
    device: Literal["auto", "cpu"] = "auto"
    cache: str | None = None
    """folder for latents; the user's cache folder if left out"""
    licence: str | None = None
    """of what is learned, written into the file"""
    also: list[Literal["pt", "bin"]] = Field(default=[])
    """older formats to be written beside: AUTOMATIC1111's .pt, that of diffusers' .bin"""
    offline: bool = False
    """never ask the model hub"""
    output: str = ""
    """file to write, .safetensors; the folder of the training lies beside it. Named after the
    token if left out"""

    @model_validator(mode="before")
    @classmethod
    def _of_sounds(cls, values: Any) -> Any:
        return for_sounds(values)

    @field_validator("token")
    @classmethod
    def _one_word(cls, token: str) -> str:
        if any(character.isspace() for character in token):
            raise ValueError(f"{token!r} has spaces; a token is one word, such as <my-toy>")
        if any(character in token for character in "{}|()[]:,\\\"'"):
            raise ValueError(
                f"{token!r} has a character that means something in prompts; take letters, digits, "
                "- and _, perhaps between < and >"
            )
        return token

    @field_validator("templates")
    @classmethod
    def _with_token(cls, templates: list[str]) -> list[str]:
        for template in templates:
            if PLACE not in template:
                raise ValueError(f"{template!r} lacks the word; write {PLACE} where it goes")
        return templates

    @field_validator("backgrounds")
    @classmethod
    def _colours(cls, names: list[str]) -> list[str]:
        return [known_colour(name) for name in names]

    @model_validator(mode="after")
    def _goes_together(self) -> LearnSettings:
        if self.output and not self.output.endswith(".safetensors"):
            raise ValueError(
                f"output {self.output!r} must end in .safetensors; for older formats set also: "
                "[pt, bin]"
            )
        if self.start_from and self.progressive:
            raise ValueError("start_from has its vectors already; leave out progressive")
        return self

    def shape(self, own: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels of the size; ``own`` where it is left out."""
        return shape_of(self.size, own)

    @property
    def file(self) -> str:
        """Where the word is written to."""
        name = "".join(one for one in self.token if one.isalnum() or one in "-_") or "word"
        return self.output or f"{name}.safetensors"
