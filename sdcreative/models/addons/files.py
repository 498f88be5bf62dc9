"""The content of a small file of weights, whoever made it: tensors, and nothing that is run.

What a file is, is told by its first bytes, not by its ending. Pickles are read through
``torch.load(weights_only=True)`` and never otherwise.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ..single_files.archives import archive_fault
from ..single_files.headers import HeaderError, begins_header, read_header
from ..single_files.pickles import ZIP
from ..strangers import open_file, said, shown

PNG = b"\x89PNG\r\n\x1a\n"
LONGEST_HEADER = 100_000_000
"""bytes; what safetensors allows"""

# Besides its own errors, a damaged pickle makes torch raise nearly anything.
_DAMAGED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
)


class ParameterDict:
    """Stands in for torch's in pickles: holds what the file says, runs nothing."""

    _parameters: Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds.

    Attributes:
        value: what was saved; of safetensors a table of tensors.
        metadata: texts beside the tensors, of safetensors only.
    """

    value: Any
    metadata: Mapping[str, str]


def read_content(path: Path, what: str) -> Content:
    """Read a file of weights.

    Args:
        path: safetensors, or a pickle of tensors and plain values.
        what: what it is for the person, such as "LoRA".

    Raises:
        ModelError: missing, empty, a web page, a git-lfs pointer, truncated, damaged, of another
            format, or a pickle that would run code.
    """
    try:
        with open_file(path) as file:
            start = file.read(512)
            size = file.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{what} cannot be read: {path} ({error.strerror or error})") from None
    if size == 0:
        raise ModelError(f"{what} is empty (0 bytes): {path}; download it again")
    if start.startswith(b"version https://git-lfs"):
        raise ModelError(
            f"{what} is a git-lfs pointer, not the file itself: {path}; "
            "run `git lfs pull` in its repository"
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(
            f"{what} is a web page, not a file of weights: {path}; download it again (with a "
            "login, if the page asked for one)"
        )
    if not begins_header(start) and start.startswith((ZIP, b"\x80")):
        if start.startswith(ZIP) and (fault := archive_fault(path)):
            raise ModelError(f"{what} is damaged: {path} {fault}; download it again")
        return Content(_read_pickle(path, what), {})
    if start[8:9] == b"{":
        return _read_safetensors(path, what, size)
    raise ModelError(f"{what} is neither safetensors nor a PyTorch file: {path}; download it again")


def check_tensor(tensor: object, name: str, what: str, path: Path) -> Tensor:
    """A tensor of finite floating-point numbers that a file holds as it says.

    Raises:
        ModelError: something else, with its name.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        raise ModelError(f"{what} holds no tensor of numbers as {shown(name)}: {path}")
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ModelError(
            f"{what} holds {kind} as {shown(name)}, not floating-point numbers: {path}"
        )
    # A pickle may call a few bytes a huge tensor, by strides of zero.
    if tensor.numel() * tensor.element_size() > path.stat().st_size:
        raise ModelError(f"{what} is smaller than its tensor {shown(name)}: {path} is not trusted")
    tensor = tensor.detach()
    if not torch.isfinite(tensor.float()).all():
        raise ModelError(
            f"{what} holds NaN or infinity as {shown(name)}: {path}; the file is damaged"
        )
    return tensor


def _read_safetensors(path: Path, what: str, size: int) -> Content:
    from safetensors import SafetensorError, safe_open

    _check_header(path, what, size)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            return Content({key: file.get_tensor(key) for key in file.keys()}, metadata)  # noqa: SIM118
    except (SafetensorError, *_DAMAGED) as error:
        raise ModelError(f"{what} is damaged: {path} ({said(error)}); download it again") from None


def _check_header(path: Path, what: str, size: int) -> None:
    with open_file(path) as file:
        length = struct.unpack("<Q", file.read(8))[0]
        if length > LONGEST_HEADER:
            raise ModelError(f"{what} is damaged: {path} has a header of {length} bytes")
        text = file.read(length)
    needed = 8 + length
    if len(text) == length:
        try:
            header = json.loads(text)
            entries = [one for key, one in header.items() if key != "__metadata__"]
            needed += max((int(one["data_offsets"][1]) for one in entries), default=0)
        except (*_DAMAGED, RecursionError):
            raise ModelError(
                f"{what} is damaged: the header of {path} is not that of safetensors; "
                "download it again"
            ) from None
    if size < needed:
        raise ModelError(
            f"{what} is truncated: {path} has {size} bytes of at least {needed}; download it again"
        )
    try:
        read_header(path)
    except HeaderError as error:
        raise ModelError(
            f"{what} is damaged: its weights {error}: {path}; download it again"
        ) from None


def _read_pickle(path: Path, what: str) -> Any:
    # CVE-2025-32434, CVE-2026-24747: weights_only could be got around before 2.10.
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < (2, 10):
        raise ModelError(f"{what} is a pickle ({path}); that needs torch 2.10 or newer")
    allowed: Any = [(ParameterDict, "torch.nn.modules.container.ParameterDict")]
    try:
        # Of a path, torch would look at the ending.
        with (
            open_file(path) as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals(allowed),
        ):
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except (*_DAMAGED, RecursionError) as error:
        named = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        if isinstance(error, pickle.UnpicklingError) and named:
            raise ModelError(
                f"{what} is a pickle that would run code ({named[1]}): {path} is refused; "
                "get it as safetensors"
            ) from None
        if isinstance(error, pickle.UnpicklingError):
            raise ModelError(
                f"{what} is damaged, or holds more than tensors: {path}; get it as safetensors"
            ) from None
        raise ModelError(f"{what} is damaged: {path}; download it again") from None
