"""Weights of a U-Net in a single file to the names of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from .layouts import EMA, UNET

if TYPE_CHECKING:
    from torch import Tensor

_OUTER = {
    "input_blocks.0.0": "conv_in",
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "label_emb": "class_embedding",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}
_RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
_MIDDLE = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}
_BLOCK = re.compile(r"(input|output)_blocks\.(\d{1,4})\.(\d)\.(.+)")
_MIDDLE_BLOCK = re.compile(r"middle_block\.([012])\.(.+)")


def unet_state(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], *, ema: bool, path: Path
) -> dict[str, Tensor]:
    """The U-Net's weights by diffusers' names, not copied; unknown names stay as they are.

    Args:
        tensors: of the whole file.
        config: of the U-Net.
        ema: the averaged weights instead of the last ones.
        path: for the message.

    Raises:
        ModelError: the averaged weights are not all there.
    """
    layers = config["layers_per_block"]
    return {
        _rename(name.removeprefix(UNET), layers): one
        for name, one in denoiser_tensors(tensors, ema=ema, path=path).items()
    }


def denoiser_tensors(tensors: Mapping[str, Tensor], *, ema: bool, path: Path) -> dict[str, Tensor]:
    """The tensors of the U-Net or transformer by their names in the file.

    Raises:
        ModelError: the averaged weights are not all there.
    """
    own = {name: one for name, one in tensors.items() if name.startswith(UNET)}
    return {name: _averaged(tensors, name, path) for name in own} if ema else own


def _averaged(tensors: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    # As LitEma names its copies: without "model." and without dots.
    found = tensors.get(EMA + name.removeprefix("model.").replace(".", ""))
    if found is None:
        raise ModelError(f"ema: {path} has no averaged weight of {name}; leave ema out")
    return found


def _rename(name: str, layers: int) -> str:
    part, dot, kind = name.rpartition(".")
    if part in _OUTER:
        return _OUTER[part] + dot + kind
    if middle := _MIDDLE_BLOCK.fullmatch(name):
        block = _MIDDLE[middle[1]]
        return f"mid_block.{block}.{_inside(block, middle[2])}"
    found = _BLOCK.fullmatch(name)
    if found is None:
        return name
    way, number, place, rest = found[1], int(found[2]), found[3], found[4]
    # A level has as many blocks as layers; on the way down one more that makes it smaller, on the
    # way up one more layer. The first block is before all levels.
    level, layer = divmod(number - 1 if way == "input" else number, layers + 1)
    if way == "input":
        start = f"down_blocks.{level}"
        if place == "0" and rest.startswith("op."):
            return f"{start}.downsamplers.0.conv.{rest.removeprefix('op.')}"
    else:
        start = f"up_blocks.{level}"
        if place in "12" and rest.startswith("conv."):
            return f"{start}.upsamplers.0.{rest}"
    if place not in "01":
        return name
    kinds = "attentions" if place == "1" else "resnets"
    return f"{start}.{kinds}.{layer}.{_inside(kinds, rest)}"


def _inside(kind: str, rest: str) -> str:
    """What follows a block's number; the names inside attention are the same."""
    if kind.startswith("attentions"):
        return rest
    part, dot, last = rest.rpartition(".")
    return _RESNET.get(part, part) + dot + last
