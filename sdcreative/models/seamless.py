"""Pictures that go on at their other edge: convolutions that wrap around instead of meeting zeros.

Attention knows no places, and group normalisation sums over all of them, so with its convolutions
a U-Net or a decoder as a whole becomes equivariant to a roll by its stride.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def wrapping(modules: Sequence[Any], axes: str) -> Iterator[None]:
    """Have the 2D convolutions of modules wrap around.

    Args:
        modules: such as a U-Net and an autoencoder.
        axes: "x", "y", "xy", or "" for none.
    """
    changed: list[nn.Conv2d] = []
    try:
        if axes:
            for module in modules:
                for part in module.modules():
                    if isinstance(part, nn.Conv2d) and any(_padding(part)):
                        part._conv_forward = _wrapped(part, axes)  # type: ignore
                        changed.append(part)
        yield
    finally:
        for part in changed:
            del part._conv_forward


def _padding(conv: nn.Conv2d) -> tuple[int, int]:
    """Rows and columns that are put around a picture on each side."""
    if isinstance(conv.padding, str):
        # Of an even kernel, "same" pads one side more than the other; no such model is known.
        sides = [d * (k - 1) // 2 for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return (sides[0], sides[1]) if conv.padding == "same" else (0, 0)
    return int(conv.padding[0]), int(conv.padding[1])


def _wrapped(conv: nn.Conv2d, axes: str) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    rows, columns = _padding(conv)
    across, down = (columns if "x" in axes else 0), (rows if "y" in axes else 0)

    def forward(rows_in: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        around = functional.pad(rows_in, (across, across, down, down), mode="circular")
        return functional.conv2d(
            around,
            weight,
            bias,
            conv.stride,
            (rows - down, columns - across),
            conv.dilation,
            conv.groups,
        )

    return forward
