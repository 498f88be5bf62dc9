"""What a model is, whatever its folder is called: a digest of all that is loaded of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path

from ..errors import ModelError
from .families import FAMILIES, tokenizer_of
from .places import ModelPlace, as_place
from .strangers import open_file

PARTS = tuple(dict.fromkeys([*(part for one in FAMILIES for part in one.parts), "scheduler"]))
KINDS = (".json", ".safetensors", ".bin", ".txt", ".model")
_DIGITS = 16


def model_digest(place: Path | ModelPlace, cache: Path | None = None) -> str:
    """SHA-256 of the names and contents of a model's files, its first 16 hexadecimal digits.

    Of a single file it is that of the content, as AUTOMATIC1111 names models. How the settings
    want a model read, and what is added to it, is part of it, where they say so.

    Args:
        place: a diffusers folder or a single file; links, as in the hub's cache, are followed.
        cache: JSON file of digests by path, and the sizes and times of the files that they are
            of; used where nothing has changed since, and brought up to date.

    Raises:
        ModelError: a file cannot be read.
    """
    place = as_place(place)
    digest = _digest(place.path, cache)
    said = {
        "prediction_type": place.prediction_type,
        "ema": place.ema or None,
        "addons": place.addons.digest() or None,
        "swaps": [
            [part, *(_digest(one, cache) for one in _swapped(part, path))]
            for part, path in place.swaps
        ]
        or None,
    }
    chosen = {key: value for key, value in said.items() if value is not None}
    if not chosen:
        return digest
    return _short(hashlib.sha256(json.dumps([digest, chosen], sort_keys=True).encode()))


def _swapped(part: str, path: Path) -> list[Path]:
    """All that is loaded for a part from elsewhere: it, and a tokenizer that lies beside it."""
    beside = path.parent / tokenizer_of(part)
    has_own = path.is_dir() and path.name == part and beside != path and beside.is_dir()
    return [path, beside] if has_own else [path]


def _digest(model: Path, cache: Path | None) -> str:
    files = _files(model)
    try:
        stats = [(name, path.stat()) for name, path in files]
        state = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        known = _read(cache)
        entry = known.get(str(model.resolve()))
        if isinstance(entry, dict) and entry.get("files") == state:
            return str(entry.get("digest"))
        if model.is_file():
            short = _of_file(model)[:_DIGITS]
        else:
            digest = hashlib.sha256()
            for name, path in files:
                digest.update(f"{name} {_of_file(path)}\n".encode())
            short = _short(digest)
    except OSError as error:
        raise ModelError(f"{error.filename or model}: cannot be read: {error.strerror}") from error
    if cache is not None:
        known[str(model.resolve())] = {"digest": short, "files": state}
        _write(cache, known)
    return short


def _short(digest: hashlib._Hash) -> str:
    return digest.hexdigest()[:_DIGITS]


def _of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with open_file(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Names and paths of all that is loaded of a folder or a part's, or the one file itself."""
    if folder.is_file():
        return [("", folder)]
    inside = [path for part in PARTS for path in (folder / part).glob("*")]
    here = folder.glob("*") if not inside else [folder / "model_index.json"]
    found = [path for path in [*here, *inside] if path.suffix in KINDS]
    return sorted((path.relative_to(folder).as_posix(), path) for path in found if path.is_file())


def _read(cache: Path | None) -> dict[str, object]:
    if cache is None:
        return {}
    try:
        known = json.loads(cache.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(cache: Path, known: dict[str, object]) -> None:
    """Best effort: without the cache the next run only takes longer."""
    part = cache.with_name(f"{cache.name}.{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(known, indent=1), encoding="utf-8")
        os.replace(part, cache)
