"""Folders of models as AUTOMATIC1111 and ComfyUI keep them, or plain ones. Imports no torch.

A models folder is the home of either program, its folder ``models``, a folder of files and
diffusers folders, or the ``extra_model_paths.yaml`` of ComfyUI, which is also read where it lies
in a home. Subfolders are searched, links are followed.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ..errors import UsageError
from .shelf_walking import Walked, walk
from .strangers import at_home, is_file, is_folder, quoted, read_file, said

Kind = Literal[
    "model",
    "vae",
    "lora",
    "embedding",
    "diffusion_model",
    "text_encoder",
    "clip_vision",
    "upscaler",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
EXTRA_PATHS = "extra_model_paths.yaml"
_LONGEST_YAML = 1 << 16
_DEEPEST_YAML = 20


@dataclass(frozen=True)
class _Layout:
    """Where things of a kind lie.

    Attributes:
        what: its name for the person.
        folders: names of their folders, in any case.
        endings: of their files, most wanted first.
        classes: what a folder of diffusers that is one of them begins its class with; a pipeline's
            is what its model_index.json says.
    """

    what: str
    folders: tuple[str, ...]
    endings: tuple[str, ...]
    classes: tuple[str, ...] = ()


_LAYOUTS: dict[Kind, _Layout] = {
    "model": _Layout(
        "model",
        ("checkpoints", "stable-diffusion", "diffusers"),
        (".safetensors", ".ckpt"),
        ("pipeline",),
    ),
    "vae": _Layout(
        "VAE", ("vae",), (".safetensors", ".pt", ".ckpt", ".bin"), ("Autoencoder", "VQModel")
    ),
    "lora": _Layout("LoRA", ("loras", "lora", "lycoris"), (".safetensors", ".pt", ".ckpt", ".bin")),
    # Beside an embedding often lies a picture of the same name; it is one only if nothing else is.
    "embedding": _Layout("embedding", ("embeddings",), (".safetensors", ".pt", ".bin", ".png")),
    "diffusion_model": _Layout(
        "diffusion model",
        ("diffusion_models", "unet"),
        (".safetensors", ".ckpt", ".pt", ".bin"),
        ("UNet2DConditionModel", "SD3Transformer2DModel"),
    ),
    "text_encoder": _Layout(
        "text encoder",
        ("text_encoders", "text_encoder", "clip"),
        (".safetensors", ".pt", ".bin"),
        ("CLIPText", "T5Encoder"),
    ),
    "clip_vision": _Layout(
        "CLIP vision model", ("clip_vision",), (".safetensors", ".pt", ".bin"), ("CLIPVision",)
    ),
    "upscaler": _Layout(
        "upscaler",
        ("upscale_models", "esrgan", "realesrgan", "swinir"),
        (".pth", ".safetensors", ".pt"),
    ),
}
_KIND_OF = {name: kind for kind, layout in _LAYOUTS.items() for name in layout.folders}


@dataclass(frozen=True)
class Shelved:
    """A thing in a models folder.

    Attributes:
        kind: of the shelf that it lies on; None in a plain folder, where nothing says it.
        name: of the file or diffusers folder, from the shelf on, with "/" and with its ending.
        path: of it.
    """

    kind: Kind | None
    name: str
    path: Path

    @property
    def stem(self) -> str:
        """The name without the ending of a file."""
        return self.name if self.path.is_dir() else self.name.rpartition(".")[0]


def find_in_shelves(kind: Kind, name: str, folders: Sequence[Path | str]) -> Path:
    """The file, or the diffusers folder, that a name means.

    Args:
        kind: what is wanted.
        name: a path, or a name in one of the folders, with or without its ending and the subfolder
            that it lies in; case matters only where two differ in it.
        folders: searched in this order.

    Raises:
        UsageError: there is none, with the nearest names; or several, with their paths.
    """
    layout = _LAYOUTS[kind]
    path = at_home(name)
    if name and (is_file(path) or (layout.classes and is_folder(path))):
        return path
    if found := look_up(kind, name, folders):
        return found
    known = names_in_shelves(kind, folders)
    close = difflib.get_close_matches(_plain(name).rpartition("/")[2], known, n=3)
    if close:
        hint = f"did you mean {' or '.join(repr(one) for one in close)}?"
    elif folders:
        hint = f"{len(known)} in {', '.join(str(folder) for folder in folders)}"
    else:
        hint = "give its path, or the folder that such files lie in"
    raise UsageError(f"no {layout.what} {quoted(name)}; {hint}")


def look_up(kind: Kind, name: str, folders: Sequence[Path | str]) -> Path | None:
    """As ``find_in_shelves``, of names alone; None if there is none.

    Raises:
        UsageError: several files are named so.
    """
    wanted = _plain(name)
    if not wanted:
        return None
    for folder in folders:
        there = list(shelved([folder], kind))
        for known_as in (_whole, _stem):
            for same in (_plain, _folded):
                found = [
                    one for one in there if f"/{same(known_as(one))}".endswith(f"/{same(wanted)}")
                ]
                if found:
                    return _one(found, name, _LAYOUTS[kind])
    return None


def names_in_shelves(kind: Kind, folders: Sequence[Path | str]) -> list[str]:
    """Names by which things of a kind are found, without folders and endings."""
    return sorted({one.stem.rpartition("/")[2] for one in shelved(folders, kind)})


def shelved(folders: Sequence[Path | str], kind: Kind | None = None) -> Iterator[Shelved]:
    """All things in models folders, of one kind or of all, folder by folder.

    A plain folder's things could be of any kind: only endings, and what diffusers folders say of
    themselves, tell them apart.
    """
    for folder in folders:
        homes = list(_homes(at_home(str(folder))))
        kinds = KINDS if kind is None else (kind,)
        shelves = [shelf for home in homes for shelf in home.shelves]
        for one in kinds:
            seen: set[str] = set()
            for _, root in (shelf for shelf in shelves if shelf[0] == one):
                for thing in walk(root, seen):
                    if _suits(thing, _LAYOUTS[one]):
                        yield Shelved(one, thing.name, thing.path)
        for home in homes:
            if home.plain is None or (kind and any(shelf[0] == kind for shelf in shelves)):
                continue
            for thing in walk(home.plain, set(), without=frozenset(_KIND_OF)):
                if any(_suits(thing, _LAYOUTS[one]) for one in kinds):
                    yield Shelved(_said(thing), thing.name, thing.path)


@dataclass(frozen=True)
class _Home:
    """Shelves, and the folder itself where it may be a plain one."""

    shelves: tuple[tuple[Kind, Path], ...]
    plain: Path | None


def _homes(folder: Path) -> Iterator[_Home]:
    if folder.suffix.lower() in (".yaml", ".yml") and folder.is_file():
        yield _Home(tuple(_extra(folder)), None)
        return
    own, inside = _shelves_in(folder), _shelves_in(folder / "models")
    extra = list(_extra(folder / EXTRA_PATHS))
    # In a program's home lies much that is no model.
    yield _Home((*inside, *own, *extra), None if inside or extra else folder)


def _shelves_in(folder: Path) -> list[tuple[Kind, Path]]:
    try:
        there = sorted(one for one in folder.iterdir() if one.is_dir())
    except OSError:
        return []
    known = [(name.name.casefold(), name) for name in there]
    return [
        (kind, path) for shelf, kind in _KIND_OF.items() for name, path in known if name == shelf
    ]


def _extra(path: Path) -> Iterator[tuple[Kind, Path]]:
    """Shelves that ComfyUI's extra_model_paths.yaml names.

    Raises:
        UsageError: it cannot be read.
    """
    if not is_file(path):
        return
    import yaml

    try:
        text = read_file(path, _LONGEST_YAML).decode("utf-8")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            # Merged into each other, a few aliases become millions of values; and brackets in
            # brackets take time by the square of their number.
            if isinstance(event, yaml.AliasEvent):
                raise UsageError(f"{path}: has an alias ('*name'); write the value out")
            if depth > _DEEPEST_YAML:
                raise UsageError(f"{path}: is nested over {_DEEPEST_YAML} levels; make it flatter")
        content = yaml.safe_load(text)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: cannot be read: {said(error)}") from None
    for section in content.values() if isinstance(content, dict) else ():
        if not isinstance(section, dict):
            continue
        base = section.get("base_path")
        start = path.parent / at_home(base) if isinstance(base, str) else path.parent
        for name, places in section.items():
            kind = _KIND_OF.get(str(name).casefold())
            if kind is None or not isinstance(places, str):
                continue
            for place in filter(None, map(str.strip, places.splitlines())):
                if is_folder(start / at_home(place)):
                    yield kind, start / at_home(place)


def _suits(thing: Walked, layout: _Layout) -> bool:
    """Whether a thing can be of a kind."""
    if thing.said is not None:
        return bool(layout.classes) and thing.said.startswith(layout.classes)
    lowered = thing.name.lower()
    # A1111 keeps the VAE of a checkpoint beside it: name.vae.pt.
    is_beside = layout.what == "model" and os.path.splitext(lowered)[0].endswith(".vae")
    return lowered.endswith(layout.endings) and not is_beside


def _said(thing: Walked) -> Kind | None:
    """What a folder of diffusers is."""
    return next(
        (kind for kind, layout in _LAYOUTS.items() if thing.said and _suits(thing, layout)), None
    )


def _one(found: Sequence[Shelved], name: str, layout: _Layout) -> Path:
    """The file with the best ending, if all are the same but for that."""
    if len({(one.path.parent, _stem(one)) for one in found}) > 1:
        raise UsageError(
            f"{len(found)} files are {layout.what}s named {name!r}: "
            f"{', '.join(str(one.path) for one in found[:4])}; give the path of one"
        )
    files = [one.path for one in found if one.path.suffix.lower() in layout.endings]
    if not files:
        return found[0].path
    return min(files, key=lambda path: layout.endings.index(path.suffix.lower()))


def _plain(name: str) -> str:
    """A name with "/" alone, accents in one form (macOS takes them apart in names of files)."""
    return unicodedata.normalize("NFC", name.replace("\\", "/").strip("/"))


def _folded(name: str) -> str:
    return _plain(name).casefold()


def _whole(one: Shelved) -> str:
    return one.name


def _stem(one: Shelved) -> str:
    return one.stem
