"""Weights of an autoencoder in a file to the names of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_OWN = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")
_ATTENTION = {
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "proj_out": "to_out.0",
}
_LEVEL = re.compile(r"(en|de)coder\.(?:down|up)\.(\d{1,4})\.(.+)")
_MIDDLE = re.compile(r"(en|de)coder\.mid\.block_([12])\.(.+)")
_MIDDLE_ATTENTION = re.compile(r"(en|de)coder\.mid\.attn_1\.(\w+)\.(weight|bias)")
_BLOCK = re.compile(r"block\.(\d{1,4})\.(.+)")
_SCALE = re.compile(r"(down|up)sample\.(.+)")


def vae_state(
    tensors: Mapping[str, Tensor], prefix: str, config: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The autoencoder's weights by diffusers' names, not copied; unknown names stay as they are.

    Args:
        tensors: of the whole file.
        prefix: what the names of its tensors begin with; after that they are those of the original
            repositories, or diffusers'.
        config: of the autoencoder.
    """
    levels = len(config["block_out_channels"])
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = name.removeprefix(prefix)
        if not name.startswith(prefix) or not own.startswith(_OWN):
            continue
        if found := _MIDDLE_ATTENTION.fullmatch(own):
            inner = _ATTENTION.get(found[2], found[2])
            own = f"{found[1]}coder.mid_block.attentions.0.{inner}.{found[3]}"
            # Convolutions of one pixel in the original, matrices in diffusers.
            while tensor.ndim > 2 and tensor.shape[-1] == 1:
                tensor = tensor[..., 0]
        state[_rename(own, levels)] = tensor
    return state


def _rename(name: str, levels: int) -> str:
    if found := _MIDDLE.fullmatch(name):
        rest = found[3].replace("nin_shortcut", "conv_shortcut")
        return f"{found[1]}coder.mid_block.resnets.{int(found[2]) - 1}.{rest}"
    found = _LEVEL.fullmatch(name)
    if found is None:
        return re.sub(r"coder\.norm_out\.", "coder.conv_norm_out.", name)
    number = int(found[2])
    down = found[1] == "en"
    # diffusers counts the decoder's levels from the smallest on.
    start = f"encoder.down_blocks.{number}" if down else f"decoder.up_blocks.{levels - 1 - number}"
    if block := _BLOCK.fullmatch(found[3]):
        return f"{start}.resnets.{block[1]}.{block[2].replace('nin_shortcut', 'conv_shortcut')}"
    if scale := _SCALE.fullmatch(found[3]):
        return f"{start}.{scale[1]}samplers.0.{scale[2]}"
    return name
