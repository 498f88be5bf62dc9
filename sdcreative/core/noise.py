"""Initial noise: drawn from a seed, and walked between seeds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import UsageError
from .interpolation import slerp


def draw_noise(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise for one picture, a function of the seed and the shape alone.

    It is drawn on the CPU, one picture at a time, so that a frame is the same in any batch and on
    any device; diffusers draws the same from a CPU generator of the same seed.

    Args:
        seed: in [0, 2**63). torch's CPU generator keeps the lowest 32 bits, so that seeds 2**32
            apart give the same noise.
        shape: (C, H, W) of the latents.

    Returns:
        float32 on the CPU, of that shape.

    Raises:
        UsageError: seed out of range.
    """
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed is {seed}; it has to be at least 0 and below 2**63")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32)


def blend_noise(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The point at t on the great arc from noise a to noise b, each taken as one long vector.

    The denoiser expects noise of variance 1. On the straight line between two independent noises
    the variance is (1 - t)^2 + t^2: at t = 1/2 the standard deviation falls to 1/sqrt(2), and
    pictures blur. Independent noises of many dimensions are nearly orthogonal and of nearly equal
    length (R. Vershynin, "High-Dimensional Probability", 2018, section 3.1), and the arc between
    them keeps that length, and with it the variance.

    Args:
        a: noise of one picture, (C, H, W); given back, as a copy, at t = 0.
        b: likewise; at t = 1.
        t: in [0, 1].

    Returns:
        Shape and dtype of a.

    Raises:
        UsageError: t out of range, or tensors that differ in shape or dtype.
    """
    if a.shape != b.shape:
        raise UsageError(
            f"cannot blend noise of shape {tuple(a.shape)} and {tuple(b.shape)}; "
            "draw both for the same size"
        )
    return slerp(a.flatten(), b.flatten(), t).reshape(a.shape)


def mix_noise(terms: Sequence[tuple[int, float]], shape: Sequence[int]) -> Tensor:
    """Sum of the noises of several seeds: standard normal again where the weights allow it.

    Args:
        terms: (seed, weight) pairs, each seed once; the squares of the weights add up to 1.
        shape: (C, H, W) of the latents.

    Returns:
        float32 on the CPU, of that shape; for one seed of weight 1 its own noise, bit for bit.

    Raises:
        UsageError: no terms, a seed given twice, or weights whose squares do not add up to 1.
    """
    seeds = [seed for seed, _ in terms]
    if len(set(seeds)) < len(seeds):
        raise UsageError(f"noise is mixed of the seeds {seeds}; give each of them once")
    variance = sum(weight**2 for _, weight in terms)
    if not abs(variance - 1) < 1e-6:
        raise UsageError(
            f"noise is mixed with weights whose squares add up to {variance}; scale them to 1"
        )
    mixed = torch.zeros(tuple(shape), dtype=torch.float64)
    for seed, weight in terms:
        mixed += weight * draw_noise(seed, shape).double()
    return mixed.float()
