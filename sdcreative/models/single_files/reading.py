"""A single checkpoint file, opened: its tensors by name, still on the disk."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from ..checks import weights_kind
from ..strangers import open_file
from .headers import Header, HeaderError, read_header
from .pickles import read_pickle

if TYPE_CHECKING:
    from torch import Tensor

WHAT = "weights of the model"
_SHARED = 4
"""times that bytes may be used, as layers may share their weights"""
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Outline:
    """What can be known of a file without reading a weight.

    Attributes:
        shapes: of all tensors.
        metadata: notes of a safetensors file's writer.
        steps: of training, where the file says so.
    """

    shapes: Mapping[str, tuple[int, ...]]
    metadata: Mapping[str, str]
    steps: int | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """The tensors of a file. What was read of them counts as memory until ``release``.

    Attributes:
        tensors: by name, each the file's own bytes.
        release: gives memory back that reading has taken; the tensors can be read again.
    """

    tensors: Mapping[str, Tensor]
    release: Callable[[], None]


def read_outline(path: Path) -> Outline:
    """Look at a file; a safetensors file is read without torch.

    Raises:
        ModelError: missing, empty, truncated, a web page, a git-lfs pointer, a pickle that would
            run code, or no table of tensors.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise ModelError(f"{WHAT} cannot be read: {path} ({error.strerror})") from None
    return _outline(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _outline(path: Path, modified: int, size: int) -> Outline:
    if weights_kind(path, "the model") == "safetensors":
        header = _header(path, WHAT)
        shapes = {name: entry.shape for name, entry in header.entries.items()}
        return Outline(shapes, header.metadata)
    tensors, steps = _pickled(path, WHAT)
    return Outline({name: tuple(one.shape) for name, one in tensors.items()}, {}, steps)


def open_tensors(path: Path, what: str = WHAT) -> Opened:
    """The tensors of a file, whichever format its first bytes say that it has.

    Args:
        path: of the file.
        what: "weights of unet", for the messages.

    Raises:
        ModelError: as ``read_outline``.
    """
    if weights_kind(path, what.removeprefix("weights of ")) == "safetensors":
        return _mapped(path, _header(path, what), what)
    return Opened(_pickled(path, what)[0], lambda: None)


def _header(path: Path, what: str) -> Header:
    try:
        return read_header(path)
    except HeaderError as error:
        raise ModelError(f"{what} {error}: {path}; download it again") from None
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {path} ({error.strerror})") from None


def _mapped(path: Path, header: Header, what: str) -> Opened:
    """Tensors over a map of the file: pages come from the disk when they are read."""
    import torch

    try:
        with open_file(path) as file:
            # A private map can be written to, which torch wants of a buffer; the file cannot.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except (OSError, ValueError) as error:
        raise ModelError(f"{what} cannot be read: {path} ({error})") from None
    tensors: dict[str, Tensor] = {}
    for name, entry in header.entries.items():
        dtype: torch.dtype = getattr(torch, _DTYPES[entry.dtype])
        if not entry.elements:
            tensors[name] = torch.empty(entry.shape, dtype=dtype)
            continue
        buffer: Any = content
        offset = entry.offset
        if offset % dtype.itemsize:
            buffer, offset = bytearray(content[offset : offset + _bytes(entry, dtype)]), 0
        flat = torch.frombuffer(buffer, dtype=dtype, count=entry.elements, offset=offset)
        tensors[name] = flat.view(entry.shape)

    def release() -> None:
        if hasattr(content, "madvise"):
            content.madvise(mmap.MADV_DONTNEED)

    return Opened(tensors, release)


def _bytes(entry: Any, dtype: Any) -> int:
    return int(entry.elements * dtype.itemsize)


def _pickled(path: Path, what: str) -> tuple[dict[str, Tensor], int | None]:
    """Tensors of a pickle, from inside its ``state_dict`` where it has one, and its steps."""
    import torch

    content = read_pickle(path, what)
    if not isinstance(content, dict):
        kind = "a list" if isinstance(content, list | tuple) else f"a {type(content).__name__}"
        raise ModelError(f"{what} are {kind}, not a table of tensors: {path}")
    steps = content.get("global_step")
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ModelError(f"{what} are not a table of tensors: state_dict in {path}")
    tensors = {
        name: one.detach()
        for name, one in state.items()
        if isinstance(name, str) and isinstance(one, torch.Tensor) and _is_plain(one)
    }
    if not tensors:
        raise ModelError(f"{what} are not a table of tensors: {path} holds none")
    # By strides of zero a few bytes can be called a huge tensor.
    size = path.stat().st_size
    sizes = [one.numel() * one.element_size() for one in tensors.values()]
    if max(sizes) > size or sum(sizes) > _SHARED * size:
        raise ModelError(
            f"{what} are damaged: {path} has {size} bytes, its tensors say {sum(sizes)}; it is not "
            "trusted"
        )
    return tensors, steps if type(steps) is int else None


def _is_plain(tensor: Tensor) -> bool:
    import torch

    strided: bool = tensor.layout == torch.strided
    return strided and not tensor.is_quantized and not tensor.is_meta
