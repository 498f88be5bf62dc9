"""Settings of the `train` tool: data, and up to three stages trained one after another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from sdcreative import Strict

Channels = Annotated[int, Field(ge=8)]
SIZE = r"^[1-9]\d{1,4}x[1-9]\d{1,4}$"


class Schedule(Strict):
    """How long and how fast one stage is trained; a step sees batch * accumulate pictures."""

    steps: Annotated[int, Field(ge=1)]
    batch: Annotated[int, Field(ge=1)] = 32
    accumulate: Annotated[int, Field(ge=1)] = 1
    """batches whose gradients are averaged for one step, where memory is short"""
    learning_rate: Annotated[float, Field(gt=0)] = 3e-4
    """the peak, after the warm-up; it falls to a hundredth along half a cosine"""
    warmup: Annotated[int, Field(ge=0)] = 100
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] = 1.0
    """largest norm of a step's gradients"""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """decay of the averaged weights, which are what is saved"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
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
    folder: Annotated[str, Field(min_length=1)]
    captions: str | None = None
    """name of the JSONL or CSV file in that folder"""


class SpectrogramData(Strict):
    """How sound becomes pictures; their height is the number of mel bands."""

    sample_rate: Annotated[int, Field(ge=8000, le=48000)] = 22050
    step_ms: Annotated[int, Field(ge=1)] = 20
    """from one column to the next"""
    window_ms: Annotated[int, Field(ge=1)] = 80
    padded_ms: Annotated[int, Field(ge=1)] = 160
    """the window with zeros around it"""
    min_hz: Annotated[float, Field(ge=0)] = 0.0
    max_hz: Annotated[float, Field(gt=0)] = 10000.0


class RiffData(Strict):
    """Clips of music, composed by a procedure and played by a sound font."""

    source: Literal["riff"]
    clips: Annotated[int, Field(ge=8)] = 24000
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    spectrogram: SpectrogramData = SpectrogramData()
    soundfont: str | None = None
    """an .sf2 or .sf3 file; FluidR3Mono_GM.sf3 in the usual places if left out"""
    cache: str | None = None
    """folder for the clips; the user's cache folder if left out"""
    workers: Annotated[int, Field(ge=1)] | None = None
    """processes that play them; as many as there are cores if left out"""


class MusicFolderData(Strict):
    """One's own music; captions in .txt files beside it or in one JSONL or CSV file."""

    source: Literal["music_folder"]
    folder: Annotated[str, Field(min_length=1)]
    captions: str | None = None
    """name of the JSONL or CSV file in that folder"""
    every: Annotated[float, Field(gt=0)] | None = None
    """seconds from one clip to the next; the length of a clip if left out"""
    spectrogram: SpectrogramData = SpectrogramData()
    cache: str | None = None
    """folder for the clips; the user's cache folder if left out"""


class AutoencoderStage(Strict):
    """KL autoencoder; downsampling is 2 ** (len(channels) - 1)."""

    schedule: Schedule
    cut: Annotated[int, Field(ge=8)] | None = None
    """width in pixels of the piece of a picture that a step sees; all of it if left out"""
    channels: list[Channels] = Field(default=[32, 64, 128], min_length=1)
    layers: Annotated[int, Field(ge=1)] = 1
    latent_channels: Annotated[int, Field(ge=1)] = 4
    gradient_weight: Annotated[float, Field(ge=0)] = 1.0
    kl_weight: Annotated[float, Field(ge=0)] = 1e-6
    adversarial_weight: Annotated[float, Field(ge=0)] = 0.0
    adversarial_start: Annotated[int, Field(ge=0)] = 0
    """first step whose loss has the adversarial term"""

    @model_validator(mode="after")
    def _groups(self) -> AutoencoderStage:
        return _check_groups(self, 8)


class ClipStage(Strict):
    """Text encoder and a small image tower, trained contrastively."""

    schedule: Schedule
    vocabulary: Annotated[int, Field(ge=600)] = 2048
    context: Annotated[int, Field(ge=8, le=77)] = 32
    width: Annotated[int, Field(ge=32)] = 192
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    patch: Annotated[int, Field(ge=2)] = 8
    """side in pixels of the squares that the image tower sees as one token"""
    size: Annotated[int, Field(ge=16)] | None = None
    """side of the square to which pictures are resized for the image tower; their shorter side if
    left out"""

    @model_validator(mode="after")
    def _whole_heads(self) -> ClipStage:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        return self


