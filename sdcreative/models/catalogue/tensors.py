"""Names, types and shapes of the tensors in a file; of safetensors without torch."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..checks import weights_kind
from ..single_files.headers import BYTES, read_header
from ..single_files.reading import open_tensors, read_outline

NAMES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip
"""floating-point types of safetensors -> their names in torch"""


@dataclass(frozen=True)
class Listed:
    """A tensor of a file.

    Attributes:
        shape: of it.
        dtype: its floating-point type, as torch calls it; None for integers and the like.
        size: in bytes.
    """

    shape: tuple[int, ...]
    dtype: str | None
    size: int

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Amount:
    """How much some tensors are.

    Attributes:
        parameters: numbers; integers, which are no weights, are not counted.
        dtypes: floating-point type -> tensors that have it, the commonest first.
        size: in bytes.
    """

    parameters: int
    dtypes: Mapping[str, int]
    size: int


def list_tensors(path: Path) -> dict[str, Listed]:
    """The tensors of a file by name.

    Raises:
        ModelError: broken, or a pickle that would run code.
    """
    # It says in one line what is wrong with a file.
    read_outline(path)
    if weights_kind(path, "the model") == "safetensors":
        return {
            name: Listed(one.shape, NAMES.get(one.dtype), one.elements * BYTES[one.dtype])
            for name, one in read_header(path).entries.items()
        }
    return {
        name: Listed(
            tuple(one.shape),
            str(one.dtype).removeprefix("torch.") if one.is_floating_point() else None,
            one.numel() * one.element_size(),
        )
        for name, one in open_tensors(path).tensors.items()
    }


def amount_of(tensors: Iterable[Listed]) -> Amount:
    """All of them together."""
    there = list(tensors)
    counted = Counter(one.dtype for one in there if one.dtype is not None)
    return Amount(
        sum(one.elements for one in there if one.dtype is not None),
        dict(counted.most_common()),
        sum(one.size for one in there),
    )
