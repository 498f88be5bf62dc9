"""A safetensors file written tensor by tensor: the header first, then one at a time.

Form: https://huggingface.co/docs/safetensors; see also ``single_files.headers``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_TYPES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
_ALIGNED = 8
_RELEASE_BYTES = 8 << 20


@dataclass(frozen=True)
class Planned:
    """A tensor that is to be written.

    Attributes:
        name: in the file.
        dtype, shape: what ``make`` will give.
        make: makes it, or reads it from the disk.
    """

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    make: Callable[[], Tensor]

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


class TensorFile:
    """A safetensors file that is not written yet.

    Args:
        planned: its tensors; those with the widest numbers come first, so that all are aligned.
        metadata: notes in its header.
        release: gives back the memory that ``make`` of the tensors takes.

    Attributes:
        size: of the file in bytes.

    Raises:
        ValueError: numbers of a type that the format does not have.
    """

    def __init__(
        self,
        planned: Iterable[Planned],
        metadata: Mapping[str, str],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._planned = sorted(planned, key=lambda one: (-one.dtype.itemsize, one.name))
        self._release = release
        entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
        end = 0
        for one in self._planned:
            kind = str(one.dtype).removeprefix("torch.")
            if kind not in _TYPES:
                raise ValueError(f"{one.name} has numbers of type {kind}, which safetensors lacks")
            start, end = end, end + one.bytes
            entries[one.name] = {
                "dtype": _TYPES[kind], "shape": list(one.shape), "data_offsets": [start, end]
            }  # fmt: skip
        text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % _ALIGNED)
        self._header = len(text).to_bytes(8, "little") + text
        self.size = len(self._header) + end

    def begin(self, path: Path) -> None:
        """Write the header, and make the file as long as it will be; its tensors read as zeros.

        Raises:
            OSError: the disk is full or refuses.
        """
        with path.open("wb") as file:
            file.write(self._header)
            file.truncate(self.size)

    def fill(self, path: Path) -> None:
        """Write the tensors into a file that ``begin`` has made, holding one at a time.

        Raises:
            OSError: the disk is full or refuses.
        """
        import torch

        with path.open("r+b") as file:
            file.seek(len(self._header))
            read = 0
            for one in self._planned:
                tensor = one.make().to(device="cpu", dtype=one.dtype)
                if tuple(tensor.shape) != one.shape:
                    raise RuntimeError(f"{one.name} is {list(tensor.shape)}, not {one.shape}")
                if one.bytes:
                    flat = tensor.contiguous().reshape(-1).view(torch.uint8)
                    file.write(flat.numpy().data)
                del tensor
                read += one.bytes
                if read >= _RELEASE_BYTES:
                    self._release()
                    read = 0
        self._release()

    def write(self, path: Path) -> None:
        """The whole file at once.

        Raises:
            OSError: the disk is full or refuses.
        """
        self.begin(path)
        self.fill(path)
