"""Where a LoRA or an embedding is, by its path or its name, and its digest. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ...errors import ModelError
from ..shelves import find_in_shelves
from ..strangers import is_file, open_file

PEFT_CONFIG = "adapter_config.json"
"""which peft writes beside its weights"""

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


def second_file(path: Path) -> Path:
    """Where the example of diffusers for SDXL puts the vectors for the second text encoder.

    >>> second_file(Path("learned_embeds.safetensors")).name
    'learned_embeds_2.safetensors'
    """
    return path.with_name(f"{path.stem}_2{path.suffix}")


def addon_digest(path: Path) -> str:
    """SHA-256 of a file, its first 16 hexadecimal digits; part of the key of every frame.

    So is what lies beside it and is read with it, where there is such a file: what peft wrote,
    which scales the layers, and the vectors for a second text encoder.

    Raises:
        ModelError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for file in (path, path.parent / PEFT_CONFIG, second_file(path)):
            if file == path or is_file(file):
                with open_file(file) as stream:
                    while block := stream.read(1 << 20):
                        digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()[:16]
