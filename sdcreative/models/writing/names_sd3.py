"""Names of Stable Diffusion 3's transformer in the layout of Stability (sd3-ref, ``mmditx.py``)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from .pieces import Change, NoNameError, Piece

_OUTSIDE = {
    "pos_embed.proj": "x_embedder.proj",
    "context_embedder": "context_embedder",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
}
_INSIDE = {
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
_JOINED = {
    "attn.to_q": ("x_block.attn.qkv", 0),
    "attn.to_k": ("x_block.attn.qkv", 1),
    "attn.to_v": ("x_block.attn.qkv", 2),
    "attn.add_q_proj": ("context_block.attn.qkv", 0),
    "attn.add_k_proj": ("context_block.attn.qkv", 1),
    "attn.add_v_proj": ("context_block.attn.qkv", 2),
    "attn2.to_q": ("x_block.attn2.qkv", 0),
    "attn2.to_k": ("x_block.attn2.qkv", 1),
    "attn2.to_v": ("x_block.attn2.qkv", 2),
}
_BLOCK = re.compile(r"transformer_blocks\.(\d+)\.(.+)\.(weight|bias)")
_SWAPPED: Change = "halves swapped"


def sd3_names(config: Mapping[str, Any]) -> Callable[[str], tuple[Piece, ...]]:
    """What finds the original name of each of the transformer's tensors.

    Where a norm has only a shift and a scale (at the end, and for the text in the last block),
    the original has the shift first and diffusers the scale.

    Args:
        config: of the transformer as built.
    """
    last = str(config["num_layers"] - 1)

    def named(name: str) -> tuple[Piece, ...]:
        if name == "pos_embed.pos_embed":
            return (Piece("pos_embed"),)
        part, _, kind = name.rpartition(".")
        if part in _OUTSIDE:
            return (Piece(f"{_OUTSIDE[part]}.{kind}"),)
        if part == "norm_out.linear":
            return (Piece(f"final_layer.adaLN_modulation.1.{kind}", change=_SWAPPED),)
        found = _BLOCK.fullmatch(name)
        if found is None:
            raise NoNameError(name)
        number, part, kind = found.groups()
        block = f"joint_blocks.{number}."
        if part in _JOINED:
            joined, place = _JOINED[part]
            return (Piece(f"{block}{joined}.{kind}", place),)
        if part not in _INSIDE:
            raise NoNameError(name)
        change: Change = "none"
        if part == "norm1_context.linear" and number == last:
            change = _SWAPPED
        return (Piece(f"{block}{_INSIDE[part]}.{kind}", change=change),)

    return named
