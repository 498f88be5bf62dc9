"""Linear layers in 8 bits: float8_e4m3fn, with four bits of exponent and three of mantissa.

A row x of activations and a row w of weights are each scaled so that the largest of their numbers
is 448, the largest of the type, and rounded; the product is summed in float32 and scaled back:

    y = s_x s_w sum_k q(x_k / s_x) q(w_k / s_w),    s_x = max |x| / 448,    s_w = max |w| / 448.

Weights are scaled once, per output; activations in every call, per row. Rounding to three bits is
off by at most u = 1/16 of a number, or 2^-10 below 2^-6, so with a least step e = 2^-10 / 448 of
the largest number of a row, the sum is off by at most

    sum_k (d_k |w_k| + |x_k| g_k + d_k g_k),
    d_k = u |x_k| + e max |x|,    g_k = u |w_k| + e max |w|.

P. Micikevicius, D. Stosic, N. Burgess et al., "FP8 Formats for Deep Learning" (2022).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .parts import Parts

LARGEST = 448.0
TYPE = torch.float8_e4m3fn
LEAST_CAPABILITY = (8, 9)
_MULTIPLE = 16
"""of both sides of a matrix, which the kernels ask for"""


def check_float8(device: torch.device) -> None:
    """Refuse devices without 8-bit products.

    Raises:
        UsageError: no CUDA device, or one before Ada (compute capability 8.9).
    """
    if device.type != "cuda":
        raise UsageError(
            f"linears float8 needs a CUDA device of compute capability 8.9 or newer, not "
            f"{device.type}; leave it out"
        )
    found = torch.cuda.get_device_capability(device)
    if found < LEAST_CAPABILITY:
        raise UsageError(
            f"linears float8 needs compute capability 8.9 or newer (Ada, Hopper); "
            f"{torch.cuda.get_device_name(device)} has {found[0]}.{found[1]}; leave it out"
        )


def to_float8(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (M, K) in 8 bits, and what to multiply each by, (M, 1), float32; zeros stay zeros."""
    wide = rows.float()
    scale = wide.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / LARGEST
    return (wide / scale).clamp(-LARGEST, LARGEST).to(TYPE), scale


def multiply(
    rows: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, dtype: torch.dtype
) -> Tensor:
    """Products (M, N) of scaled rows (M, K) with scaled weights (N, K).

    On CUDA by one kernel, which gives bfloat16; elsewhere, for tests, by the same arithmetic in
    float32.
    """
    if rows.is_cuda:
        found = torch._scaled_mm(
            rows, weight.t(), scale_a=scale, scale_b=weight_scale.t(), out_dtype=torch.bfloat16
        )
        return found.to(dtype)
    return (rows.float() @ weight.float().t() * scale * weight_scale.t()).to(dtype)


class Float8Linear(nn.Module):
    """A linear layer in 8 bits, of one in floating point."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = to_float8(linear.weight.detach())
        # As bytes, so that casting a model to another type leaves them as they are.
        self.weight_bytes: Tensor
        self.scale_bytes: Tensor
        self.register_buffer("weight_bytes", weight.view(torch.uint8))
        self.register_buffer("scale_bytes", scale.view(torch.uint8))
        self.bias = linear.bias

    def forward(self, given: Tensor) -> Tensor:
        rows, scale = to_float8(given.flatten(0, -2))
        weight, own = self.weight_bytes.view(TYPE), self.scale_bytes.view(torch.float32)
        found = multiply(rows, scale, weight, own, given.dtype)
        if self.bias is not None:
            found = found + self.bias.to(found)
        return found.reshape(*given.shape[:-1], self.out_features)


def convertible(denoiser: nn.Module) -> list[str]:
    """Names of the linear layers that are worth it: those of transformer blocks.

    What embeds the timestep and scales the norms of a block is small, and stays.
    """
    return [
        name
        for name, module in denoiser.named_modules()
        if isinstance(module, nn.Linear)
        and "transformer_blocks." in name
        and "norm" not in name
        and module.in_features % _MULTIPLE == 0
        and module.out_features % _MULTIPLE == 0
    ]


def is_float8(denoiser: Any) -> bool:
    """Whether a denoiser has such layers already."""
    return any(isinstance(module, Float8Linear) for module in denoiser.modules())


def in_float8(denoiser: Any) -> Any:
    """A twin with 8-bit linear layers; all else is shared, and the original stays as it is.

    LoRAs that were merged into the weights are in it.
    """
    shared = {id(one): one for one in [*denoiser.parameters(), *denoiser.buffers()]}
    twin = copy.deepcopy(denoiser, shared)
    for name in convertible(twin):
        parent, _, child = name.rpartition(".")
        setattr(twin.get_submodule(parent), child, Float8Linear(twin.get_submodule(name)))
    return twin


def parts_in_float8(parts: Parts) -> Parts:
    """A model whose denoiser multiplies in 8 bits; the weights of the other stay beside it.

    Raises:
        UsageError: a device without 8-bit products, or a model that is not on it as a whole.
    """
    check_float8(parts.device)
    if any(one.device.type != parts.device.type for one in parts.denoiser.parameters()):
        raise UsageError(
            "linears float8 needs the whole denoiser on the device; leave it out, or low_memory"
        )
    name = "unet" if parts.transformer is None else "transformer"
    return replace(parts, **{name: in_float8(parts.denoiser)})
