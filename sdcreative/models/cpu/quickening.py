"""All that is done to a model which computes on the CPU."""

from __future__ import annotations

from typing import Any

import torch

from .heap import keep_memory
from .linears import pays, to_onednn


def quicken(module: Any, *, mapped: bool = False) -> None:
    """Make a module on the CPU faster: the same weights, and the same numbers within rounding.

    A module that is elsewhere stays as it is.

    Convolutions in float32 get their weights in the order in which oneDNN takes them
    (``channels_last``); in bfloat16 the layers between them lose more by it than they gain.

    Args:
        module: a torch module with all its weights in place.
        mapped: weights are read from their file when they are needed, and are not to be copied.
    """
    first = next(module.parameters(), None)
    if first is None or first.device.type != "cpu":
        return
    keep_memory()
    if pays():
        to_onednn(module)
    if lies_last(first.device, first.dtype) and not mapped:
        module.to(memory_format=torch.channels_last)


def lies_last(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a device computes convolutions faster whose weights are in ``channels_last``."""
    return device.type == "cuda" or (device.type == "cpu" and dtype == torch.float32)
