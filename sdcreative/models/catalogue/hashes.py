"""The digests by which others know a file. Imports no torch."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from ..checks import weights_kind
from ..strangers import open_file

_BLOCK = 1 << 20
_OLD_START, _OLD_LENGTH = 0x100000, 0x10000


@dataclass(frozen=True)
class Hashes:
    """Of one file, in hexadecimal digits.

    Attributes:
        sha256: of its content.
        short: the first ten of them: AUTOMATIC1111's model hash, AutoV2 of download sites.
        old: AUTOMATIC1111's before 2023: of 64 kB in the middle, eight digits.
        weights: of a safetensors file without its header, twelve digits: the hash of a LoRA in
            AUTOMATIC1111's ``Lora hashes``, AutoV3; None for other files.
    """

    sha256: str
    short: str
    old: str
    weights: str | None


def hash_file(path: Path) -> Hashes:
    """Read a file once, and hash it in all ways.

    Raises:
        ModelError: it cannot be read.
    """
    start = None
    if weights_kind(path, "the file") == "safetensors":
        with open_file(path) as file:
            start = 8 + int(struct.unpack("<Q", file.read(8))[0])
    whole, weights, old = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    try:
        with open_file(path) as file:
            place = 0
            while block := file.read(_BLOCK):
                whole.update(block)
                if start is not None:
                    weights.update(block[max(0, start - place) :])
                if place == _OLD_START:
                    old.update(block[:_OLD_LENGTH])
                place += len(block)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    digest = whole.hexdigest()
    return Hashes(
        digest,
        digest[:10],
        old.hexdigest()[:8],
        None if start is None else weights.hexdigest()[:12],
    )
