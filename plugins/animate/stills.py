"""Finished stills as keyframes: how a picture was made, read out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sdcreative import DataError, RenderSettings

from .keyframes import Keyframe

if TYPE_CHECKING:
    from .settings import AnimateSettings

Size = tuple[int, int]
FILM = ("model", "steps", "sampler")


@dataclass(frozen=True)
class Still:
    """What a finished picture was made from.

    Attributes:
        path: of the picture, as the preset says it.
        keyframe: its settings that a keyframe can have.
        film: those that a film has: model, steps and sampler, where they are known.
        size: (width, height) that it was made in, in pixels.
        own_size: whether that is the model's own, as far as is known.
    """

    path: str
    keyframe: Mapping[str, Any]
    film: Mapping[str, Any]
    size: Size
    own_size: bool


def restore(settings: AnimateSettings) -> tuple[list[Keyframe], Size | None]:
    """The keyframes in order, stills with the settings that are in them, and the film's size.

    What a keyframe says beside its still counts. A film that does not say its size has that of
    its stills.

    Raises:
        DataError: a still that cannot be read, says nothing of its making, is no single picture of
            a prompt, or was made in another way than the film is to be.
    """
    stops = list(settings.stops.values())
    stills = {stop.still: read_still(stop.still) for stop in stops if stop.still is not None}
    _check_alike(list(stills.values()))
    for still in stills.values():
        _check_film(still, settings)
    size = settings.size
    if size is None and not all(still.own_size for still in stills.values()):
        size = next(iter(stills.values())).size
    return [
        stop if stop.still is None else _filled(stop, stills[stop.still]) for stop in stops
    ], size


def read_still(name: str) -> Still:
    """How a still was made.

    Raises:
        DataError: it cannot be read, or is no single picture that was made from a prompt alone.
    """
    from sdcreative import read_picture, read_provenance

    path = Path(name).expanduser()
    found = read_provenance(path)
    made = found.settings
    if found.plugin != "image":
        raise DataError(f"{name}: was made by '{found.plugin}'; a still is made by 'image'")
    if not isinstance(made.get("prompt"), str) or made.get("count", 1) != 1:
        raise DataError(f"{name}: is a sheet of pictures; make the one you want by itself")
    if made.get("image") is not None:
        raise DataError(
            f"{name}: was made from another picture, {made['image']}; show it with 'image' in "
            "place of 'still'"
        )
    known = {key: made[key] for key in (*FILM, "size") if made.get(key) is not None}
    try:
        checked = RenderSettings(**known)
    except ValidationError as error:
        raise _broken(name, error) from error
    return Still(
        name,
        {
            "prompt": made["prompt"],
            "negative_prompt": made.get("negative_prompt", ""),
            "guidance_scale": made.get("guidance_scale"),
            "seed": made.get("seed", found.seed),
        },
        {key: getattr(checked, key) for key in FILM if key in known},
        checked.size or read_picture(path).size,
        checked.size is None,
    )


def _broken(name: str, error: ValidationError) -> DataError:
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return DataError(f"{name}: the settings in it are broken: {key}: {first['msg']}")


def _filled(stop: Keyframe, still: Still) -> Keyframe:
    given = {name: getattr(stop, name) for name in still.keyframe}
    filled = {name: still.keyframe[name] if own is None else own for name, own in given.items()}
    try:
        return Keyframe(**filled)
    except ValidationError as error:
        raise _broken(still.path, error) from error


def _check_alike(stills: list[Still]) -> None:
    """Refuse stills that no film can hold together."""
    for still in stills[1:]:
        first = stills[0]
        pairs = [(key, first.film.get(key), still.film.get(key)) for key in first.film | still.film]
        for key, one, other in [*pairs, ("size", _pixels(first.size), _pixels(still.size))]:
            if one is not None and other is not None and not _same(key, one, other):
                raise DataError(
                    f"{still.path}: was made with {key} {other}, and {first.path} with {one}; "
                    "the stills of a film have to agree: make one of them anew"
                )


def _check_film(still: Still, settings: AnimateSettings) -> None:
    """Refuse a still that the film would not make again."""
    made = dict(still.film)
    if settings.size is not None:
        made["size"] = _pixels(still.size)
    wanted = {key: getattr(settings, key) for key in still.film}
    if settings.size is not None:
        wanted["size"] = _pixels(settings.size)
    others = [key for key in made if not _same(key, made[key], wanted[key])]
    if others:
        was = " and ".join(f"{key} {made[key]}" for key in others)
        has = " and ".join(f"{key} {wanted[key]}" for key in others)
        change = ", ".join(f"'{key}: {made[key]}'" for key in others)
        raise DataError(f"{still.path}: was made with {was}, the film has {has}; set {change}")


def _same(key: str, one: Any, other: Any) -> bool:
    if key == "model" and isinstance(one, str) and isinstance(other, str):
        # A folder may be named in several ways.
        return (
            one == other or Path(one).expanduser().resolve() == Path(other).expanduser().resolve()
        )
    return bool(one == other)


def _pixels(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
