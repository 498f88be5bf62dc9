"""Names of a U-Net in the layout of CompVis (latent-diffusion, ``openaimodel.py``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .pieces import NoNameError, Piece

_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)")


def unet_names(config: Mapping[str, Any]) -> Callable[[str], tuple[Piece, ...]]:
    """What finds the original name of each of a U-Net's tensors.

    The blocks of the original are numbered through: at each level as many as the level has layers
    (on the way up one more), and on the way down one more that halves the size; what doubles it
    on the way up is the last in the last block of its level.

    Args:
        config: of the U-Net as built; there are names only if all levels have as many layers.
    """
    layers, up_types = config["layers_per_block"], config["up_block_types"]

    def named(name: str) -> tuple[Piece, ...]:
        part, _, kind = name.rpartition(".")
        if part in _OUTSIDE:
            return (Piece(f"{_OUTSIDE[part]}.{kind}"),)
        if found := _MIDDLE.match(name):
            # Two ResNet blocks, and the attention between them.
            middle = 2 * int(found[2]) + (found[1] == "attentions")
            return (Piece(f"middle_block.{middle}{_inside(found[1], name[found.end() :])}"),)
        found = _BLOCK.match(name)
        if found is None or not isinstance(layers, int):
            raise NoNameError(name)
        way, what, level, number = found[1], found[3], int(found[2]), int(found[4])
        rest, first = name[found.end() :], level * (layers + 1)
        if what == "downsamplers":
            return (Piece(f"input_blocks.{first + layers + 1}.0{rest.replace('.conv', '.op')}"),)
        if what == "upsamplers":
            last = 2 if "CrossAttn" in up_types[level] else 1
            return (Piece(f"output_blocks.{first + layers}.{last}{rest}"),)
        block = f"input_blocks.{first + number + 1}"
        if way == "up":
            block = f"output_blocks.{first + number}"
        return (Piece(f"{block}.{int(what == 'attentions')}{_inside(what, rest)}"),)

    return named


def _inside(what: str, rest: str) -> str:
    """What follows a block's number, with the dot before it; attention has the same names."""
    if what == "attentions":
        return rest
    part, _, kind = rest.removeprefix(".").partition(".")
    if part not in _RESNET:
        raise NoNameError(rest.removeprefix("."))
    return f".{_RESNET[part]}.{kind}"
