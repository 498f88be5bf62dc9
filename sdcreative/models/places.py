"""A model on this machine, and how the settings want it read. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from ..core.prompt_syntax import read_prompt
from ..errors import ModelError
from .addons.wanted import NOTHING, Addons, find_addons
from .hub_names import read_hub_name
from .shelves import Kind, look_up, names_in_shelves
from .sources import BUILTIN, builtin_names, fetch, resolve
from .strangers import at_home, quoted

ENVIRONMENT = "SDCREATIVE_MODELS_DIR"
_NO_PROMPTS = frozenset(
    ("model", "loras", "embeddings", "models_dir", "swap", "sampler", "process", "output", "also")
)
"""settings whose texts are never prompts"""
TINY = {"sd": "taesd", "sdxl": "taesdxl", "sd3": "taesd3"}
"""family -> what its tiny autoencoder is called (github.com/madebyollin/taesd)"""
_SHELVES: dict[str, Kind] = {"vae": "vae", "scheduler": "model"}


@dataclass(frozen=True)
class ModelPlace:
    """Where a model is and how it is read.

    Attributes:
        path: folder of a diffusers model, or a single checkpoint file.
        prediction_type: epsilon or v_prediction, whatever the model says; None believes it.
        ema: the averaged weights of a single file that also has the last ones.
        addons: LoRAs and embeddings that are added to it.
        swaps: (name of a part, where another one is) in the order of the names.
    """

    path: Path
    prediction_type: str | None = None
    ema: bool = False
    addons: Addons = NOTHING
    swaps: tuple[tuple[str, Path], ...] = ()


class NamesParts(Protocol):
    """Settings that name parts."""

    def named(self) -> dict[str, str]: ...


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
    def models_dir(self) -> Sequence[str]: ...
    @property
    def safety(self) -> str: ...
    @property
    def swap(self) -> NamesParts: ...
    @property
    def reading(self) -> Literal["weighted", "plain"]: ...
    def model_dump(self) -> dict[str, Any]: ...


def locate(settings: NamesModel) -> ModelPlace:
    """The model that settings name, and what is added to it; one of the hub is fetched.

    LoRAs may also be named in any prompt: ``<lora:name:0.8>``, and embeddings in folders
    ``embeddings`` by their names.

    Raises:
        ModelError: not found.
        UsageError: a LoRA or an embedding is not found.
    """
    folders = model_folders(settings.models_dir)
    source = resolve(settings.model, offline=settings.offline, models_dir=folders)
    also = () if settings.safety == "off" else ("safety_checker", "feature_extractor")
    path = fetch(source, settings.offline, also=also)
    loras = [
        (one.file, one.scale, one.scale if one.text_scale is None else one.text_scale)
        for one in settings.loras
    ]
    values = settings.model_dump()
    if settings.reading == "weighted":
        for text in _texts(values):
            if "<lora:" in text.lower():
                tags = read_prompt(text, "weighted").loras
                loras += [(tag.name, tag.unet, tag.text_encoder) for tag in tags]
    addons = find_addons(
        list(dict.fromkeys(loras)),
        [(one.file, one.token) for one in settings.embeddings],
        folders,
        _texts({key: value for key, value in values.items() if key not in _NO_PROMPTS}),
    )
    swaps = tuple(
        (part, locate_part(part, name, folders, offline=settings.offline))
        for part, name in sorted(settings.swap.named().items())
    )
    place = ModelPlace(path, settings.prediction_type, settings.ema, addons, swaps)
    if getattr(settings, "preview", False) and "vae" not in dict(swaps):
        return _with_tiny(place, folders)
    return place


def _with_tiny(place: ModelPlace, folders: Sequence[str]) -> ModelPlace:
    """With a tiny autoencoder where the models folders have one for the model's family."""
    from .opening import open_model

    if (found := look_up("vae", TINY[open_model(place).family.name], folders)) is None:
        return place
    return replace(place, swaps=tuple(sorted((*place.swaps, ("vae", found)))))


def model_folders(named: Sequence[str]) -> tuple[str, ...]:
    """Models folders: those that settings name, then those of SDCREATIVE_MODELS_DIR."""
    return (*named, *filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)))


def locate_part(part: str, name: str, folders: Sequence[str], *, offline: bool = False) -> Path:
    """Where another part of a model is.

    Args:
        part: vae, scheduler, text_encoder, text_encoder_2 or text_encoder_3.
        name: a path, a name in the models folders, or an id on the hub.
        folders: models folders.
        offline: never ask the hub.

    Raises:
        ModelError: not found.
        UsageError: several files in the models folders have this name.
    """
    path = at_home(name)
    if os.path.exists(path):
        return path
    kind = _SHELVES.get(part, "text_encoder")
    if found := look_up(kind, name, folders):
        return found
    if name in builtin_names():
        return BUILTIN / name
    if (hub := read_hub_name(name)) is not None:
        from .hub import fetch_part

        return fetch_part(hub, part, offline=offline)
    known = ", ".join(names_in_shelves(kind, folders)[:5])
    raise ModelError(
        f"swap: no {part} {quoted(name)}: not a path, a name in a models folder or an id on the hub"
        + (f"; there are {known}" if known else "")
    )


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
