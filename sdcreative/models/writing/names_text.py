"""Names of text encoders in single files: CLIP's own, those of open_clip, and T5's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .pieces import NoNameError, Piece

_OUTSIDE = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_JOINED = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_LAYERS = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
PROJECTION = "text_projection.weight"


def clip_names(name: str) -> tuple[Piece, ...]:
    """As transformers before version 5 has them: all but the projection in ``text_model``."""
    bare = name.removeprefix("text_model.")
    return (Piece(bare if bare == PROJECTION else f"text_model.{bare}"),)


def open_clip_names(name: str) -> tuple[Piece, ...]:
    """As open_clip has them: queries, keys and values in one, the projection transposed.

    Raises:
        NoNameError: no tensor of such an encoder.
    """
    bare = name.removeprefix("text_model.")
    if bare == PROJECTION:
        return (Piece("text_projection", change="transposed"),)
    if bare in _OUTSIDE:
        return (Piece(_OUTSIDE[bare]),)
    found = _LAYERS.fullmatch(bare)
    if found is None:
        raise NoNameError(name)
    layer, part, kind = found.groups()
    block = f"transformer.resblocks.{layer}."
    if part in _JOINED:
        return (Piece(f"{block}attn.in_proj_{kind}", _JOINED.index(part)),)
    if part not in _LAYER:
        raise NoNameError(name)
    return (Piece(f"{block}{_LAYER[part]}.{kind}"),)


def with_unused_layer(pieces: Iterable[Piece], layers: int) -> tuple[Piece, ...]:
    """The last layer's pieces twice: the original has one more, which nothing uses.

    Readers of Stable Diffusion 2 leave the last of the layers out; it is a copy here.

    Args:
        pieces: of a tensor.
        layers: how many the encoder has.
    """
    last, unused = (f"transformer.resblocks.{number}." for number in (layers - 1, layers))
    own = tuple(pieces)
    copies = (
        Piece(unused + one.name.removeprefix(last), one.place, one.change)
        for one in own
        if one.name.startswith(last)
    )
    return (*own, *copies)


def same_names(name: str) -> tuple[Piece, ...]:
    """T5's, which are transformers'."""
    return (Piece(name),)
