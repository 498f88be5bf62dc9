"""Settings of the `train` tool: data, and up to three stages trained one after another."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdcreative.settings import Strict


class Schedule(Strict):
    """How long and how fast one stage is trained."""

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    seed: Annotated[int, Field(ge=0)] = 0
    log_every: Annotated[int, Field(ge=1)] = 50
    save_every: Annotated[int, Field(ge=1)] = 500


class EmojiData(Strict):
    """The emoji drawings of the npm registry."""

    source: Literal["emoji"]
    groups: list[str] = Field(default=["animals", "food"], min_length=1)
    hold_out_pairs: Annotated[int, Field(ge=0)] = 10
    """one in so many pairs of a thing and a background colour is never trained on; 0: none"""
    cache: str | None = None
    """folder for the fetched drawings; the user's cache folder if left out"""


class FolderData(Strict):
    """A folder of pictures, captions in .txt files beside them or in one JSONL or CSV file."""

    source: Literal["folder"]
    folder: str
    captions: str | None = None


class AutoencoderStage(Strict):
    """KL autoencoder; downsampling is 2 ** (len(channels) - 1)."""

    schedule: Schedule
    channels: list[int] = Field(default=[32, 64, 128], min_length=1)
    layers: Annotated[int, Field(ge=1)] = 1
    latent_channels: Annotated[int, Field(ge=1)] = 4
    gradient_weight: Annotated[float, Field(ge=0)] = 1.0
    kl_weight: Annotated[float, Field(ge=0)] = 1e-6
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.0
    adversarial_start: Annotated[int, Field(ge=0)] = 0


class ClipStage(Strict):
    """Text encoder and a small image tower, trained contrastively."""

    schedule: Schedule
    vocabulary: Annotated[int, Field(ge=600)] = 2048
    context: Annotated[int, Field(ge=8, le=77)] = 32
    width: Annotated[int, Field(ge=32)] = 192
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    patch: Annotated[int, Field(ge=2)] = 8


class UnetStage(Strict):
    """Conditional U-Net on cached latents."""

    schedule: Schedule
    channels: list[int] = Field(default=[64, 128, 192], min_length=2)
    layers: Annotated[int, Field(ge=1)] = 1
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = 5.0
    terminal_snr: Annotated[float, Field(ge=0, lt=1)] | None = 1e-4
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    variants: Annotated[int, Field(ge=1)] = 16
    train_text: bool = False


class TrainSettings(Strict):
    """One latent-diffusion model, trained from scratch or on from a checkpoint."""

    data: Annotated[EmojiData | FolderData, Field(discriminator="source")]
    size: Annotated[int, Field(ge=16, multiple_of=8)] = 64
    hold_out_every: Annotated[int, Field(ge=0)] = 50
    precision: Literal["no", "fp16", "bf16"] = "no"
    device: Literal["auto", "cpu"] = "auto"
    start_from: str | None = None
    autoencoder: AutoencoderStage | None = None
    clip: ClipStage | None = None
    unet: UnetStage | None = None
    output: str
