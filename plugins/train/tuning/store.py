"""Arrays on disk by their keys, mapped into memory when they are read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from sdcreative import OutputError


class Store:
    """A folder of arrays; a broken one is as good as none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> np.ndarray | None:
        """The array of a key, mapped and read-only, or None."""
        try:
            return np.load(self._path(key), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def put(self, key: str, array: np.ndarray) -> None:
        """Keep an array.

        Raises:
            OutputError: the disk is full, or may not be written.
        """
        path = self._path(key)
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error

    def _path(self, key: str) -> Path:
        # Few files in one folder: file systems get slow with very many.
        return self.folder / key[:2] / f"{key}.npy"


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target first, so that a file is whole or is as it was.

    Raises:
        OutputError: the disk is full, or may not be written.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_tensors(path: Path, state: dict[str, Any], metadata: dict[str, str]) -> None:
    """A safetensors file, whole or not at all.

    Raises:
        OutputError: as ``write_whole``.
    """
    from safetensors.torch import save

    write_whole(path, save({key: one.contiguous() for key, one in state.items()}, metadata))
