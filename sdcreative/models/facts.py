"""What a model makes, read from its configuration without loading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..spectral.model_spectrogram import read_model_spectrogram
from ..spectral.params import SpectrogramParams
from .places import ModelPlace, as_place, model_folders
from .single_files.checkpoint import SingleFile
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


def model_facts(
    model: str,
    *,
    offline: bool = False,
    prediction_type: str | None = None,
    models_dir: Sequence[str] = (),
) -> ModelFacts:
    """Look at a model; one of the hub is fetched.

    Args:
        model: built-in name, folder of a diffusers model, single checkpoint file, or id on the
            Hugging Face hub.
        offline: never ask the hub.
        prediction_type: what the settings say; it decides the size of Stable Diffusion 2.
        models_dir: models folders, beside those of SDCREATIVE_MODELS_DIR.

    Raises:
        ModelError: not found, or no latent-diffusion model.
        DataError: its ``spectrogram.json`` is broken.
    """
    source = resolve(model, offline=offline, models_dir=model_folders(models_dir))
    folder = fetch(source, offline)
    size, multiple = native_size(ModelPlace(folder, prediction_type))
    said = read_model_spectrogram(folder)
    params, max_value = said or (SpectrogramParams(), MAX_VALUE)
    return ModelFacts(size, multiple, params, max_value, said is not None)


def reading_notes(place: Path | ModelPlace) -> tuple[str, ...]:
    """What people should know of how a model is read, one line each; none for a plain folder.

    Raises:
        ModelError: a single file that is broken, or of a family that cannot be run.
    """
    place = as_place(place)
    said = tuple(
        f"a prompt says {one.token!r}, which is {one.path} where that fits the model"
        for one in place.addons.embeddings
        if not one.listed
    )
    return (SingleFile(place).notes(), *said) if place.path.is_file() else said
