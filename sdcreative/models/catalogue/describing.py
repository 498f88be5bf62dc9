"""What a model is: family, parts, sizes, memory; its weights are not read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..checks import find_weights
from ..digests import model_digest
from ..facts import reading_notes
from ..families import Family
from ..fitting import prediction_of
from ..opening import Source, open_model
from ..single_files.layouts import EMA, LAYOUTS, full_name
from ..single_files.reading import read_outline
from ..sizes import sizes_of
from ..strangers import open_file, shown
from .kinds import title_of
from .memory import memory
from .tensors import Amount, Listed, amount_of, list_tensors

AVERAGED = "averaged (EMA)"
_SAID = ("title", "author", "license", "date", "description", "usage_hint", "trigger_phrase")
_FRONT = 4096
_LONGEST = 400


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: as diffusers calls it, or "averaged (EMA)".
        kind: its class.
        amount: of its weights.
        loaded: whether it is read when the model is used.
    """

    name: str
    kind: str
    amount: Amount
    loaded: bool = True


@dataclass(frozen=True)
class Description:
    """What can be said of a model.

    Attributes:
        path: of it.
        form: diffusers folder or single file.
        family: sd, sdxl or sd3.
        title: the family as people call it.
        prediction_type: what the denoiser says.
        size: the model's own (width, height) in pixels.
        multiple: what both have to be multiples of.
        inpainting: whether the denoiser takes a mask and the masked picture.
        ema: whether averaged weights are there too.
        parts: with weights.
        parameters: of all that is loaded.
        digest: as in the keys of runs.
        said: licence, author and the like, by the model itself.
        memory: type -> bytes for the weights (load), and for one guided picture too (render).
        notes: how it is read.
    """

    path: str
    form: str
    family: str
    title: str
    prediction_type: str
    size: tuple[int, int]
    multiple: int
    inpainting: bool
    ema: bool
    parts: tuple[Part, ...]
    parameters: int
    digest: str
    said: Mapping[str, str]
    memory: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...]


def describe(path: Path, cache: Path | None = None) -> Description:
    """Look at a model.

    Args:
        path: diffusers folder or single file.
        cache: of digests, as ``model_digest`` takes it.

    Raises:
        ModelError: no model that can be used.
    """
    model = open_model(path)
    sizes = sizes_of(model)
    parts = _parts(model)
    parameters = sum(one.amount.parameters for one in parts if one.loaded)
    channels = model.configs[model.family.denoiser].get("in_channels")
    latents = model.configs["vae"].get("latent_channels")
    return Description(
        path=str(path),
        form="single file" if path.is_file() else "diffusers folder",
        family=model.family.name,
        title=title_of(model),
        prediction_type=str(prediction_of(model.scheduler)),
        size=sizes.own,
        multiple=sizes.multiple,
        inpainting=isinstance(latents, int) and channels == 2 * latents + 1,
        ema=any(one.name == AVERAGED for one in parts),
        parts=parts,
        parameters=parameters,
        digest=model_digest(path, cache),
        said=_said(path),
        memory=memory(parameters, model.configs, sizes.own, sizes.downsampling),
        notes=reading_notes(path),
    )


def _parts(model: Source) -> tuple[Part, ...]:
    if model.path.is_dir():
        return tuple(
            Part(name, _class(model, name), amount_of(_of_folder(model.path / name, name)))
            for name in model.configs
        )
    tensors = list_tensors(model.path)
    start = full_name(tensors)
    named = {start + name: one for name, one in tensors.items()}
    averaged = [one for name, one in named.items() if name.startswith(EMA)]
    parts = []
    for name in model.family.weights:
        begins = _prefixes(model.family, name)
        own = [one for key, one in named.items() if key.startswith(begins)]
        if own:
            is_loaded = name in model.configs
            parts.append(Part(name, _class(model, name), amount_of(own), is_loaded))
    if averaged:
        denoiser = _class(model, model.family.denoiser)
        parts.append(Part(AVERAGED, denoiser, amount_of(averaged), loaded=False))
    return tuple(parts)


def _prefixes(family: Family, part: str) -> tuple[str, ...]:
    """What the names of a part's tensors may begin with in a single file."""
    layouts = [one for one in LAYOUTS if one.family is family]
    return tuple({one.prefix(part) for one in layouts if part in family.parts})


def _of_folder(folder: Path, part: str) -> list[Listed]:
    paths = find_weights(folder, part)
    return [one for path in paths for one in list_tensors(path).values()]


def _class(model: Source, part: str) -> str:
    config = model.configs.get(part, {})
    said = config.get("_class_name") or config.get("architectures")
    said = said[0] if isinstance(said, list) and said else said
    return str(said or model.family.parts[part][1][0])


def _said(path: Path) -> dict[str, str]:
    """What a model says of itself: a file in its metadata, a folder at the top of its README."""
    if path.is_file():
        return said_in(read_outline(path).metadata)
    try:
        with open_file(path / "README.md") as file:
            text = file.read(_FRONT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return {}
    front = re.match(r"---\n(.*?)\n---", text, re.DOTALL)
    found = re.search(r"^license:[ \t]*(\S.*)$", front[1], re.MULTILINE) if front else None
    return {"license": shown(found[1].strip("\"' "))} if found else {}


def said_in(metadata: Mapping[str, Any]) -> dict[str, str]:
    """Licence, author and the like, in the names of ModelSpec.

    https://github.com/Stability-AI/ModelSpec
    """
    said = {key: metadata.get(f"modelspec.{key}") or metadata.get(key) for key in _SAID}
    return {
        key: shown(" ".join(text[: 2 * _LONGEST].split()), _LONGEST)
        for key, text in said.items()
        if isinstance(text, str) and text.strip()
    }


def is_model(path: Path) -> bool:
    """Whether a folder or a file claims to be a whole model, sound or not."""
    if path.is_dir():
        return True
    try:
        names = read_outline(path).shapes
    except ModelError:
        return False
    return any(name.startswith("model.diffusion_model.") for name in names)
