"""Going on with less where memory ends."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the machine, had no memory left; only CUDA has a type for it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    said = ("DefaultCPUAllocator", "MPS backend out of memory")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)


def halving(
    run: Callable[[Sequence[Item]], Tensor],
    items: Sequence[Item],
    on_shrink: Callable[[int], None] = lambda size: None,
) -> list[Tensor]:
    """Apply run to all items at once, or to ever smaller parts of them where memory ends.

    Args:
        run: makes rows of items; may be called again with a part of the same.
        items: at least one.
        on_shrink: told the number of items that is tried next.

    Returns:
        What run gave, in order.

    Raises:
        RuntimeError: out of memory with a single item, or another error of ``run``.
    """
    done: list[Tensor] = []
    start, size = 0, len(items)
    while start < len(items):
        try:
            done.append(run(items[start : start + size]))
            start += size
            continue
        except RuntimeError as error:
            if size == 1 or not is_out_of_memory(error):
                raise
        # Out of the handler: the traceback would keep the tensors that did not fit.
        _free()
        size = (size + 1) // 2
        on_shrink(size)
    return done


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
