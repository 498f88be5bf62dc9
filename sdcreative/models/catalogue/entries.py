"""The models and add-ons that are on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..hub_names import HubPlace
from ..shelves import shelved
from ..sources import BUILTIN, SINGLE_FILES, builtin_names
from .kinds import identify

INDEX = "model_index.json"
_MAIN = "main"


@dataclass(frozen=True)
class Entry:
    """A thing that a preset can name.

    Attributes:
        name: by which it is found.
        kind: model, lora, embedding, vae, ...
        family: as people call it; None where nothing shows it.
        where: built-in, models folder or hub cache.
        path: of it.
        size: in bytes.
        fault: why it cannot be used; None if nothing is seen to be wrong.
    """

    name: str
    kind: str
    family: str | None
    where: str
    path: str
    size: int
    fault: str | None = None


def list_entries(models_dir: Sequence[Path | str]) -> Iterator[Entry]:
    """Built-in models, what is in models folders, and models in the hub's cache.

    Raises:
        UsageError: an extra_model_paths.yaml that cannot be read.
    """
    for name in builtin_names():
        yield _entry(name, "built-in", BUILTIN / name)
    for thing in shelved(models_dir):
        found = identify(thing.path, thing.kind)
        yield Entry(
            thing.stem,
            found.kind,
            found.family,
            "models folder",
            str(thing.path),
            size_of(thing.path),
            found.fault,
        )
    for place, path in cached():
        yield _entry(str(place), "hub cache", path)


def cached(cache: Path | None = None) -> Iterator[tuple[HubPlace, Path]]:
    """Diffusers models and single files in the hub's cache: what each is on the hub, and where.

    Args:
        cache: of the hub; where the environment says, if left out.
    """
    if cache is None:
        from huggingface_hub import constants

        cache = Path(constants.HF_HUB_CACHE)
    for folder in sorted(cache.glob("models--*--*")):
        repository = folder.name.removeprefix("models--").replace("--", "/", 1)
        for ref in sorted(one for one in (folder / "refs").rglob("*") if one.is_file()):
            revision = ref.relative_to(folder / "refs").as_posix()
            named = None if revision == _MAIN else revision
            snapshot = folder / "snapshots" / ref.read_text(encoding="utf-8").strip()
            # Whole snapshots, folders of one, and files that are no part of either.
            models = sorted(index.parent for index in snapshot.rglob(INDEX))
            for model in models:
                inside = None if model == snapshot else model.relative_to(snapshot).as_posix()
                yield HubPlace(repository, named, inside), model
            if snapshot in models:
                continue
            for file in sorted(snapshot.rglob("*")):
                if file.suffix in SINGLE_FILES and not set(file.parents) & set(models):
                    yield HubPlace(repository, named, file.relative_to(snapshot).as_posix()), file


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; links are followed."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(file.stat().st_size for file in files)


def _entry(name: str, where: str, path: Path) -> Entry:
    found = identify(path)
    return Entry(name, found.kind, found.family, where, str(path), size_of(path), found.fault)
