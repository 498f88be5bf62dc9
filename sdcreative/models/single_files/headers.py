"""The header of a safetensors file, checked before anything relies on it. Imports no torch.

Form: https://huggingface.co/docs/safetensors; 8 bytes with the length of a JSON object that names
each tensor's type, shape and place, then the tensors, one after another without holes.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..strangers import open_file

BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
"""type of a tensor's elements -> bytes of one"""
_LONGEST = 100_000_000
_MOST_AXES = 8


class HeaderError(ValueError):
    """What is wrong with a header, as the end of a sentence about the file."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type, its shape and where in the file its first byte is."""

    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors, and notes that its writer made."""

    entries: Mapping[str, Entry]
    metadata: Mapping[str, str]


def begins_header(start: bytes) -> bool:
    """Whether a file's first bytes, at least nine, are those of a header.

    Its length comes first, and may begin with any byte, a pickle's too.
    """
    if start[8:9] != b"{":
        return False
    length: int = struct.unpack("<Q", start[:8])[0]
    return 2 <= length <= _LONGEST


def read_header(path: Path) -> Header:
    """The header of a safetensors file, all of whose promises the file keeps.

    Raises:
        HeaderError: not such a file, or a truncated one.
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= _LONGEST:
            raise HeaderError("are not a safetensors file")
        if size < 8 + length:
            raise HeaderError(f"are truncated: {size} bytes of at least {8 + length}")
        text = file.read(length)
    content = _parse(text)
    notes = content.pop("__metadata__", None) or {}
    if not isinstance(notes, dict) or not all(isinstance(note, str) for note in notes.values()):
        raise HeaderError("are not a safetensors file: its metadata are no table of texts")
    spans = sorted((_span(name, entry), name) for name, entry in content.items())
    end = 0
    for (start, stop), name in spans:
        if start != end:
            raise HeaderError(
                f"are not a safetensors file: {name[:80]!r} is not where it should be"
            )
        end = stop
    needed = 8 + length + end
    if size < needed:
        raise HeaderError(f"are truncated: {size} bytes of {needed}")
    if size > needed:
        raise HeaderError(f"are damaged: {size - needed} bytes too many at the end")
    entries = {
        name: Entry(entry["dtype"], tuple(entry["shape"]), 8 + length + entry["data_offsets"][0])
        for name, entry in content.items()
    }
    return Header(entries, notes)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        content = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise HeaderError("are not a safetensors file: its header is no JSON") from None
    if not isinstance(content, dict):
        raise HeaderError("are not a safetensors file: its header is no table")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name comes twice")
    return table


def _span(name: str, entry: Any) -> tuple[int, int]:
    """First byte and end of a tensor, from the end of the header, which its shape asks for."""
    wrong = HeaderError(f"are not a safetensors file: what it says of {name[:80]!r} cannot be")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise wrong
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _are_lengths(shape) or not _are_lengths(offsets):
        raise wrong
    if dtype not in BYTES:
        raise HeaderError(f"have numbers of type {dtype[:20]!r} ({name[:80]}), which is not read")
    if len(offsets) != 2 or len(shape) > _MOST_AXES:
        raise wrong
    start, stop = offsets
    if stop - start != math.prod(shape) * BYTES[dtype]:
        raise wrong
    return start, stop


def _are_lengths(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)
