"""A pair by the name of a model: built in, in a folder, or on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from ...errors import ModelError
from ..checks import read_json
from ..hub_names import HubPlace
from ..placement import pick_device
from ..sources import resolve
from ..strangers import shown
from .locked import MODEL_TYPE, open_locked
from .pair import PictureText
from .towers import CLASSES, WEIGHTS, open_pair

DEFAULT = "emoji"
"""the built-in pair"""
PAIR = "clip"
"""folder of the pair in that of a diffusion model"""
TOKENIZERS = ("tokenizer.json", "vocab.json", "spiece.model")
"""one of these is in the folder of every tokenizer"""
_SMALL = (
    "config.json",
    "preprocessor_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "merges.txt",
    *TOKENIZERS,
)


def load_pair(model: str = DEFAULT, *, device: str = "auto", offline: bool = False) -> PictureText:
    """A model that says how well pictures fit texts, by its name; in float32.

    Args:
        model: a built-in name, the folder of a diffusion model that has a pair in ``clip/``, the
            folder of a CLIP or SigLIP in transformers' format, or a hub id of one.
        device: auto, cpu, cuda, mps.
        offline: never ask the network.

    Raises:
        ModelError: there is none, or it is broken, or of a kind that is not known here.
        UsageError: no such device.
    """
    chosen = pick_device(device)
    folder = find_pair(model, offline=offline)
    config = read_json(folder / "config.json", f"the pair {model}")
    kind = config.get("model_type")
    if kind == MODEL_TYPE:
        return open_locked(model, folder, chosen)
    if not isinstance(kind, str) or kind not in CLASSES:
        raise ModelError(
            f"{folder} holds a {shown(kind or 'model without model_type')}, which is no pair of "
            f"picture and text; known are {', '.join(CLASSES)}"
        )
    beside = folder.parent / "tokenizer"
    has_own = any((folder / name).is_file() for name in TOKENIZERS)
    tokenizer = folder if has_own or not beside.is_dir() else beside
    return open_pair(model, folder, config, tokenizer, chosen)


def find_pair(model: str, *, offline: bool = False) -> Path:
    """The folder of a pair, downloaded where it is on the hub; see ``load_pair``.

    Raises:
        ModelError: there is none.
    """
    source = resolve(model)
    if source.hub is not None:
        return _fetch(source.hub, offline)
    if source.folder is None:
        raise ModelError(
            f"{model} is a single file; a pair is a folder with config.json, weights and tokenizer"
        )
    for folder in (source.folder, source.folder / PAIR):
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(
        f"{model} has no pair of picture and text: neither config.json nor a folder {PAIR}/ in "
        f"{source.folder}; take {DEFAULT}, or the folder of a CLIP or SigLIP"
    )


def _fetch(place: HubPlace, offline: bool) -> Path:
    """From the hub, or from its cache where the hub cannot be asked."""
    from ..hub_access import UnreachableError, ask

    if offline:
        return _download(place, offline=True)
    try:
        ask(place)
        return _download(place, offline=False)
    except UnreachableError as unreachable:
        try:
            return _download(place, offline=True)
        except ModelError:
            raise unreachable from None


def _download(place: HubPlace, *, offline: bool) -> Path:
    from ..hub_access import snapshot

    inside = f"{place.inside}/" if place.inside else ""
    revision = place.revision
    folder = snapshot(place, revision, [inside + name for name in _SMALL], offline) / inside
    if not (folder / "config.json").is_file():
        raise ModelError(f"{place} on the hub is no pair of picture and text: no config.json")
    for name in WEIGHTS:
        stem = name.removesuffix(".index.json")
        # Of split weights the table, and all files whose names begin as those that it names do.
        wanted = [name] if stem == name else [name, f"{Path(stem).stem}-*{Path(stem).suffix}"]
        snapshot(place, revision, [inside + one for one in wanted], offline)
        if (folder / name).is_file():
            return folder
    raise ModelError(f"{place} on the hub has no weights such as {WEIGHTS[0]}")
