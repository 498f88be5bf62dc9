"""Models on the Hugging Face hub: downloaded, or found in its local cache. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..errors import ModelError
from .families import tokenizer_of, weights_name
from .hub_access import UnreachableError, advice, ask, fetch_file, list_files
from .hub_access import snapshot as _snapshot
from .hub_names import HubPlace
from .shards import shard_names
from .sources import ENDINGS, SINGLE_FILES

INDEX = "model_index.json"
_SHOWN = 4
_OF_TRANSFORMERS = ("safety_checker", "image_encoder")


def fetch_from_hub(place: HubPlace, *, offline: bool = False, also: Collection[str] = ()) -> Path:
    """The folder, or the file, of a model in the hub's cache, after downloading what lacks.

    Args:
        place: of the model.
        offline: never ask the network.
        also: parts beside those that are loaded, where the model has them.

    Raises:
        ModelError: not to be had, and why; or of a family that cannot be run.
    """
    if place.is_file:
        return fetch_file(place, offline)
    return _reached(
        offline, lambda: _download(place, also), lambda: _whole(_cached(place), place, also)
    )


def fetch_part(place: HubPlace, part: str, *, offline: bool = False) -> Path:
    """One part of a model, in the hub's cache, after downloading what lacks.

    Args:
        place: a model with such a part, a repository or a folder that is one, or a file.
        part: vae, text_encoder, ..., or scheduler.
        offline: never ask the network.

    Returns:
        the file; the folder of the part, or that which holds it by its name.

    Raises:
        ModelError: not to be had, and why.
    """
    if place.is_file:
        return fetch_file(place, offline)
    return _reached(
        offline,
        lambda: _download_part(place, part, False),
        lambda: _download_part(place, part, True),
    )


def _reached(offline: bool, download: Callable[[], Path], find: Callable[[], Path]) -> Path:
    """What is downloaded; what the cache has where the hub is not to be asked, or silent."""
    if offline:
        return find()
    try:
        return download()
    except UnreachableError as unreachable:
        try:
            return find()
        except UnreachableError:
            raise unreachable from None


def _download(place: HubPlace, also: Collection[str]) -> Path:
    from .checks import check_index

    ask(place)
    inside = f"{place.inside}/" if place.inside else ""
    root = _snapshot(place, place.revision, [f"{inside}{INDEX}"])
    folder = root / inside
    if not (folder / INDEX).is_file():
        raise _no_model(place)
    check_index(folder)
    there = _parts(folder, also)
    # The first answer said which commit it is; all else is of the same, and needs no asking.
    small = ["scheduler/*.json", "spectrogram.json"]
    for part in there:
        small += _small(f"{part}/", part)
    _snapshot(place, root.name, [inside + one for one in small])
    for part in there:
        if _has_weights(part):
            _fetch_weights(place, root, f"{inside}{part}/", part)
    return _whole(folder, place, also)


def _download_part(place: HubPlace, part: str, offline: bool) -> Path:
    if not offline:
        ask(place)
    inside = f"{place.inside}/" if place.inside else ""
    # Published autoencoders are often a repository of their own.
    small = [*_small("", part), *_small(f"{part}/", part)]
    if part.startswith("text_encoder"):
        small += _small(f"{tokenizer_of(part)}/", tokenizer_of(part))
    config = "scheduler_config.json" if part == "scheduler" else "config.json"
    if offline:
        # What else such names could be need not be there.
        small = [config, f"{part}/{config}"]
    root = _snapshot(place, place.revision, [inside + one for one in small], offline)
    folder = root / inside
    start = next((one for one in (f"{part}/", "") if (folder / one / config).is_file()), None)
    if start is None:
        raise ModelError(f"{place} on the hub has no {part}: no {part}/{config}, no {config}")
    if part != "scheduler":
        if not offline:
            _fetch_weights(place, root, inside + start, part)
        if not _is_there(folder / start, part):
            raise UnreachableError(advice(place, f"has no weights of {part}"))
    return folder


def _small(start: str, part: str) -> list[str]:
    """Files of a part without its weights; an asterisk stands for anything."""
    if part == "scheduler":
        names = ["scheduler_config.json"]
    elif _has_weights(part):
        names = ["config.json", f"{_stem(part)}.*index*.json"]
    else:
        names = ["*.json", "*.txt", "*.model"]
    return [start + name for name in names]


def _fetch_weights(place: HubPlace, root: Path, start: str, part: str) -> None:
    """Download the weights of a part in the form most wanted, unless they are there in any."""
    folder = root / start
    for ending in ENDINGS:
        if _is_there(folder, part):
            return
        _snapshot(place, root.name, [f"{start}{_stem(part)}{ending}"])
    if not _is_there(folder, part):
        for index in _indices(folder, part)[:1]:
            _snapshot(place, root.name, [start + shard for shard in shard_names(index, part)])


def _whole(folder: Path | None, place: HubPlace, also: Collection[str]) -> Path:
    """A folder in the cache that has all that is loaded."""
    if folder is None:
        raise UnreachableError(advice(place, "is not in the cache"))
    if lacking := _lacking(folder, _parts(folder, also)):
        raise UnreachableError(advice(place, f"has no weights of {', '.join(lacking)}"))
    return folder


def _cached(place: HubPlace) -> Path | None:
    """What the cache has of a folder, perhaps not the whole of it."""
    inside = place.inside or ""
    try:
        root = _snapshot(place, place.revision, [f"{inside}/{INDEX}".lstrip("/")], offline=True)
    except UnreachableError:
        return None
    return root / inside if (root / inside / INDEX).is_file() else None


def _parts(folder: Path, also: Collection[str]) -> list[str]:
    """Parts that are wanted and that the model has."""
    from .checks import check_index, read_json

    _, there = check_index(folder)
    index = read_json(folder / INDEX, "the model")
    named = (part for part in also if index.get(part) not in (None, [None, None]))
    return [*there, *(part for part in named if part not in there)]


def _has_weights(part: str) -> bool:
    return not part.startswith("tokenizer") and part != "feature_extractor"


def _stem(part: str) -> str:
    return "model" if part in _OF_TRANSFORMERS else weights_name(part)


def _lacking(folder: Path, parts: Sequence[str]) -> list[str]:
    """Parts whose weights are not there in any form."""
    return [part for part in parts if _has_weights(part) and not _is_there(folder / part, part)]


def _is_there(folder: Path, part: str) -> bool:
    """Whether a folder has the weights of a part, in any form."""
    if any((folder / (_stem(part) + ending)).exists() for ending in ENDINGS):
        return True
    return any(
        all((folder / shard).exists() for shard in shard_names(index, part))
        for index in _indices(folder, part)
    )


def _indices(folder: Path, part: str) -> list[Path]:
    """Tables of split weights, most wanted first: safetensors, and not rounded to float16."""
    return sorted(
        folder.glob(f"{_stem(part)}.*index*.json"),
        key=lambda index: (".safetensors" not in index.name, ".fp16." in index.name),
    )


def _no_model(place: HubPlace) -> ModelError:
    """The error for a repository, or a folder of one, without model_index.json."""
    names = list_files(place)
    start = f"{place.inside}/" if place.inside else ""
    files = [name for name in names if name.startswith(start) and name.endswith(SINGLE_FILES)]
    folders = [name.removesuffix(f"/{INDEX}") for name in names if name.endswith(f"/{INDEX}")]
    root = HubPlace(place.repository, place.revision)
    hints = [f"{root}:{name}" for name in [*folders, *sorted(files, key=lambda one: "/" in one)]]
    hint = f"; name what is inside, such as {', '.join(hints[:_SHOWN])}" if hints else ""
    return ModelError(f"{place} on the hub is not a diffusers model: no {INDEX}{hint}")
