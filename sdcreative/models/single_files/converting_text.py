"""Weights of text encoders in a single file to the names of transformers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .layouts import Text
from .text_shapes import clip_prefix, has_own_projection

if TYPE_CHECKING:
    from torch import Tensor

_OUTER = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_INNER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(\w+)")
_TRIPLE = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)")
_CLIP = ("embeddings.", "encoder.", "final_layer_norm.")
_PROJECTION = "text_projection.weight"
_SQUARE = "text_model.encoder.layers.0.self_attn.q_proj.weight"
_T5_TOKENS = "encoder.embed_tokens.weight"


def text_state(
    tensors: Mapping[str, Tensor], text: Text, config: Mapping[str, Any], part: str, module: Any
) -> dict[str, Tensor]:
    """The text encoder's weights by transformers' names, not copied.

    Those of CLIP begin with ``text_model.``, as published ones do.

    Args:
        tensors: of the whole file.
        text: where the text encoder is.
        config: of it.
        part: text_encoder, text_encoder_2 or text_encoder_3.
        module: that they are for; it may be without weights.
    """
    own = {
        name.removeprefix(text.prefix): one
        for name, one in tensors.items()
        if name.startswith(text.prefix)
    }
    if text.style == "t5":
        return _t5_state(own)
    layers = config["num_hidden_layers"]
    state = _open_clip_state(own, layers) if text.style == "open_clip" else _clip_state(own)
    projection = state.pop(_PROJECTION, None)
    if _PROJECTION in module.state_dict():
        if not has_own_projection(part):
            state |= _identity(state.get(_SQUARE), config["projection_dim"])
        elif projection is not None:
            state[_PROJECTION] = projection
    return state


def _identity(square: Tensor | None, width: int) -> dict[str, Tensor]:
    """The projection that changes nothing, unless the file lacks a matrix of this size."""
    import torch

    if square is None or square.shape != (width, width):
        return {}
    return {_PROJECTION: torch.eye(width)}


def _clip_state(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inside = clip_prefix(own, "")
    state = {
        f"text_model.{bare}": one
        for name, one in own.items()
        if name.startswith(inside)
        and not (bare := name.removeprefix(inside)).endswith("position_ids")
        and (inside or bare.startswith(_CLIP))
    }
    return state | {name: one for name, one in own.items() if name == _PROJECTION}


def _open_clip_state(own: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    unused = f"transformer.resblocks.{layers}."
    return {
        renamed: part
        for name, one in own.items()
        if not name.startswith(unused)
        for renamed, part in _convert(name, one)
    }


def _convert(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor of open_clip by transformers' names; nothing for what is not used."""
    if name == "text_projection":
        # A matrix that vectors are multiplied by from the left; a layer has it transposed.
        yield _PROJECTION, tensor.T if tensor.ndim == 2 else tensor
    elif name in _OUTER:
        yield _OUTER[name], tensor
    elif (match := _TRIPLE.fullmatch(name)) and tensor.ndim and not tensor.shape[0] % 3:
        number, kind = match.groups()
        for letter, third in zip("qkv", tensor.chunk(3), strict=True):
            yield f"text_model.encoder.layers.{number}.self_attn.{letter}_proj.{kind}", third
    elif (match := _BLOCK.fullmatch(name)) and match[2] in _INNER:
        number, inner, kind = match.groups()
        yield f"text_model.encoder.layers.{number}.{_INNER[inner]}.{kind}", tensor
    elif name.startswith("transformer."):
        yield name, tensor


def _t5_state(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    state = {name: one for name, one in own.items() if name.startswith(("shared.", "encoder."))}
    # Both names are of the same tensor.
    twin = state.pop(_T5_TOKENS, None)
    return state if twin is None else {"shared.weight": twin} | state
