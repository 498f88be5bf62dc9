"""Where a LoRA or an embedding is, by its path or its name, and its digest. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ...errors import ModelError
from ..shelves import find_in_shelves

Kind = Literal["lora", "embedding"]


def find_addon(name: str, folders: Sequence[Path | str], kind: Kind) -> Path:
    """The file that a name means.

    Args:
        name: a path, or a file's name in one of the folders, with or without its ending and the
            subfolder that it lies in; case matters only where two files differ in it.
        folders: searched in this order, as ``shelves`` reads them: the home of ComfyUI or
            AUTOMATIC1111, or a folder of such files itself.
        kind: lora or embedding.

    Raises:
        UsageError: there is none, with the nearest names; or several, with their paths.
    """
    return find_in_shelves(kind, name, folders)


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
