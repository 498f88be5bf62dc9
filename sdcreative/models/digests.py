"""What a model is, whatever its folder is called: a digest of all that is loaded of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from pathlib import Path

from ..errors import ModelError

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
KINDS = (".json", ".safetensors", ".bin", ".txt")


def model_digest(folder: Path, cache: Path | None = None) -> str:
    """SHA-256 of the names and contents of a model's files, its first 16 hexadecimal digits.

    Args:
        folder: a diffusers model; links, as in the hub's cache, are followed.
        cache: JSON file of digests by folder, and the sizes and times of the files that they are
            of; used where nothing has changed since, and brought up to date.

    Raises:
        ModelError: a file cannot be read.
    """
    files = _files(folder)
    try:
        stats = [(name, path.stat()) for name, path in files]
        state = [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        known = _read(cache)
        entry = known.get(str(folder.resolve()))
        if isinstance(entry, dict) and entry.get("files") == state:
            return str(entry.get("digest"))
        digest = hashlib.sha256()
        for name, path in files:
            digest.update(f"{name} {_of_file(path)}\n".encode())
    except OSError as error:
        raise ModelError(f"{error.filename or folder}: cannot be read: {error.strerror}") from error
    short = digest.hexdigest()[:16]
    if cache is not None:
        known[str(folder.resolve())] = {"digest": short, "files": state}
        _write(cache, known)
    return short


def _of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _files(folder: Path) -> list[tuple[str, Path]]:
    inside = [path for part in PARTS for path in (folder / part).glob("*")]
    found = [path for path in [folder / "model_index.json", *inside] if path.suffix in KINDS]
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
