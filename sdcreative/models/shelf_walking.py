"""What lies in a folder of models: files, and diffusers folders as one thing each."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .strangers import is_file, parse_json, read_file

PIPELINE = "pipeline"


@dataclass(frozen=True)
class Walked:
    """A file or a diffusers folder.

    Attributes:
        name: from the folder that was walked, with "/".
        path: of it.
        said: of a folder, the class that it says to be, or "pipeline"; None for a file.
    """

    name: str
    path: Path
    said: str | None = None


def walk(root: Path, seen: set[str], without: Collection[str] = ()) -> Iterator[Walked]:
    """Files and diffusers folders below a folder, in order; links are followed.

    Hidden folders, and those of the hub's cache, are left out.

    Args:
        root: where to begin.
        seen: real paths of folders that are done; new ones are added.
        without: names of folders, in lower case, that are left out where they lie in ``root``.
    """
    for place, names, files in os.walk(root, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        folder = Path(place)
        if place != str(root) and (said := _class_of(folder, files)):
            names.clear()
            yield Walked(folder.relative_to(root).as_posix(), folder, said)
            continue
        left_out = without if folder == root else ()
        names[:] = sorted(
            name
            for name in names
            if not name.startswith((".", "models--")) and name.casefold() not in left_out
        )
        for file in sorted(files):
            if not file.startswith(".") and is_file(folder / file):
                yield Walked((folder / file).relative_to(root).as_posix(), folder / file)


def _class_of(folder: Path, files: Collection[str]) -> str | None:
    """The class of a diffusers folder, empty if it is damaged; None for an ordinary folder."""
    if "model_index.json" in files:
        return PIPELINE
    weights = ("diffusion_pytorch_model", "model", "pytorch_model")
    if "config.json" not in files or not any(file.split(".")[0] in weights for file in files):
        return None
    try:
        config = parse_json(read_file(folder / "config.json"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    said = config.get("_class_name") or config.get("architectures")
    said = said[0] if isinstance(said, list) and said else said
    return said if isinstance(said, str) and said else None
