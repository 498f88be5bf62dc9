"""A model on this machine, and how the settings want it read. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from ..core.prompt_syntax import read_prompt
from .addons.wanted import NOTHING, Addons, find_addons
from .sources import fetch, resolve


@dataclass(frozen=True)
class ModelPlace:
    """Where a model is and how it is read.

    Attributes:
        path: folder of a diffusers model, or a single checkpoint file.
        prediction_type: epsilon or v_prediction, whatever the model says; None believes it.
        ema: the averaged weights of a single file that also has the last ones.
        addons: LoRAs and embeddings that are added to it.
    """

    path: Path
    prediction_type: str | None = None
    ema: bool = False
    addons: Addons = NOTHING


class NamesModel(Protocol):
    """Settings that name a model."""

    @property
    def model(self) -> str: ...
    @property
    def offline(self) -> bool: ...
    @property
    def prediction_type(self) -> str | None: ...
    @property
    def ema(self) -> bool: ...
    @property
    def loras(self) -> Sequence[Any]: ...
    @property
    def embeddings(self) -> Sequence[Any]: ...
    @property
    def addon_folders(self) -> Sequence[str]: ...
    @property
    def reading(self) -> Literal["weighted", "plain"]: ...
    def model_dump(self) -> dict[str, Any]: ...


def locate(settings: NamesModel) -> ModelPlace:
    """The model that settings name, and what is added to it; one of the hub is fetched.

    LoRAs may also be named in any prompt: ``<lora:name:0.8>``.

    Raises:
        ModelError: not found.
        UsageError: a LoRA or an embedding is not found.
    """
    path = fetch(resolve(settings.model, offline=settings.offline), settings.offline)
    loras = [
        (one.file, one.scale, one.scale if one.text_scale is None else one.text_scale)
        for one in settings.loras
    ]
    if settings.reading == "weighted":
        for text in _texts(settings.model_dump()):
            if "<lora:" in text.lower():
                tags = read_prompt(text, "weighted").loras
                loras += [(tag.name, tag.unet, tag.text_encoder) for tag in tags]
    addons = find_addons(
        list(dict.fromkeys(loras)),
        [(one.file, one.token) for one in settings.embeddings],
        settings.addon_folders,
    )
    return ModelPlace(path, settings.prediction_type, settings.ema, addons)


def _texts(value: Any) -> Iterator[str]:
    """All texts in settings, their prompts among them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def as_place(place: Path | ModelPlace) -> ModelPlace:
    """A place; a bare path is read as it says itself."""
    return place if isinstance(place, ModelPlace) else ModelPlace(place)
