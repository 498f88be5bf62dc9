"""Where a model computes and how precisely: devices and floating-point types by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")


def pick_device(name: str = "auto") -> torch.device:
    """A device by name; "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: not on this machine, or not a device's name.
    """
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "mps", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device {name!r} is not one of auto, cpu, mps, cuda, cuda:0, cuda:1, …")
    count = {"cpu": 1, "mps": int(mps), "cuda": torch.cuda.device_count() if cuda else 0}[kind]
    if int(number or 0) >= count:
        having = f"there are {count}" if count else f"this machine has no {kind}"
        raise UsageError(f"device {name!r} is not available: {having}; use auto or cpu")
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """A floating-point type by name; "auto" takes float16 on CUDA and float32 elsewhere.

    Raises:
        UsageError: unknown, or half precision on a CPU without instructions for it, where it is
            hundreds of times slower.
    """
    import torch

    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} is not one of auto, {', '.join(DTYPES)}")
    if device.type == "cpu":
        if name == "float16":
            raise UsageError("dtype float16 is not usable on the CPU; use float32 (or auto)")
        if name == "bfloat16" and not cpu_has_bfloat16():
            raise UsageError("this CPU has no instructions for bfloat16; use float32 (or auto)")
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def cpu_has_bfloat16() -> bool:
    """Whether matrix products of bfloat16 are faster here than those of float32.

    So they are with AVX512-BF16 or AMX; elsewhere they are emulated.
    """
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
