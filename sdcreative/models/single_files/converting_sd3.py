"""Weights of the transformer of Stable Diffusion 3 and 3.5 to the names of diffusers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from .layouts import UNET

if TYPE_CHECKING:
    from torch import Tensor

_OUTER = {
    "pos_embed": "pos_embed.pos_embed",
    "x_embedder.proj": "pos_embed.proj",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "context_embedder": "context_embedder",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
    "final_layer.linear": "proj_out",
}
_PICTURE = {
    "attn.proj": "attn.to_out.0",
    "attn.ln_q": "attn.norm_q",
    "attn.ln_k": "attn.norm_k",
    "attn2.proj": "attn2.to_out.0",
    "attn2.ln_q": "attn2.norm_q",
    "attn2.ln_k": "attn2.norm_k",
    "adaLN_modulation.1": "norm1.linear",
    "mlp.fc1": "ff.net.0.proj",
    "mlp.fc2": "ff.net.2",
}
_TEXT = {
    "attn.proj": "attn.to_add_out",
    "attn.ln_q": "attn.norm_added_q",
    "attn.ln_k": "attn.norm_added_k",
    "adaLN_modulation.1": "norm1_context.linear",
    "mlp.fc1": "ff_context.net.0.proj",
    "mlp.fc2": "ff_context.net.2",
}
_TRIPLES = {
    ("x", "attn.qkv"): ("attn.to_q", "attn.to_k", "attn.to_v"),
    ("x", "attn2.qkv"): ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    ("context", "attn.qkv"): ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_BLOCK = re.compile(r"joint_blocks\.(\d+)\.(x|context)_block\.(.+)")


def transformer_state(tensors: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The transformer's weights by diffusers' names; only what is put in another order is copied.

    Names that are not known stay as they are.

    Args:
        tensors: of the transformer, by their names in the file.
        layers: blocks that it has.
    """
    return {
        renamed: part
        for name, tensor in tensors.items()
        for renamed, part in _convert(name.removeprefix(UNET), tensor, layers - 1)
    }


def _convert(name: str, tensor: Tensor, last: int) -> Iterator[tuple[str, Tensor]]:
    match = _BLOCK.fullmatch(name)
    start, part, inner = ("", "", name) if match is None else match.groups()
    inner, dot, kind = (inner, "", "") if inner == "pos_embed" else inner.rpartition(".")
    block = f"transformer_blocks.{start}." if match else ""
    three = _TRIPLES.get((part, inner))
    if three and tensor.ndim and not tensor.shape[0] % 3:
        for new, third in zip(three, tensor.chunk(3), strict=True):
            yield f"{block}{new}.{kind}", third
        return
    renamed = {"": _OUTER, "x": _PICTURE, "context": _TEXT}[part].get(inner)
    if renamed is None:
        yield name, tensor
        return
    # The original has shift and scale, diffusers' final norms scale and shift. The text ends with
    # the last block, which has such a norm for it.
    final = renamed == "norm_out.linear" or (
        renamed == "norm1_context.linear" and start == str(last)
    )
    yield f"{block}{renamed}{dot}{kind}", _exchange(tensor) if final else tensor


def _exchange(tensor: Tensor) -> Tensor:
    """The two halves of the first axis in the other order."""
    import torch

    if not tensor.ndim or tensor.shape[0] % 2:
        return tensor
    shift, scale = tensor.chunk(2)
    return torch.cat([scale, shift])
