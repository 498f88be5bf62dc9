"""Settings of the `train` tool: data, and up to three stages trained one after another."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from sdcreative import Strict

from .stages import AutoencoderStage, Schedule, UnetStage

SIZE = r"^[1-9]\d{1,4}x[1-9]\d{1,4}$"


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


class ClipStage(Strict):
    """Text encoder and a small image tower, trained contrastively."""

    schedule: Schedule
    locked_text: Annotated[str, Field(min_length=1)] | None = None
    """folder of a model, built-in name or hub id, whose text encoder is taken as it is: a small
    tower of convolutions and two projections are trained beside it"""
    vocabulary: Annotated[int, Field(ge=600)] = 2048
    context: Annotated[int, Field(ge=8, le=77)] = 32
    width: Annotated[int, Field(ge=32)] = 192
    layers: Annotated[int, Field(ge=1)] = 4
    heads: Annotated[int, Field(ge=1)] = 4
    patch: Annotated[int, Field(ge=2)] = 8
    """side in pixels of the squares that the image tower sees as one token; this and the five
    before are not for locked_text"""
    size: Annotated[int, Field(ge=16)] | None = None
    """side of the square to which pictures are resized for the image tower; their shorter side if
    left out"""
    channels: list[Annotated[int, Field(ge=8)]] = Field(
        default=[24, 48, 80, 128], min_length=1, max_length=6
    )
    """of the tower of convolutions, whose stages halve the sides; this and the next two are for
    locked_text"""
    projection: Annotated[int, Field(ge=8)] = 96
    """length of the vectors in which pictures and texts meet"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """share of the target that goes to all other things"""

    @model_validator(mode="after")
    def _goes_together(self) -> ClipStage:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not divisible by {self.heads} heads")
        # What a checkpoint says in full, defaults too, is no contradiction.
        fields = type(self).model_fields
        given = {
            name
            for name in self.model_fields_set
            if getattr(self, name) != fields[name].get_default(call_default_factory=True)
        }
        if self.locked_text is None:
            wrong = given & {"channels", "projection", "label_smoothing"}
            why = "goes with locked_text"
        else:
            wrong = given & {"vocabulary", "context", "width", "layers", "heads", "patch"}
            why = "is the locked text encoder's own, or of no use beside it; leave it out"
        if wrong:
            raise ValueError(f"{min(wrong)}: {why}")
        return self


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
    processes: Annotated[int, Field(ge=1)] = 1
    """that train together, each on a GPU of its own, or on a part of the CPU's cores; a step is
    taken on the batches of all. Under accelerate launch their number is what that says"""
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
        if self.unet:
            _check_conditions(self, self.unet)
        return self

    @property
    def needs_captions(self) -> bool:
        return self.clip is not None or (self.unet is not None and self.unet.condition == "text")

    @property
    def shape(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.size, int):
            return self.size, self.size
        width, _, height = self.size.partition("x")
        return int(width), int(height)


def _check_conditions(settings: TrainSettings, stage: UnetStage) -> None:
    data, (width, height) = settings.data, settings.shape
    if stage.condition == "class":
        if isinstance(data, RiffData | MusicFolderData):
            raise ValueError("unet.condition class: music has no classes; use text or none")
        if isinstance(data, FolderData) and stage.classes != "group":
            raise ValueError(
                f"unet.classes {stage.classes}: pictures of a folder have only a group, the "
                "folder that each is in"
            )
    small = stage.superresolution
    if small and (width % small.factor or height % small.factor):
        raise ValueError(
            f"unet.superresolution: size {settings.size} is not divisible by factor {small.factor}"
        )
    if stage.fresh and settings.start_from is None:
        raise ValueError("unet.fresh: without start_from every part is new; leave it out")


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
