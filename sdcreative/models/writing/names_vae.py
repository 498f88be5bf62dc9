"""Names of an autoencoder in the layout of CompVis (taming-transformers, ``model.py``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .pieces import Change, NoNameError, Piece

_OUTSIDE = re.compile(
    r"(?:quant_conv|post_quant_conv|(?:en|de)coder\.conv_(?:in|out))\.(?:weight|bias)"
)
_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_RESNET = ("norm1", "conv1", "norm2", "conv2", "conv_shortcut")
_LEVEL = re.compile(
    r"(encoder\.down|decoder\.up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_MIDDLE = re.compile(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def vae_names(config: Mapping[str, Any]) -> Callable[[str], tuple[Piece, ...]]:
    """What finds the original name of each of an autoencoder's tensors.

    The original counts the decoder's levels from the finest, and attends by 1x1 convolutions.

    Args:
        config: of the autoencoder as built.
    """
    last = len(config["block_out_channels"]) - 1

    def named(name: str) -> tuple[Piece, ...]:
        if _OUTSIDE.fullmatch(name):
            return (Piece(name),)
        side, _, rest = name.partition(".")
        if rest.startswith("conv_norm_out."):
            return (Piece(f"{side}.norm_out.{rest.removeprefix('conv_norm_out.')}"),)
        if found := _MIDDLE.fullmatch(name):
            side, what, number, rest = found.groups()
            if what == "resnets":
                return (Piece(f"{side}.mid.block_{int(number) + 1}.{_resnet(rest)}"),)
            part, _, kind = rest.rpartition(".")
            if part not in _ATTENTION or number != "0":
                raise NoNameError(name)
            change: Change = "none" if part == "group_norm" else "convolution"
            return (Piece(f"{side}.mid.attn_1.{_ATTENTION[part]}.{kind}", change=change),)
        found = _LEVEL.fullmatch(name)
        if found is None:
            raise NoNameError(name)
        way, level, what, number, rest = found.groups()
        block = f"{way}.{int(level) if way == 'encoder.down' else last - int(level)}"
        if what == "resnets":
            return (Piece(f"{block}.block.{number}.{_resnet(rest)}"),)
        return (Piece(f"{block}.{what.removesuffix('rs')}.{rest}"),)

    return named


def _resnet(rest: str) -> str:
    part, _, kind = rest.partition(".")
    if part not in _RESNET:
        raise NoNameError(rest)
    return f"{part.replace('conv_shortcut', 'nin_shortcut')}.{kind}"
