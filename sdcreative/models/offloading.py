"""Models that are larger than a device's memory: parts, or layers, that come there to work only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .catalogue.memory import per_latent, per_pixel

if TYPE_CHECKING:
    import torch

    from .parts import Parts
    from .sizes import Sizes

Plan = Literal["resident", "parts", "layers"]
"""all weights on the device; one part of the model at a time; of the denoiser one layer"""

SHARE = 0.85
"""of the free memory, which a model may take"""
SMALL = 512 * 512
"""pixels that are decoded at once where memory is to be saved"""
_GUIDED = 2


def choose_plan(weights: Mapping[str, int], working: int, free: int | None, low: bool) -> Plan:
    """Where the weights of a model have to be.

    Args:
        weights: part -> bytes.
        working: bytes that making one picture takes beside them.
        free: bytes on the device; None where weights have nowhere else to go, as on a CPU.
        low: take as little as can be.

    >>> choose_plan({"unet": 6, "vae": 1, "text_encoder": 2}, 2, 20, False)
    'resident'
    >>> choose_plan({"unet": 6, "vae": 1, "text_encoder": 2}, 2, 10, False)
    'parts'
    """
    if free is None:
        return "resident"
    room = SHARE * free - working
    if not low and sum(weights.values()) <= room:
        return "resident"
    return "parts" if max(weights.values()) <= room else "layers"


def working_bytes(configs: Mapping[str, Any], sizes: Sizes, itemsize: int) -> int:
    """About what one guided picture of the model's own size takes beside the weights.

    Args:
        configs: of the parts.
        sizes: of the model's pictures.
        itemsize: bytes of a number.
    """
    width, height = sizes.own
    denoiser = configs.get("unet") or configs.get("transformer") or {}
    latents = width * height // sizes.downsampling**2
    numbers = max(
        _GUIDED * latents * per_latent(denoiser), width * height * per_pixel(configs["vae"])
    )
    return round(numbers * itemsize)


def free_memory(device: torch.device) -> int | None:
    """Bytes that are free on a device; None where that is not known."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        most = torch.mps.recommended_max_memory()
        return int(most - torch.mps.current_allocated_memory())
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    return next((1024 * int(one.split()[1]) for one in lines if one.startswith("MemAv")), None)


def decoded_at_once(parts: Parts) -> int | None:
    """Pixels that the autoencoder may have in work at once; None for as many as it likes."""
    if parts.low_memory:
        return SMALL
    free = free_memory(parts.device)
    each = per_pixel(parts.vae.config) * parts.vae.dtype.itemsize
    return None if free is None or not each else max(SMALL, int(SHARE * free / each))


class Shifts:
    """Has one part of a model at a time on the device; the others rest elsewhere.

    Args:
        parts: name -> module, all at rest.
        device: where they work.
        rest: where they are otherwise.

    Attributes:
        at_work: the part that is on the device; "" for none.
    """

    def __init__(self, parts: Mapping[str, Any], device: torch.device, rest: torch.device) -> None:
        self._parts, self._device, self._rest = dict(parts), device, rest
        self.at_work = ""
        for name, module in self._parts.items():
            # An autoencoder's encode and decode call its children, never itself.
            for called in (module, *module.children()):
                called.register_forward_pre_hook(self._calling(name))

    def _calling(self, name: str) -> Any:
        def hook(module: Any, inputs: Any) -> None:
            if self.at_work == name:
                return
            if self.at_work:
                self._parts[self.at_work].to(self._rest)
            self.at_work = name
            self._parts[name].to(self._device)

        return hook


def spread(plan: Plan, parts: Mapping[str, Any], denoiser: str, device: torch.device) -> None:
    """Have parts that are in main memory come to the device when they are called.

    Args:
        plan: parts or layers.
        parts: name -> module.
        denoiser: the one that goes layer by layer, where the plan says so.
        device: where they work.
    """
    import torch

    rest = torch.device("cpu")
    shifted = dict(parts)
    if plan == "layers":
        from diffusers.hooks import apply_group_offloading

        apply_group_offloading(
            shifted.pop(denoiser),
            onload_device=device,
            offload_device=rest,
            offload_type="leaf_level",
            use_stream=device.type == "cuda",
        )
    Shifts(shifted, device, rest)
