"""Where a model is: built-in, a folder, a single file, or on the Hugging Face hub.

Imports no torch.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError

BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
PARTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
"""folder of each part with weights -> name of its weights file, without the ending"""
SINGLE_FILES = (".safetensors", ".ckpt")
"""endings that only the name of a file has; what a file is, its first bytes say"""
ENDINGS = (".safetensors", ".fp16.safetensors", ".bin")
"""of weights files, most wanted first"""


@dataclass(frozen=True)
class Source:
    """A model that was named, not yet opened.

    Attributes:
        name: as the user wrote it.
        folder: where it is on this machine; None for a single file, and where the hub has to be
            asked.
        hub_id: "owner/name" on the hub, or None.
        file: a single checkpoint file, or None.
    """

    name: str
    folder: Path | None = None
    hub_id: str | None = None
    file: Path | None = None


def builtin_names() -> tuple[str, ...]:
    """Names of the models that come with the package."""
    return tuple(sorted(path.parent.name for path in BUILTIN.glob("*/model_index.json")))


def resolve(model: str, *, offline: bool = False) -> Source:
    """Find out what a model's name means; opens no weights and asks no network.

    Args:
        model: built-in name, folder of a diffusers model, single checkpoint file, or hub id
            "owner/name".
        offline: look for hub ids in the local cache now, so that a missing one is found early.

    Raises:
        ModelError: it is none of these.
    """
    if model in builtin_names():
        return Source(model, folder=BUILTIN / model)
    path = Path(model).expanduser()
    if model and path.is_dir():
        return Source(model, folder=path)
    if path.is_file():
        return Source(model, file=path)
    if path.suffix.lower() in SINGLE_FILES:
        raise ModelError(f"model {model!r}: there is no such file{_similar(path)}")
    if re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", model):
        source = Source(model, hub_id=model)
        return (
            Source(model, folder=fetch(source, offline=True), hub_id=model) if offline else source
        )
    names = builtin_names()
    close = difflib.get_close_matches(model, names, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"built in: {', '.join(names) or 'none'}"
    raise ModelError(
        f"no model {model!r}: not a built-in name, a folder, a file or a hub id (owner/name); "
        f"{hint}"
    )


def _similar(path: Path) -> str:
    """What else lies there, for a message."""
    try:
        there = sorted(one.name for one in path.parent.iterdir() if one.suffix in SINGLE_FILES)
    except OSError:
        return f"; there is no folder {path.parent} either"
    close = difflib.get_close_matches(path.name, there, n=1)
    return f"; did you mean {str(path.parent / close[0])!r}?" if close else f" in {path.parent}"


def fetch(source: Source, offline: bool = False) -> Path:
    """The folder or file of a model; one on the hub is downloaded, or found in the local cache.

    Only what is loaded is downloaded: configurations, the tokenizer, and one weights file per
    part. HF_HOME, HF_HUB_CACHE and HF_HUB_OFFLINE are honoured.

    Args:
        source: from ``resolve``.
        offline: never ask the network.

    Raises:
        ModelError: not in the cache and not to be had, with the command that fetches it.
    """
    if found := source.folder or source.file:
        return found
    patterns = ["model_index.json", "scheduler/*.json", "tokenizer/*.json", "tokenizer/*.txt"]
    patterns += ["spectrogram.json", *(f"{part}/config.json" for part in PARTS)]
    lacking = list(PARTS)
    folder = Path()
    for ending in ENDINGS:
        wanted = [f"{part}/{PARTS[part]}{ending}" for part in lacking]
        folder = _snapshot(source, [*patterns, *wanted], offline)
        lacking = [
            part for part in lacking if not (folder / part / (PARTS[part] + ending)).exists()
        ]
        if not lacking:
            return folder
    if not (folder / "model_index.json").exists() and not offline:
        raise ModelError(
            f"{source.hub_id} on the hub is not a diffusers model: no model_index.json"
        )
    raise _unavailable(source, f"has no weights of {', '.join(lacking)}")


def _snapshot(source: Source, patterns: list[str], offline: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    hub_id: Any = source.hub_id
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns, local_files_only=offline))
    except GatedRepoError:
        raise ModelError(
            f"{hub_id} asks for its licence to be accepted: do that on https://huggingface.co/"
            f"{hub_id}, then run `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"no model {hub_id!r}: neither a folder here nor a (public) model on the hub"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        why = "is not in the cache" if offline else "is not in the cache, the hub not reachable"
        raise _unavailable(source, why) from None
    except (HfHubHTTPError, OSError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _unavailable(source, f"could not be fetched ({lines[0]})") from None


def _unavailable(source: Source, why: str) -> ModelError:
    from huggingface_hub import constants

    return ModelError(
        f"model {source.hub_id} {why} ({constants.HF_HUB_CACHE}); "
        f"where there is a network, run `hf download {source.hub_id}`"
    )
