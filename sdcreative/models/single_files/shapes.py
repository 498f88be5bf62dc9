"""Configurations of a checkpoint's parts, from the shapes of its tensors.

What shapes do not tell comes from the family's configuration, as it is published for the model of
full size; so a smaller or larger model of the same build is read as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ModelError
from .recognising import CLIP, OPEN_CLIP, UNET, VAE

Shapes = Mapping[str, tuple[int, ...]]
Config = dict[str, Any]
HEAD_WIDTH = 64
"""of CLIP's text encoders, and of Stable Diffusion 2's attention"""
_FULL_WIDTH, _FULL_LAYERS = 1024, 23
"""of the open_clip text encoder of Stable Diffusion 2, as far as it is used"""


def unet_config(shapes: Shapes, base: Config, *, fixed_heads: bool) -> Config:
    """Configuration of the U-Net.

    Args:
        shapes: of the whole file.
        base: of the family.
        fixed_heads: 8 heads at every level, as in version 1; else heads of 64 channels.

    Raises:
        ModelError: a tensor is missing, or the levels are unlike each other.
    """
    first = _axes(shapes, f"{UNET}input_blocks.0.0.weight", 4)
    present = {tuple(name.removeprefix(UNET).split(".")[:2]) for name in shapes}
    levels: list[list[tuple[int, int]]] = [[]]
    number = 1
    while ("input_blocks", str(number)) in present:
        block = f"{UNET}input_blocks.{number}."
        if f"{block}0.op.weight" in shapes:
            levels.append([])
        else:
            width = _axes(shapes, f"{block}0.out_layers.3.weight", 4)[0]
            levels[-1].append((width, _depth(shapes, f"{block}1.")))
        number += 1
    counts = {len(level) for level in levels}
    kinds = [set(level) for level in levels]
    if counts != {max(counts)} or any(len(kind) != 1 for kind in kinds):
        raise ModelError(f"the U-Net's levels are unlike each other ({UNET}input_blocks.…)")
    widths, depths = zip(*(kind.pop() for kind in kinds), strict=True)
    to_k = [
        name for name in shapes if name.startswith(UNET) and name.endswith(".attn2.to_k.weight")
    ]
    if not to_k:
        raise ModelError(f"the U-Net does not attend to a text ({UNET}….attn2.to_k.weight)")
    project = min(name for name in shapes if name.startswith(UNET) and ".proj_in.weight" in name)
    depth = sorted(set(depths) - {0})
    return base | {
        "in_channels": first[1],
        "out_channels": _axes(shapes, f"{UNET}out.2.weight", 4)[0],
        "block_out_channels": list(widths),
        "layers_per_block": counts.pop(),
        "transformer_layers_per_block": depth[0] if len(depth) == 1 else [d or 1 for d in depths],
        "down_block_types": [_block("Down", depth) for depth in depths],
        "up_block_types": [_block("Up", depth) for depth in reversed(depths)],
        "cross_attention_dim": _axes(shapes, min(to_k), 2)[1],
        "use_linear_projection": len(shapes[project]) == 2,
        "attention_head_dim": (
            base["attention_head_dim"] if fixed_heads else [width // HEAD_WIDTH for width in widths]
        ),
    }


def vae_config(shapes: Shapes, base: Config) -> Config:
    """Configuration of the autoencoder.

    Raises:
        ModelError: a tensor is missing.
    """
    widths: list[int] = []
    while f"{VAE}encoder.down.{len(widths)}.block.0.conv1.weight" in shapes:
        block = f"{VAE}encoder.down.{len(widths)}.block.0.conv1.weight"
        widths.append(_axes(shapes, block, 4)[0])
    layers = 0
    while f"{VAE}encoder.down.0.block.{layers}.conv1.weight" in shapes:
        layers += 1
    if not widths:
        raise ModelError(f"the autoencoder lacks {VAE}encoder.down.0.block.0.conv1.weight")
    return base | {
        "in_channels": _axes(shapes, f"{VAE}encoder.conv_in.weight", 4)[1],
        "out_channels": _axes(shapes, f"{VAE}decoder.conv_out.weight", 4)[0],
        "latent_channels": _axes(shapes, f"{VAE}post_quant_conv.weight", 4)[1],
        "block_out_channels": widths,
        "layers_per_block": layers,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
    }


def clip_config(shapes: Shapes, base: Config) -> Config:
    """Configuration of the text encoder of version 1, in the names of transformers.

    Raises:
        ModelError: a tensor is missing.
    """
    prefix = clip_prefix(shapes)
    layers = _count(shapes, f"{prefix}encoder.layers.", ".mlp.fc1.weight")
    tokens = _axes(shapes, f"{prefix}embeddings.token_embedding.weight", 2)
    places = _axes(shapes, f"{prefix}embeddings.position_embedding.weight", 2)
    inner = _axes(shapes, f"{prefix}encoder.layers.0.mlp.fc1.weight", 2)[0]
    return base | _text(tokens, places[0], inner, layers)


def open_clip_config(shapes: Shapes, base: Config) -> Config:
    """Configuration of the text encoder of version 2; its last layer but one is the output.

    Raises:
        ModelError: a tensor is missing.
    """
    blocks = f"{OPEN_CLIP}transformer.resblocks."
    layers = used_layers(shapes)
    tokens = _axes(shapes, f"{OPEN_CLIP}token_embedding.weight", 2)
    places = _axes(shapes, f"{OPEN_CLIP}positional_embedding", 2)
    inner = _axes(shapes, f"{blocks}0.mlp.c_fc.weight", 2)[0]
    return base | _text(tokens, places[0], inner, layers)


def used_layers(shapes: Shapes) -> int:
    """Layers of the open_clip text encoder that are used: all but the last.

    The converters of diffusers write the one of full size without the layer that is not used.
    """
    found = _count(shapes, f"{OPEN_CLIP}transformer.resblocks.", ".mlp.c_fc.weight")
    width = (*shapes.get(f"{OPEN_CLIP}ln_final.weight", ()), 0)[0]
    return found if (width, found) == (_FULL_WIDTH, _FULL_LAYERS) else found - 1


def clip_prefix(shapes: Shapes) -> str:
    """What the names of version 1's text encoder begin with; old merges lack ``text_model.``."""
    named = any(name.startswith(f"{CLIP}text_model.") for name in shapes)
    return f"{CLIP}text_model." if named else CLIP


def _text(tokens: tuple[int, ...], places: int, inner: int, layers: int) -> Config:
    return {
        "vocab_size": tokens[0],
        "hidden_size": tokens[1],
        "num_attention_heads": max(1, tokens[1] // HEAD_WIDTH),
        "max_position_embeddings": places,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
    }


def _block(way: str, depth: int) -> str:
    return f"CrossAttn{way}Block2D" if depth else f"{way}Block2D"


def _depth(shapes: Shapes, prefix: str) -> int:
    return _count(shapes, f"{prefix}transformer_blocks.", ".norm1.weight")


def _count(shapes: Shapes, start: str, end: str) -> int:
    count = 0
    while f"{start}{count}{end}" in shapes:
        count += 1
    return count


def _axes(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise ModelError(f"1 tensor or more is missing, such as {name}")
    if len(shape) != axes or 0 in shape:
        raise ModelError(f"{name} has the shape {list(shape)}, which no such model has")
    return shape
