"""About how much memory a model takes, from its configurations. Imports no torch.

What is alive at once beside the weights was counted, tensor by tensor, in the models of full size,
with attention that does not write its scores down, as on GPUs; it grows with the pictures' area.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BYTES = {"float16": 2, "float32": 4}
_ATTENDING, _CONVOLVING = 26, 16
"""numbers per latent pixel and channel of a U-Net that attends at its first level, and of others"""
_BLOCK = 13.3
"""numbers per token and channel of a transformer of Stable Diffusion 3"""
_DECODED = 3
"""tensors of the last level but one that are alive at once while the autoencoder decodes"""
_GUIDED = 2
_WIDEST = 1 << 30
"""pictures at once: with the prompt and with the negative prompt"""


def memory(
    parameters: int, configs: Mapping[str, Mapping[str, Any]], size: tuple[int, int], step: int
) -> dict[str, dict[str, int]]:
    """Bytes by type: ``load`` for the weights, ``render`` for one guided picture with them.

    Args:
        parameters: of all that is loaded.
        configs: of the parts.
        size: (width, height) of the picture in pixels.
        step: pixels per latent along a side.
    """
    latents = (size[0] // step) * (size[1] // step)
    denoiser = configs.get("unet") or configs.get("transformer") or {}
    working = max(
        _GUIDED * latents * per_latent(denoiser),
        size[0] * size[1] * per_pixel(configs.get("vae") or {}),
    )
    return {
        name: {"load": parameters * each, "render": round((parameters + working) * each)}
        for name, each in BYTES.items()
    }


def per_latent(denoiser: Mapping[str, Any]) -> float:
    """Numbers that are alive at once for every pixel of one picture's latents."""
    heads, width = denoiser.get("num_attention_heads"), denoiser.get("attention_head_dim")
    patch = denoiser.get("patch_size")
    if isinstance(heads, int) and isinstance(width, int) and isinstance(patch, int) and patch:
        return _BLOCK * heads * width / patch**2
    widths, blocks = _numbers(denoiser.get("block_out_channels")), denoiser.get("down_block_types")
    if not widths or not blocks:
        return 0.0
    attends = isinstance(blocks, list | tuple) and "CrossAttn" in str(blocks[0])
    return float((_ATTENDING if attends else _CONVOLVING) * widths[0])


def per_pixel(vae: Mapping[str, Any]) -> float:
    """Numbers that are alive at once for every pixel of one decoded picture."""
    widths = _numbers(vae.get("block_out_channels") or vae.get("decoder_block_out_channels"))
    return float(_DECODED * widths[min(1, len(widths) - 1)]) if widths else 0.0


def _numbers(value: Any) -> list[int]:
    """A list of widths; none of what is no such list."""
    listed = list(value) if isinstance(value, list | tuple) else []
    return listed if all(type(one) is int and 0 < one < _WIDEST for one in listed) else []