class UnetStage(Strict):
    """Conditional U-Net on cached latents."""

    schedule: Schedule
    channels: list[Channels] = Field(default=[64, 128, 192], min_length=2)
    layers: Annotated[int, Field(ge=1)] = 1
    prediction: Literal["epsilon", "v_prediction"] = "v_prediction"
    min_snr_gamma: Annotated[float, Field(gt=0)] | None = 5.0
    terminal_snr: Annotated[float, Field(ge=0, lt=1)] | None = 1e-4
    """signal-to-noise ratio of the last timestep; 0: zero terminal SNR, null: Stable Diffusion's.
    With start_from, this and prediction are the model's own unless they are given here."""
    caption_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    """share of the captions left out, for guidance"""
    variants: Annotated[int, Field(ge=1)] = 16
    """latents kept of every picture: other backgrounds, places, mirrored"""
    train_text: bool = False
    """train the text encoder on with the U-Net"""

    @model_validator(mode="after")
    def _makes_sense(self) -> UnetStage:
        if self.prediction == "epsilon" and self.terminal_snr == 0:
            raise ValueError(
                "with terminal_snr 0 there is only noise at the last step, of which epsilon says "
                "nothing; use prediction: v_prediction, or a terminal_snr such as 0.0001"
            )
        return _check_groups(self, 32)


class TrainSettings(Strict):
    """One latent-diffusion model, trained from scratch or on from a checkpoint."""

    data: Annotated[
        EmojiData | FolderData | RiffData | MusicFolderData, Field(discriminator="source")
    ]
    size: Annotated[int, Field(ge=16, multiple_of=8)] | Annotated[str, Field(pattern=SIZE)] = 64
    """pixels, or WIDTHxHEIGHT; of music, steps in time and mel bands"""
    hold_out_every: Annotated[int, Field(ge=0)] = 50
    """one in so many pictures is only measured on; 0: none"""
    precision: Literal["no", "fp16", "bf16"] = "no"
    """of the computations; a CPU takes bf16 where it has instructions for it, else float32"""
    device: Literal["auto", "cpu"] = "auto"
    start_from: str | None = None
    """folder of a model, built-in name or hub id; each stage goes on from its part, in the shape
    that the part has, and parts without a stage are taken over"""
    offline: bool = False
    """never ask the model hub"""
    autoencoder: AutoencoderStage | None = None
    clip: ClipStage | None = None
    unet: UnetStage | None = None
    output: Annotated[str, Field(min_length=1)]
    """folder of the model; where it holds an unfinished training, that goes on"""

    @model_validator(mode="after")
    def _fits_together(self) -> TrainSettings:
        if not (self.autoencoder or self.clip or self.unet):
            raise ValueError("nothing to train; add one of autoencoder, clip, unet")
        width, height = self.shape
        if any(side < 16 or side % 8 for side in self.shape):
            raise ValueError(f"size {width}x{height}: give sides of at least 16, multiples of 8")
        if isinstance(self.data, EmojiData) and width != height:
            raise ValueError(f"size {width}x{height}: the drawings are square; give one number")
        if self.start_from is None:
            _check_sizes(self)
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.size, int):
            return self.size, self.size
        width, _, height = self.size.partition("x")
        return int(width), int(height)


def _check_groups(stage: Any, groups: int) -> Any:
    odd = [c for c in stage.channels if c % groups]
    if odd:
        raise ValueError(f"channels have to be multiples of {groups}, {odd[0]} is not")
    return stage


def _check_sizes(settings: TrainSettings) -> None:
    if settings.clip:
        side, patch = settings.clip.size or min(settings.shape), settings.clip.patch
        if side % patch:
            raise ValueError(f"size {side} is not divisible by clip.patch {patch}")
    if settings.autoencoder is None:
        return
    factor = 2 ** (len(settings.autoencoder.channels) - 1)
    levels = 2 ** (len(settings.unet.channels) - 1) if settings.unet else 1
    cut = settings.autoencoder.cut
    if cut is not None and (cut % factor or cut > settings.shape[0]):
        raise ValueError(
            f"autoencoder.cut {cut}: give a multiple of {factor} up to the width of the pictures, "
            f"{settings.shape[0]}"
        )
    if any(side % (factor * levels) for side in settings.shape):
        raise ValueError(
            f"size {settings.size} is not divisible by {factor * levels}: the autoencoder halves "
            f"it {factor.bit_length() - 1} times, the unet {levels.bit_length() - 1} times"
        )
