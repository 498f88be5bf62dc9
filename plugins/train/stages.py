"""Settings of what is trained: the autoencoder and the U-Net, and how long."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sdcreative import Strict

Channels = Annotated[int, Field(ge=8)]
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0)]


class Schedule(Strict):
    """How long and how fast one stage is trained; a step sees batch * accumulate pictures."""

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    """batches whose gradients are averaged for one step, where memory is short"""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """the peak, after the warm-up; it falls to a hundredth along half a cosine"""
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Weight = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    """largest norm of a step's gradients"""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """decay of the averaged weights, which are what is saved"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    log_every: Annotated[int, Field(ge=1)] = 50
    save_every: Annotated[int, Field(ge=1)] = 500


class AutoencoderStage(Strict):
    """Autoencoder; downsampling is 2 ** (len(channels) - 1)."""

    schedule: Schedule
    cut: Annotated[int, Field(ge=8)] | None = None
    """width in pixels of the piece of a picture that a step sees; all of it if left out"""
    channels: list[Channels] = Field(default=[32, 64, 128], min_length=1)
    layers: Annotated[int, Field(ge=1)] = 1
    latent_channels: Annotated[int, Field(ge=1)] = 4
    gradient_weight: Weight = 1.0
    regulariser: Literal["kl", "vq"] = "kl"
    """what keeps latents in bounds: a penalty on their spread, or a codebook"""
    kl_weight: Weight = 1e-6
    codebook: Annotated[int, Field(ge=2)] = 512
    """number of codes; this and the next two are for vq"""
    commitment_weight: Weight = 0.25
    """of the term that pulls latents towards their codes; that which pulls codes weighs 1"""
    restart_after: Annotated[int, Field(ge=1)] | None = 100
    """steps without use after which a code is set to some latent, in the first three quarters of
    the training; all start like that; null: never"""
    perceptual_weight: Weight = 0.0
    perceptual_network: Annotated[str, Field(min_length=1)] = "emoji"
    """folder of a model, built-in name or hub id, whose features are compared"""
    perceptual_part: Literal["vae", "clip"] = "vae"
    """its encoder, or the image tower in its folder clip/"""
    adversarial_weight: Weight = 0.0
    adversarial_start: Annotated[int, Field(ge=0)] = 0
    """first step whose loss has the adversarial term"""
    adversarial_adaptive: bool = False
    """scale the term until its gradient at the last layer is as large as that of the others"""
    critic: Literal["small", "patchgan"] = "small"
    critic_channels: Annotated[int, Field(ge=8, multiple_of=8)] = 64
    """of the first layer of patchgan; they double up to eightfold"""
    critic_layers: Annotated[int, Field(ge=1)] = 3
    """halvings of patchgan; with three a patch has 70 pixels"""

    @model_validator(mode="after")
    def _groups(self) -> AutoencoderStage:
        return check_groups(self, 8)


class SuperResolution(Strict):
    """The U-Net sees a small picture and makes the large one."""

    factor: Annotated[int, Field(ge=2)] = 4
    """how much smaller the small one is"""
    seen_as: Literal["pixels", "latents"] = "pixels"
    """as it is, brought to the size of the latents, or enlarged and encoded"""
    max_noise_level: Annotated[int, Field(ge=0, le=999)] = 350
    """what it sees is noised up to this timestep; which it is, is the U-Net's class label"""


class Inpainting(Strict):
    """The U-Net sees a mask and the picture without what is under it."""

    whole: Share = 0.25
    """share of masks that cover all of the picture"""
    strokes: Share = 0.5
    """share of the others that are brush strokes; the rest are rectangles"""


class UnetStage(Strict):
    """U-Net on cached latents, conditional or not."""

    schedule: Schedule
    channels: list[Channels] = Field(default=[64, 128, 192], min_length=2)
    layers: Annotated[int, Field(ge=1)] = 1
    fresh: bool = False
    """a new U-Net even with start_from, whose other parts are taken over"""
    condition: Literal["text", "class", "none"] = "text"
    """what it is told: a caption, a class, or nothing"""
    classes: Literal["group", "name", "style", "colour"] = "group"
    """what a class is; group: the folder that a picture is in, or the group of an emoji; the
    others are of emoji alone"""
    superresolution: SuperResolution | None = None
    inpainting: Inpainting | None = None
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = 5.0
    terminal_snr: Annotated[float, Field(ge=0, lt=1)] | None = 1e-4
    """signal-to-noise ratio of the last timestep; 0: zero terminal SNR, null: Stable Diffusion's.
    With start_from, this and prediction are the model's own unless they are given here."""
    caption_dropout: Share = 0.1
    """share of the captions or classes left out, for guidance"""
    variants: Annotated[int, Field(ge=1)] = 16
    """latents kept of every picture: other backgrounds, places, mirrored, other masks"""
    white: Share = 0.5
    """share of transparent pictures placed on plain white, the others on a colour"""
    train_text: bool = False
    """train the text encoder on with the U-Net"""

    @model_validator(mode="after")
    def _makes_sense(self) -> UnetStage:
        if self.prediction == "epsilon" and self.terminal_snr == 0:
            raise ValueError(
                "with terminal_snr 0 there is only noise at the last step, of which epsilon says "
                "nothing; use prediction: v_prediction, or a terminal_snr such as 0.0001"
            )
        if self.superresolution and self.inpainting:
            raise ValueError("one U-Net does superresolution or inpainting; leave one out")
        if self.condition == "class" and (self.superresolution or self.inpainting):
            raise ValueError(
                "condition class: superresolution and inpainting go with text or none alone"
            )
        if self.train_text and self.condition != "text":
            raise ValueError(f"train_text: with condition {self.condition} no text is read")
        return check_groups(self, 32)


def check_groups(stage: Any, groups: int) -> Any:
    """The stage, whose channels are multiples of the groups that norms divide them into.

    Raises:
        ValueError: they are not.
    """
    odd = [c for c in stage.channels if c % groups]
    if odd:
        raise ValueError(f"channels have to be multiples of {groups}, {odd[0]} is not")
    return stage
