"""Planned tensors in another floating-point type."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from .stream import Planned

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DTYPES = ("float32", "float16", "bfloat16")


def cast(
    planned: Iterable[Planned], dtype: str | None, path: Path, keep: Collection[str] = ()
) -> list[Planned]:
    """Tensors with their floating-point numbers in a type; other numbers stay as they are.

    Args:
        planned: tensors.
        dtype: one of ``DTYPES``; None leaves all as they are, bit for bit.
        path: of the model, for the message.
        keep: names of tensors that stay as they are.

    Raises:
        ModelError: when a tensor is made that holds NaN or infinity in that type.
    """
    if dtype is None:
        return list(planned)
    import torch

    wanted: torch.dtype = getattr(torch, dtype)
    return [
        _cast(one, wanted, path)
        if one.dtype.is_floating_point and one.dtype != wanted and one.name not in keep
        else one
        for one in planned
    ]


def _cast(one: Planned, dtype: torch.dtype, path: Path) -> Planned:
    def make() -> Tensor:
        import torch

        made = one.make().to(dtype)
        if not bool(torch.isfinite(made).all()):
            kind = str(dtype).removeprefix("torch.")
            raise ModelError(
                f"{one.name} in {path} holds NaN or infinity as {kind}; it is damaged, or needs "
                "--dtype bfloat16 or float32"
            )
        return made

    return replace(one, dtype=dtype, make=make)
