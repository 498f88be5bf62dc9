"""How many pictures fit into a device's memory at once."""

from __future__ import annotations

from .catalogue.memory import per_latent
from .offloading import SHARE, free_memory
from .parts import Parts

_GUIDED = 2


def suited_batch(parts: Parts, latents: int) -> int:
    """Pictures to denoise together: as many as keep a device busy, and fit into its memory.

    Args:
        parts: a loaded model.
        latents: pixels of a picture's latents.
    """
    on_cpu = parts.device.type == "cpu"
    # A CPU reads its weights once for all rows; beyond 16 pictures that gains little more.
    budget, most = (4096, 16) if on_cpu else (65536, 64)
    useful = max(1, min(most, budget // latents))
    return useful if on_cpu else min(useful, pictures_at_once(parts, latents) or useful)


def pictures_at_once(parts: Parts, latents: int) -> int | None:
    """Guided pictures that can be denoised together; None where that is not known.

    A power of two, so that a little more or less free memory gives the same batches, and with them
    the same pictures bit for bit.

    Args:
        parts: a model whose weights are on the device.
        latents: pixels of a picture's latents.
    """
    free, each = _free(parts), per_latent(parts.denoiser.config)
    if free is None or not each:
        return None
    return fitting(SHARE * free, _GUIDED * latents * each * parts.dtype.itemsize)


def fitting(free: float, each: float) -> int:
    """The largest power of two of things of one size that fit; 1 at least.

    >>> fitting(100, 12), fitting(100, 13), fitting(1, 2)
    (8, 4, 1)
    """
    return 1 << max(0, int(free / each).bit_length() - 1)


def _free(parts: Parts) -> int | None:
    """Free bytes, and those that torch has taken and does not use."""
    import torch

    free = free_memory(parts.device)
    if free is None or parts.device.type != "cuda":
        return free
    taken = torch.cuda.memory_reserved(parts.device) - torch.cuda.memory_allocated(parts.device)
    return free + taken
