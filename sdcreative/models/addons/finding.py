"""Where a LoRA or an embedding is, by its path or its name, and its digest. Imports no torch."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import ModelError, UsageError

Kind = Literal["lora", "embedding"]


@dataclass(frozen=True)
class _Layout:
    """Where files of a kind lie.

    Attributes:
        what: its name for the person.
        folders: inside a folder that is searched; the first that is there counts, and the folder
            itself where none is. ComfyUI's, AUTOMATIC1111's, then the last part of both.
        endings: most wanted first.
    """

    what: str
    folders: tuple[str, ...]
    endings: tuple[str, ...]


_LAYOUTS: dict[Kind, _Layout] = {
    "lora": _Layout(
        "LoRA",
        ("models/loras", "models/Lora", "models/LyCORIS", "loras", "Lora", "LyCORIS"),
        (".safetensors", ".pt", ".ckpt", ".bin"),
    ),
    # Beside an embedding often lies a picture of the same name; it is one only if nothing else is.
    "embedding": _Layout(
        "embedding",
        ("models/embeddings", "embeddings"),
        (".safetensors", ".pt", ".bin", ".png"),
    ),
}


def find_addon(name: str, folders: Sequence[Path | str], kind: Kind) -> Path:
    """The file that a name means.

    Args:
        name: a path, or a file's name in one of the folders, with or without its ending and the
            subfolder that it lies in; case matters only where two files differ in it.
        folders: searched in this order; each the home of ComfyUI or AUTOMATIC1111, or a folder
            of such files itself. Subfolders are searched too.
        kind: lora or embedding.

    Raises:
        UsageError: there is none, with the nearest names; or several, with their paths.
    """
    layout = _LAYOUTS[kind]
    path = Path(name).expanduser()
    if name and path.is_file():
        return path
    wanted = name.replace("\\", "/").strip("/")
    known: list[str] = []
    for folder in folders:
        files = dict(_files(Path(folder).expanduser(), layout))
        for same in (_is_same, _is_same_but_for_case):
            found = [each for each, inside in files.items() if wanted and same(wanted, inside)]
            if found:
                return _one(found, name, layout)
        known += [Path(inside).stem for inside in files.values()]
    close = difflib.get_close_matches(Path(wanted).stem, sorted(set(known)), n=3)
    if close:
        hint = f"did you mean {' or '.join(repr(one) for one in close)}?"
    elif folders:
        hint = f"{len(known)} in {', '.join(str(folder) for folder in folders)}"
    else:
        hint = "give its path, or the folder that such files lie in"
    raise UsageError(f"no {layout.what} {name!r}; {hint}")


def addon_digest(path: Path) -> str:
    """SHA-256 of a file, its first 16 hexadecimal digits; part of the key of every frame.

    Raises:
        ModelError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:16]


def _files(folder: Path, layout: _Layout) -> Iterator[tuple[Path, str]]:
    """Files of a kind, and their names from where they are searched, links followed."""
    roots = [folder / inside for inside in layout.folders if (folder / inside).is_dir()]
    seen: set[str] = set()
    for root in roots or [folder]:
        for place, names, files in os.walk(root, followlinks=True):
            real = os.path.realpath(place)
            if real in seen:
                names.clear()
                continue
            seen.add(real)
            names.sort()
            for file in sorted(files):
                if file.lower().endswith(layout.endings):
                    path = Path(place, file)
                    yield path, path.relative_to(root).as_posix()


def _is_same(wanted: str, inside: str) -> bool:
    stem = inside.rpartition(".")[0]
    return any(one == wanted or one.endswith(f"/{wanted}") for one in (inside, stem))


def _is_same_but_for_case(wanted: str, inside: str) -> bool:
    return _is_same(wanted.casefold(), inside.casefold())


def _one(found: Sequence[Path], name: str, layout: _Layout) -> Path:
    """The file with the best ending, if all are the same but for that."""
    if len({path.with_suffix("") for path in found}) > 1:
        raise UsageError(
            f"{len(found)} files are {layout.what}s named {name!r}: "
            f"{', '.join(str(path) for path in found[:4])}; give the path of one"
        )
    return min(found, key=lambda path: layout.endings.index(path.suffix.lower()))
