"""Where a model computes and how precisely: devices and floating-point types by name."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    import torch

_CGROUPS = Path("/sys/fs/cgroup")

DTYPES = ("float32", "float16", "bfloat16")


def pick_device(name: str = "auto") -> torch.device:
    """A device by name, as ``device_name`` finds it.

    Raises:
        UsageError: not on this machine, or not a device's name.
    """
    import torch

    return torch.device(device_name(name))


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """A floating-point type by name, as ``dtype_name`` finds it.

    Raises:
        UsageError: as there.
    """
    import torch

    dtype: torch.dtype = getattr(torch, dtype_name(name, str(device)))
    return dtype


def device_name(name: str = "auto") -> str:
    """A device of this machine; "auto" takes CUDA, then MPS, then the CPU.

    Where there can be no other than the CPU, torch is not imported: that takes a second or more,
    and a finished film does without.

    Raises:
        UsageError: not on this machine, or not a device's name.
    """
    kind, _, number = name.partition(":")
    if kind not in ("auto", "cpu", "mps", "cuda") or (number and not number.isdecimal()):
        raise UsageError(f"device {name!r} is not one of auto, cpu, mps, cuda, cuda:0, cuda:1, …")
    if name == "cpu" or (name == "auto" and not _may_have_gpu()):
        return "cpu"
    import torch

    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if name == "auto":
        return "cuda" if cuda else "mps" if mps else "cpu"
    count = {"cpu": 1, "mps": int(mps), "cuda": torch.cuda.device_count() if cuda else 0}[kind]
    if int(number or 0) >= count:
        having = f"there are {count}" if count else f"this machine has no {kind}"
        raise UsageError(f"device {name!r} is not available: {having}; use auto or cpu")
    return name


def _may_have_gpu() -> bool:
    """False on a Linux without the device files of NVIDIA's, Tegra's, AMD's and WSL's drivers."""
    if sys.platform != "linux":
        return True
    drivers = ("nvidia*", "nvhost*", "nvmap", "kfd", "dxg")
    return any(True for driver in drivers for _ in Path("/dev").glob(driver))


def dtype_name(name: str, device: str) -> str:
    """A floating-point type; "auto" takes float16 on CUDA and float32 elsewhere.

    Raises:
        UsageError: unknown, or half precision on a CPU without instructions for it, where it is
            hundreds of times slower.
    """
    kind = device.partition(":")[0]
    if name == "auto":
        return "float16" if kind == "cuda" else "float32"
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} is not one of auto, {', '.join(DTYPES)}")
    if kind == "cpu":
        if name == "float16":
            raise UsageError("dtype float16 is not usable on the CPU; use float32 (or auto)")
        if name == "bfloat16" and not cpu_has_bfloat16():
            raise UsageError("this CPU has no instructions for bfloat16; use float32 (or auto)")
    return name


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device, without waiting for what a GPU has still to do before."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def settle_device(device: torch.device, dtype: torch.dtype) -> None:
    """Tell torch how to compute there; call before a model is loaded.

    On a CPU no more threads than a container may use: torch counts cores, and threads that wait
    for one another while they have none take several times as long. On CUDA float32 stays what its
    name says: convolutions would be rounded to TF32, as matrix products are not. What users set
    themselves (``OMP_NUM_THREADS``, or half precision) stays.
    """
    import torch

    if device.type == "cpu":
        share = cpu_quota()
        if share is not None and "OMP_NUM_THREADS" not in os.environ:
            threads = max(1, int(share))
            if threads < torch.get_num_threads():
                torch.set_num_threads(threads)
    elif device.type == "cuda" and dtype == torch.float32:
        torch.backends.cudnn.allow_tf32 = False


def cpu_quota(root: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Cores' worth of time that Linux grants this process; None for all.

    The least of its control group and of those around it counts, as containers have them.

    Args:
        root: where the hierarchy of control groups is mounted.
        own: says in which group the process is.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if kinds and "cpu" not in kinds.split(","):
            continue
        group = root / "cpu" if kinds else root
        for folder in (group, *_descending(group, path)):
            found += _granted(folder)
    return min(found, default=None)


def _descending(group: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    return [group.joinpath(*parts[: depth + 1]) for depth in range(len(parts))]


def _granted(folder: Path) -> list[float]:
    """What one group has of time, in cores; nothing for no limit."""
    try:
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text(encoding="ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii")
        return [int(quota) / int(period)] if int(quota) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):
        return []


def cpu_has_bfloat16() -> bool:
    """Whether matrix products of bfloat16 are faster here than those of float32.

    So they are with AVX512-BF16 or AMX; elsewhere they are emulated.
    """
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
