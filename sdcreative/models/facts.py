"""What a model makes, read from its folder without loading it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..spectral.model_spectrogram import read_model_spectrogram
from ..spectral.params import SpectrogramParams
from .sizes import native_size
from .sources import fetch, resolve

MAX_VALUE = 30e6
"""the magnitude that black stands for in Riffusion's pictures"""


@dataclass(frozen=True)
class ModelFacts:
    """What a plugin may want to know before it plans.

    Attributes:
        size: the model's own (width, height) in pixels.
        multiple: what widths and heights have to be multiples of.
        spectrogram: how sound becomes its pictures; Riffusion's way if it does not say.
        max_value: the magnitude that black stands for in them.
        musical: whether the model says that its pictures are spectrograms.
    """

    size: tuple[int, int]
    multiple: int
    spectrogram: SpectrogramParams
    max_value: float
    musical: bool


def model_facts(model: str, *, offline: bool = False) -> ModelFacts:
    """Look at a model; one of the hub is fetched.

    Args:
        model: built-in name, folder of a diffusers model, or id on the Hugging Face hub.
        offline: never ask the hub.

    Raises:
        ModelError: not found, or no latent-diffusion model.
        DataError: its ``spectrogram.json`` is broken.
    """
    folder = fetch(resolve(model, offline=offline), offline)
    size, multiple = native_size(folder)
    said = read_model_spectrogram(folder)
    params, max_value = said or (SpectrogramParams(), MAX_VALUE)
    return ModelFacts(size, multiple, params, max_value, said is not None)
