"""One clip as Riffusion makes it: image to image from a spectrogram, between two prompts."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import soundfile
from PIL import Image

from sdcreative import Blend, ModelError, Noise, Shot, Studio, Timeline, UsageError
from sdcreative.media.spectrogram import MAX_VALUE, SpectrogramParams, image_to_spectrogram
from sdcreative.models.sources import fetch, resolve
from sdcreative.spectral.inversion import invert
from sdcreative.spectral.model_spectrogram import read_model_spectrogram
from sdcreative.spectral.params import MAX_VALUE_TAG

from .beat_images import beat_images
from .protocol import InferenceInput, PromptInput, Riff
from .seed_images import read_seed_images

SAMPLER = "DPM++ 2M"
PEAK = 10 ** (-1 / 20)
"""of the sound, 1 dB under full scale"""
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)


@dataclass(frozen=True, eq=False)
class StudioRiffer:
    """Makes clips with a model; a ``Riffer``.

    Attributes:
        model: its name.
        studio: the model.
        params: how its pictures are heard.
        max_value: the magnitude that black stands for.
        pictures: seed images and masks by name, RGB, ``params.bands`` high.
    """

    model: str
    studio: Studio
    params: SpectrogramParams
    max_value: float
    pictures: Mapping[str, Image.Image]

    @classmethod
    def load(
        cls,
        model: str,
        *,
        device: str = "auto",
        offline: bool = False,
        folder: Path | None = None,
    ) -> StudioRiffer:
        """Load a model, and the pictures that clips may begin from.

        Args:
            model: built-in name, folder, or id on the Hugging Face hub.
            device: auto, cpu, mps, cuda or cuda:1.
            offline: never ask the hub.
            folder: of seed images; these go before built-in ones of the same name.

        Raises:
            ModelError: not found, not to be trusted, or of pictures that are no spectrograms.
            UsageError: a device that this machine lacks, or no such folder.
            DataError: a seed image cannot be read.
        """
        if "MP3" not in soundfile.available_formats():
            raise UsageError("this libsndfile writes no MP3; install libsndfile 1.1 or newer")
        place = fetch(resolve(model, offline=offline), offline)
        params, max_value = read_model_spectrogram(place) or (SpectrogramParams(), MAX_VALUE)
        studio = Studio.load(str(place), device=device, offline=offline)
        width, height = studio.size
        if height != params.bands:
            raise ModelError(
                f"model {model!r} makes pictures {height} pixels high, and a spectrogram of "
                f"{params.bands} bands is as many high; give a model of spectrograms"
            )
        pictures = beat_images(params, width)
        if folder is not None:
            pictures |= read_seed_images(folder, params, width)
        return cls(model, studio, params, max_value, pictures)

    @property
    def seed_images(self) -> tuple[str, ...]:
        return tuple(sorted(self.pictures))

    def riff(self, request: InferenceInput, check: Callable[[], None]) -> Riff:
        """The clip: as long as its seed image, or as the model's pictures if these are shorter."""
        picture = self._picture(request, check)
        check()
        mel = image_to_spectrogram(picture, self.params, self.max_value)
        device = self.studio.parts.device
        samples = invert(mel, self.params, device=str(device) if device.type == "cuda" else "cpu")
        check()
        exif = picture.getexif()
        exif.update({**self.params.to_exif(), MAX_VALUE_TAG: float(self.max_value)})
        rate = self.params.sample_rate
        return Riff(picture, to_mp3(samples, rate), samples.shape[1] / rate)

    def _picture(self, request: InferenceInput, check: Callable[[], None]) -> Image.Image:
        seed = self._known("seed", request.seed_image_id)
        step = self.studio.parts.downsampling
        least = max(2 * step, self.params.window_ms // self.params.step_ms)
        if seed.width < least:
            raise UsageError(
                f"Invalid seed image: {request.seed_image_id}: is {seed.width} columns wide; "
                f"give at least {least}"
            )
        size = seed.width // step * step, seed.height
        mask = None
        if request.mask_image_id:
            mask = self._known("mask", request.mask_image_id).convert("L")
            mask = mask.resize(size, Image.Resampling.NEAREST)
        shot = _shot(request, seed.crop((0, 0, *size)), mask)
        timeline = Timeline(
            lambda: [shot],
            length=1,
            steps=request.num_inference_steps,
            sampler=SAMPLER,
            size=size,
        )
        with closing(self.studio.render(timeline, on_evaluations=lambda count: check())) as made:
            [picture] = made
        return picture

    def _known(self, kind: str, name: str) -> Image.Image:
        if name not in self.pictures:
            raise UsageError(
                f"Invalid {kind} image: {name}; there are: {', '.join(self.seed_images)}"
            )
        return self.pictures[name]


def _shot(request: InferenceInput, seed: Image.Image, mask: Image.Image | None) -> Shot:
    start, end, alpha = request.start, request.end, request.alpha

    def between(value: Callable[[PromptInput], Any]) -> float:
        return float((1 - alpha) * value(start) + alpha * value(end))

    return Shot(
        Blend(start.prompt, end.prompt, alpha, method="lerp"),
        Noise(start.seed, end.seed, alpha),
        Blend(start.negative_prompt or "", end.negative_prompt or "", alpha, method="lerp"),
        between(lambda one: one.guidance),
        image=seed,
        mask=mask,
        strength=between(lambda one: one.denoising),
    )


def to_mp3(samples: numpy.ndarray, rate: int) -> bytes:
    """Samples (channels, N) as an MP3 file, its peak 1 dB under full scale; silence stays so."""
    loudest = float(numpy.abs(samples).max(initial=0.0))
    if loudest > 0:
        samples = samples * (PEAK / loudest)
    if rate not in _MP3_RATES:
        import soxr

        samples, rate = soxr.resample(samples.T, rate, 44_100).T, 44_100
    file = io.BytesIO()
    soundfile.write(file, samples.T, rate, format="MP3")
    return file.getvalue()
