"""Pictures on their way from the device, which goes on working meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_CUDA: Any = torch.cuda  # whose classes have no types
BLACK = -0.99
"""the lightest that a picture may be all over to count as black"""


@torch.no_grad()
def to_bytes(pixels: Tensor) -> Tensor:
    """(N, H, W, 3), uint8, of pixels (N, 3, H, W) in [-1, 1]; on the same device, in one piece."""
    # One copy is made, and all else is done in it: a third of the time on a CPU.
    scaled = pixels.float() / 2
    rounded = scaled.add_(0.5).clamp_(0, 1).mul_(255).round_()
    return rounded.byte().permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def extremes(batch: Tensor) -> Tensor:
    """The least and the largest number of every row, shape (2, N), float32, on the same device.

    NaN and infinity show in them, and reading a batch once to find both takes a tenth of the time
    of asking every number on a CPU.
    """
    axes = tuple(range(1, batch.dim()))
    return torch.stack([batch.amin(axes), batch.amax(axes)]).float()


def bad_rows(found: Tensor) -> list[int]:
    """Rows that hold NaN or infinity, of their extremes."""
    return [row for row, good in enumerate(found.isfinite().all(dim=0).tolist()) if not good]


def black_rows(found: Tensor) -> list[int]:
    """Rows that are black all over, which is what half precision makes of an overflow."""
    return [row for row, black in enumerate((found[1] <= BLACK).tolist()) if black]


@dataclass(frozen=True, eq=False)
class Arriving:
    """Tensors that are being copied into main memory."""

    _tensors: Sequence[Tensor]
    _copied: Any = None

    def wait(self) -> Sequence[Tensor]:
        """The copies, once they are whole; other threads go on meanwhile."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensors


class Courier:
    """Brings tensors from one device into main memory.

    From CUDA they come through a stream of their own into pinned memory, behind the work that was
    queued when they were sent for and beside what is queued later. From elsewhere they are there at
    once.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = _CUDA.Stream(device) if device.type == "cuda" else None

    def send_for(self, tensors: Sequence[Tensor]) -> Arriving:
        """Begin to copy tensors; none may be written to from now on."""
        if self._stream is None:
            return Arriving([tensor.cpu() for tensor in tensors])
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            copies = []
            for tensor in tensors:
                copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
                copies.append(copy.copy_(tensor, non_blocking=True))
                # Else its memory would be given away while it is still being read.
                tensor.record_stream(self._stream)
            # Who waits sleeps: a core that spins would be missed by the encoder.
            copied = _CUDA.Event(blocking=True)
            copied.record(self._stream)
        return Arriving(copies, copied)
