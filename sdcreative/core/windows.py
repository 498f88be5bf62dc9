"""Pictures larger than a denoiser was trained for, in windows that overlap.

O. Bar-Tal, L. Yariv, Y. Lipman, T. Dekel, "MultiDiffusion: Fusing Diffusion Paths for Controlled
Image Generation" (ICML 2023): in every step each window is denoised by itself, and where windows
overlap their predictions are averaged. Weights fall off from a window's middle as a Gaussian, as in
A. Barbero Jiménez, "Mixture of Diffusers for scene composition and high resolution image
generation" (2023), section 3.2, so that no border shows.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

from ..errors import UsageError
from .conditioning import Conditioning, stack
from .sampling import Predict

SPREAD = 0.1
"""standard deviation of the weights, as a share of a window's side: a variance of 0.01"""
MOST_ROWS = 8
"""windows that are denoised at once"""


def starts(length: int, side: int, overlap: int, wrap: bool = False) -> list[int]:
    """Where windows begin along an axis: as few as do, at equal distances.

    Args:
        length: of the axis.
        side: of a window.
        overlap: what neighbours share at least, less than a side.
        wrap: whether the axis is a circle; windows then reach over its end.

    Raises:
        UsageError: a side below 1, or an overlap that is negative or as long as a window.

    >>> starts(48, 16, 4), starts(48, 16, 4, wrap=True), starts(16, 16, 4, wrap=True)
    ([0, 11, 21, 32], [0, 12, 24, 36], [0])
    """
    if side < 1 or not 0 <= overlap < side:
        raise UsageError(
            f"windows of {side} with an overlap of {overlap}; give a side of at least 1, and an "
            "overlap from 0 up to less than that"
        )
    if length <= side:
        return [0]
    if wrap:
        count = -(-length // (side - overlap))
        return [round(number * length / count) for number in range(count)]
    count = -(-(length - overlap) // (side - overlap))
    return [round(number * (length - side) / (count - 1)) for number in range(count)]


def weights(length: int, side: int, begins: list[int]) -> Tensor:
    """Of every window, at each of its places; those of all windows at a place add up to 1.

    Args:
        length: of the axis, at least a side.
        side: of a window.
        begins: as from ``starts``; a window may reach over the end, onto the beginning.

    Returns:
        (windows, side), float32.
    """
    places = torch.arange(side, dtype=torch.float64)
    bell = torch.exp(-(((places - (side - 1) / 2) / (SPREAD * side)) ** 2) / 2)
    total = torch.zeros(length, dtype=torch.float64)
    for begin in begins:
        total[_places(begin, side, length)] += bell
    return torch.stack([bell / total[_places(begin, side, length)] for begin in begins]).float()


def whole_axes(height: int, width: int, side: int, axes: str) -> str:
    """Which of the seamless axes one window covers, so that its convolutions have to wrap around.

    Along the others windows reach over the end, and convolutions that wrap would join the two
    sides of every window.

    Args:
        height, width: of the latents.
        side: of a window.
        axes: "", "x", "y" or "xy".

    >>> whole_axes(16, 48, 16, "xy")
    'y'
    """
    return "".join(axis for axis in axes if {"x": width, "y": height}[axis] <= side)


def windowed(
    predict: Predict, side: int, overlap: int, wrap_axes: str = "", most: int = MOST_ROWS
) -> Predict:
    """A denoiser for latents of any size, which is only ever given windows.

    Args:
        predict: the denoiser. Extra input channels, such as a mask, are cut along with the
            latents they stand beside; so they are put beside them before, not inside ``predict``.
        side: of a window, in latents. An axis that is not longer is not cut.
        overlap: what neighbouring windows share at least, in latents.
        wrap_axes: "x", "y" or "xy": axes along which windows reach over the end.
        most: rows that ``predict`` is given at once, unless a single window has more.

    Returns:
        A predict whose output is float32 where there are several windows; for latents that one
        window covers, that of ``predict``, bit for bit.

    Raises:
        UsageError: as ``starts``.
    """
    starts(1, side, overlap)

    def run(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = latents.shape[-2:]
        tops = starts(height, side, overlap, "y" in wrap_axes)
        lefts = starts(width, side, overlap, "x" in wrap_axes)
        if len(tops) == len(lefts) == 1:
            return predict(latents, time, conditioning)
        rows, columns = min(side, height), min(side, width)
        down = weights(height, rows, tops).to(latents.device)
        across = weights(width, columns, lefts).to(latents.device)
        places = [
            (
                _places(top, rows, height, latents.device)[:, None],
                _places(left, columns, width, latents.device),
            )
            for top, left in product(tops, lefts)
        ]
        at_once = max(1, most // len(latents))
        outputs: list[Tensor] = []
        for first in range(0, len(places), at_once):
            some = places[first : first + at_once]
            cut = torch.cat([latents[..., ys, xs] for ys, xs in some])
            output = predict(cut, time, _repeated(conditioning, len(some))).float()
            outputs += torch.split(output, len(latents))
        found = outputs[0].new_zeros(len(latents), outputs[0].shape[1], height, width)
        shares = product(down, across)
        for (ys, xs), output, (vertical, horizontal) in zip(places, outputs, shares, strict=True):
            # Every place comes once in a window, so that the sum has one order on every device.
            found[..., ys, xs] += output * (vertical[:, None] * horizontal)
        return found

    return run


def _repeated(conditioning: Conditioning, times: int) -> Conditioning:
    sizes = conditioning.sizes
    return replace(
        stack([conditioning] * times),
        sizes=None if sizes is None else torch.cat([sizes] * times),
    )


def _places(begin: int, side: int, length: int, device: torch.device | str | None = None) -> Tensor:
    return torch.arange(begin, begin + side, device=device) % length
