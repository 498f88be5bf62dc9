"""Where a model is: built-in, a folder, a single file, on a shelf, or on the Hugging Face hub.

Imports no torch.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from .hub_names import HubPlace, read_hub_name
from .shelves import look_up, names_in_shelves
from .strangers import at_home, is_file, is_folder, quoted

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
SINGLE_FILES = (".safetensors", ".ckpt")
"""endings that only the name of a file has; what a file is, its first bytes say"""
ENDINGS = (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
"""of weights files, most wanted first"""


@dataclass(frozen=True)
class Source:
    """A model that was named, not yet opened.

    Attributes:
        name: as the user wrote it.
        folder: where it is on this machine; None for a single file, and where the hub has to be
            asked.
        file: a single checkpoint file, or None.
        hub: what it is on the hub, or None.
    """

    name: str
    folder: Path | None = None
    file: Path | None = None
    hub: HubPlace | None = None


def builtin_names() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in BUILTIN.glob("*/model_index.json")))


def resolve(model: str, *, offline: bool = False, models_dir: Sequence[Path | str] = ()) -> Source:
    """Find out what a model's name means; opens no weights and asks no network.

    The first of these counts that there is: a built-in name, a path, a name in the models folders,
    a model on the hub.

    Args:
        model: built-in name, folder of a diffusers model, single checkpoint file, name of either
            in a models folder, or what ``hub_names`` reads: "owner/name", with a revision, a
            folder or file inside, or as a link.
        offline: look for models of the hub in the local cache now, so that a missing one is found
            early.
        models_dir: folders as ``shelves`` reads them.

    Raises:
        ModelError: it is none of these.
        UsageError: several files in the models folders have this name.
    """
    if model in builtin_names():
        return Source(model, folder=BUILTIN / model)
    path = at_home(model)
    if model and is_folder(path):
        return Source(model, folder=path)
    if is_file(path):
        return Source(model, file=path)
    if found := look_up("model", model, models_dir):
        return Source(model, folder=found) if found.is_dir() else Source(model, file=found)
    hub = read_hub_name(model)
    # owner/name.safetensors is rather a path that is wrong.
    if path.suffix.lower() in SINGLE_FILES and (hub is None or hub.inside is None):
        raise ModelError(f"model {quoted(model)}: there is no such file{_similar(path)}")
    if hub is not None:
        source = Source(model, hub=hub)
        if not offline:
            return source
        there = fetch(source, offline=True)
        return Source(model, hub=hub, **{"file" if hub.is_file else "folder": there})
    raise _unknown(model, models_dir)


def _unknown(model: str, models_dir: Sequence[Path | str]) -> ModelError:
    names = builtin_names()
    known = [*names, *names_in_shelves("model", models_dir)]
    close = difflib.get_close_matches(model, known, n=1)
    parts = model.split("/")
    if close:
        hint = f"did you mean {close[0]!r}?"
    elif len(parts) > 2 and read_hub_name(guess := f"{parts[0]}/{parts[1]}:{'/'.join(parts[2:])}"):
        hint = f"inside a model of the hub: {guess!r}"
    else:
        hint = f"built in: {', '.join(names) or 'none'}"
    where = ", a name in the models folder" if models_dir else ""
    return ModelError(
        f"no model {quoted(model)}: not a built-in name, a folder, a file{where} or a hub id "
        f"(owner/name); {hint}"
    )


def _similar(path: Path) -> str:
    """What else lies there, for a message."""
    try:
        there = sorted(one.name for one in path.parent.iterdir() if one.suffix in SINGLE_FILES)
    except OSError:
        return f"; there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, there, n=1)
    return f"; did you mean {str(path.parent / close[0])!r}?" if close else f" in {path.parent}"


def fetch(source: Source, offline: bool = False, *, also: Collection[str] = ()) -> Path:
    """The folder or file of a model; one on the hub is downloaded, or found in the local cache.

    Only what is loaded is downloaded: of the parts that ``model_index.json`` names and that
    are used, configurations, tokenizers, and the weights in one form; split weights where there
    are no others. HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured.

    Args:
        source: from ``resolve``.
        offline: never ask the network.
        also: parts that are not loaded otherwise, where the model has them: safety_checker,
            feature_extractor.

    Raises:
        ModelError: not in the cache and not to be had, with the command that fetches it; or of
            a family that cannot be run, which is said before weights are downloaded.
    """
    if found := source.folder or source.file:
        return found
    if source.hub is None:
        raise ModelError(f"model {source.name!r} is nowhere")
    from .hub import fetch_from_hub

    return fetch_from_hub(source.hub, offline=offline, also=also)
