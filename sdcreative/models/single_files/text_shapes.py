"""Configurations of text encoders, from the shapes of their tensors, in transformers' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...errors import ModelError
from .layouts import Text, any_begins
from .shapes import HEAD_WIDTH, Config, Shapes, axes, count

_FULL_WIDTH, _FULL_LAYERS = 1024, 23
"""of the open_clip text encoder of Stable Diffusion 2, as far as it is used"""
PROJECTED = "CLIPTextModelWithProjection"


def text_config(shapes: Shapes, text: Text, base: Config, part: str) -> Config:
    """Configuration of a text encoder.

    Args:
        shapes: of the whole file.
        text: where it is.
        base: of the family.
        part: text_encoder, text_encoder_2 or text_encoder_3.

    Raises:
        ModelError: a tensor is missing, or is of a shape that cannot be.
    """
    if text.style == "t5":
        return _t5_config(shapes, text.prefix, base)
    if text.style == "open_clip":
        blocks = f"{text.prefix}transformer.resblocks."
        layers = used_layers(shapes, text)
        tokens = axes(shapes, f"{text.prefix}token_embedding.weight", 2)
        places = axes(shapes, f"{text.prefix}positional_embedding", 2)
        inner = axes(shapes, f"{blocks}0.mlp.c_fc.weight", 2)[0]
        projection = text.prefix + "text_projection"
        projected = -1
    else:
        prefix = clip_prefix(shapes, text.prefix)
        layers = count(shapes, f"{prefix}encoder.layers.", ".mlp.fc1.weight")
        tokens = axes(shapes, f"{prefix}embeddings.token_embedding.weight", 2)
        places = axes(shapes, f"{prefix}embeddings.position_embedding.weight", 2)
        inner = axes(shapes, f"{prefix}encoder.layers.0.mlp.fc1.weight", 2)[0]
        projection = text.prefix + "text_projection.weight"
        projected = 0
    config = base | {
        "vocab_size": tokens[0],
        "hidden_size": tokens[1],
        "num_attention_heads": max(1, tokens[1] // HEAD_WIDTH),
        "max_position_embeddings": places[0],
        "intermediate_size": inner,
        "num_hidden_layers": layers,
    }
    if PROJECTED in (base.get("architectures") or ()):
        own = has_own_projection(part)
        config["projection_dim"] = axes(shapes, projection, 2)[projected] if own else tokens[1]
    return config


def has_own_projection(part: str) -> bool:
    """Whether a projected text encoder is projected by its own matrix.

    The first one of Stable Diffusion 3 is not: its reference, https://github.com/Stability-AI/sd3-ref
    (``return_projected_pooled=False``), and diffusers leave the pooled prompt as it is.
    """
    return part != "text_encoder"


def used_layers(shapes: Shapes, text: Text) -> int:
    """Layers of an open_clip text encoder that are used: all, or all but the last.

    The converters of diffusers write the one of full size without the layer that is not used.
    """
    found = count(shapes, f"{text.prefix}transformer.resblocks.", ".mlp.c_fc.weight")
    if not text.penultimate:
        return found
    width = (*shapes.get(f"{text.prefix}ln_final.weight", ()), 0)[0]
    return found if (width, found) == (_FULL_WIDTH, _FULL_LAYERS) else found - 1


def clip_prefix(names: Iterable[str], prefix: str) -> str:
    """What names of transformers begin with; old merges lack ``text_model.``."""
    return f"{prefix}text_model." if any_begins(names, f"{prefix}text_model.") else prefix


def _t5_config(shapes: Shapes, prefix: str, base: Config) -> Config:
    block = f"{prefix}encoder.block.0.layer."
    shared = f"{prefix}shared.weight"
    if shared not in shapes:
        shared = f"{prefix}encoder.embed_tokens.weight"
    buckets, heads = axes(shapes, f"{block}0.SelfAttention.relative_attention_bias.weight", 2)
    inner = axes(shapes, f"{block}0.SelfAttention.q.weight", 2)[0]
    if inner % heads:
        raise ModelError(f"{block}0.SelfAttention.q.weight does not fit its {heads} heads")
    gated = f"{block}1.DenseReluDense.wi_0.weight" in shapes
    into = f"{block}1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight"
    said: dict[str, Any] = (
        {"feed_forward_proj": "gated-gelu", "is_gated_act": True, "dense_act_fn": "gelu_new"}
        if gated
        else {"feed_forward_proj": "relu", "is_gated_act": False, "dense_act_fn": "relu"}
    )
    layers = count(shapes, f"{prefix}encoder.block.", ".layer.0.SelfAttention.q.weight")
    return (
        base
        | said
        | {
            "vocab_size": axes(shapes, shared, 2)[0],
            "d_model": shapes[shared][1],
            "d_kv": inner // heads,
            "d_ff": axes(shapes, into, 2)[0],
            "num_heads": heads,
            "num_layers": layers,
            "num_decoder_layers": layers,
            "relative_attention_num_buckets": buckets,
        }
    )
