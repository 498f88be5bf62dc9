"""Linear layers by oneDNN, on processors where that is faster than the BLAS within PyTorch.

PyTorch hands matrix products in float32 to MKL, which takes AVX-512 on Intel's processors only: on
AMD's it reaches half of what a Zen 5 can do, and nine tenths on a Zen 4. oneDNN, which PyTorch has
for convolutions and for compiled layers, asks for the instructions alone. Sums are in another
order, so results differ by rounding, of float32.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_INTEL = "GenuineIntel"


@cache
def pays() -> bool:
    """Whether this processor has AVX-512, is not Intel's, and PyTorch has both libraries.

    It depends on nothing that is measured, so that a run gives the same numbers every time.
    """
    backends: Any = torch.backends
    return bool(
        backends.mkldnn.is_available()
        and backends.mkl.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and _vendor() not in ("", _INTEL)
    )


def _vendor() -> str:
    """Who made the processor, as it says itself; empty if it cannot be told."""
    try:
        said = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        # On Windows: "AMD64 Family 25 Model 80 Stepping 0, AuthenticAMD".
        return platform.processor().rpartition(", ")[2]
    named = [line.partition(":")[2].strip() for line in said.splitlines() if "vendor_id" in line]
    return named[0] if named else ""


def to_onednn(module: nn.Module) -> None:
    """Let the linear layers of a module compute by oneDNN on the CPU.

    Weights and names stay as they are. Layers go their usual way where they are not in float32.
    """
    for layer in module.modules():
        if type(layer) is nn.Linear:
            layer.__class__ = OneDnnLinear


class OneDnnLinear(nn.Linear):
    """A linear layer by oneDNN in float32 on the CPU, with gradients; otherwise an ordinary one."""

    def forward(self, rows: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        weight, bias = self.weight, self.bias
        # Inductor has this product for weights that never change only; for weights that lie apart,
        # as columns of larger ones do, oneDNN has none that is fast.
        if (
            torch.compiler.is_compiling()
            or rows.dtype != torch.float32
            or weight.dtype != torch.float32
            or weight.device.type != "cpu"
            or not weight.is_contiguous()
            or rows.numel() == 0
            or not torch.backends.mkldnn.enabled
            or torch.is_autocast_enabled("cpu")
        ):
            return super().forward(rows)
        given = (rows, weight, bias)
        if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in given):
            with_gradients: Any = _Product
            found: Tensor = with_gradients.apply(*given)
            return found
        return _product(*given)


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    found: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return found


class _Product(torch.autograd.Function):
    """y = x W' + b, with dx = dy W, dW = dy' x and db the sum of dy."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows if weight.requires_grad else None, weight)
        return _product(rows, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        wanted_rows, wanted_weight, wanted_bias = ctx.needs_input_grad
        given = given.contiguous()
        every = given.reshape(-1, given.shape[-1])
        return (
            _product(given, weight.t(), None) if wanted_rows else None,
            _product(every.t(), rows.reshape(-1, rows.shape[-1]).t(), None)
            if wanted_weight
            else None,
            every.sum(0) if wanted_bias else None,
        )
