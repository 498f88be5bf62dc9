"""Configurations of denoisers and autoencoders, from the shapes of their tensors.

What shapes do not tell comes from the family's configuration, as it is published for the model of
full size; so a smaller or larger model of the same build is read as well.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ...errors import ModelError
from .layouts import UNET

Shapes = Mapping[str, tuple[int, ...]]
Config = dict[str, Any]
HEAD_WIDTH = 64
"""of CLIP's text encoders, and of the attention of all families but version 1"""
_SIZES_TOLD = 6
"""numbers about sizes that the U-Net of SDXL is told beside the prompt"""


def unet_config(shapes: Shapes, base: Config, *, fixed_heads: bool) -> Config:
    """Configuration of the U-Net.

    Args:
        shapes: of the whole file.
        base: of the family.
        fixed_heads: 8 heads at every level, as in version 1; else heads of 64 channels.

    Raises:
        ModelError: a tensor is missing, or the levels are unlike each other.
    """
    first = axes(shapes, f"{UNET}input_blocks.0.0.weight", 4)
    present = {tuple(name.removeprefix(UNET).split(".")[:2]) for name in shapes}
    levels: list[list[tuple[int, int]]] = [[]]
    number = 1
    while ("input_blocks", str(number)) in present:
        block = f"{UNET}input_blocks.{number}."
        if f"{block}0.op.weight" in shapes:
            levels.append([])
        else:
            width = axes(shapes, f"{block}0.out_layers.3.weight", 4)[0]
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
    config = base | {
        "in_channels": first[1],
        "out_channels": axes(shapes, f"{UNET}out.2.weight", 4)[0],
        "block_out_channels": list(widths),
        "layers_per_block": counts.pop(),
        "transformer_layers_per_block": depth[0] if len(depth) == 1 else [d or 1 for d in depths],
        "down_block_types": [_block("Down", depth) for depth in depths],
        "up_block_types": [_block("Up", depth) for depth in reversed(depths)],
        "cross_attention_dim": axes(shapes, min(to_k), 2)[1],
        "use_linear_projection": len(shapes[project]) == 2,
        "attention_head_dim": (
            base["attention_head_dim"]
            if fixed_heads
            else [max(1, width // HEAD_WIDTH) for width in widths]
        ),
    }
    if "addition_embed_type" in base:
        config["projection_class_embeddings_input_dim"] = _told(shapes)
    if "num_class_embeds" in base:
        config["num_class_embeds"] = axes(shapes, f"{UNET}label_emb.weight", 2)[0]
    if isinstance(base.get("only_cross_attention"), list):
        # All levels but the last, of Stable Diffusion x4 upscaler.
        config["only_cross_attention"] = [True] * (len(widths) - 1) + [False]
    return config


def _told(shapes: Shapes) -> int:
    """Numbers that the U-Net of SDXL is told beside the prompt."""
    for number in (0, 2):
        axes(shapes, f"{UNET}label_emb.0.{number}.bias", 1)
        axes(shapes, f"{UNET}label_emb.0.{number}.weight", 2)
    return shapes[f"{UNET}label_emb.0.0.weight"][1]


def size_width(told: int, pooled: int, published: int) -> int:
    """Numbers by which the U-Net of SDXL is told one size.

    Args:
        told: numbers that it is told in all.
        pooled: those of them that are the prompt's.
        published: of the model of full size, for a model that they do not fit.
    """
    width, rest = divmod(told - pooled, _SIZES_TOLD)
    return width if width > 0 and not rest else published


def transformer_config(shapes: Shapes, base: Config) -> Config:
    """Configuration of the transformer of Stable Diffusion 3 and 3.5 (MMDiT, MMDiT-X).

    Raises:
        ModelError: a tensor is missing, or is of a shape that cannot be.
    """
    project = axes(shapes, f"{UNET}x_embedder.proj.weight", 4)
    places = axes(shapes, f"{UNET}pos_embed", 3)[1]
    layers = count(shapes, f"{UNET}joint_blocks.", ".x_block.attn.qkv.weight")
    final = axes(shapes, f"{UNET}final_layer.linear.weight", 2)[0]
    side, patch = math.isqrt(places), project[2]
    if not layers:
        raise ModelError(f"the transformer has no blocks ({UNET}joint_blocks.0.x_block.…)")
    block = f"{UNET}joint_blocks.{{}}.x_block."
    norm = f"{block.format(0)}attn.ln_q.weight"
    head = axes(shapes, norm, 1)[0] if norm in shapes else HEAD_WIDTH
    if side * side != places or final % patch**2 or project[0] % head:
        raise ModelError(f"{UNET}pos_embed, x_embedder and final_layer do not fit each other")
    return base | {
        "num_layers": layers,
        "attention_head_dim": head,
        "num_attention_heads": project[0] // head,
        "in_channels": project[1],
        "patch_size": patch,
        "out_channels": final // patch**2,
        "pos_embed_max_size": side,
        "caption_projection_dim": axes(shapes, f"{UNET}context_embedder.weight", 2)[0],
        "joint_attention_dim": axes(shapes, f"{UNET}context_embedder.weight", 2)[1],
        "pooled_projection_dim": axes(shapes, f"{UNET}y_embedder.mlp.0.weight", 2)[1],
        "qk_norm": "rms_norm" if norm in shapes else None,
        "dual_attention_layers": [
            layer for layer in range(layers) if f"{block.format(layer)}attn2.qkv.weight" in shapes
        ],
    }


def vae_config(shapes: Shapes, prefix: str, base: Config) -> Config:
    """Configuration of the autoencoder.

    Args:
        shapes: of the whole file.
        prefix: what the names of its tensors begin with; after that they are those of the original
            repositories, or diffusers'.
        base: of the family.

    Raises:
        ModelError: a tensor is missing.
    """
    level = f"{prefix}encoder.down.{{}}.block.{{}}.conv1.weight"
    if f"{prefix}encoder.down_blocks.0.resnets.0.conv1.weight" in shapes:
        level = f"{prefix}encoder.down_blocks.{{}}.resnets.{{}}.conv1.weight"
    widths: list[int] = []
    while level.format(len(widths), 0) in shapes:
        widths.append(axes(shapes, level.format(len(widths), 0), 4)[0])
    layers = 0
    while level.format(0, layers) in shapes:
        layers += 1
    if not widths:
        raise ModelError(f"the autoencoder lacks {level.format(0, 0)}")
    narrow = any(f"{prefix}{name}.weight" in shapes for name in ("quant_conv", "post_quant_conv"))
    last = f"{prefix}{'post_quant_conv' if narrow else 'decoder.conv_in'}.weight"
    silent = narrow and "use_quant_conv" not in base
    said = {} if silent else {"use_quant_conv": narrow, "use_post_quant_conv": narrow}
    return (
        base
        | said
        | {
            "in_channels": axes(shapes, f"{prefix}encoder.conv_in.weight", 4)[1],
            "out_channels": axes(shapes, f"{prefix}decoder.conv_out.weight", 4)[0],
            "latent_channels": axes(shapes, last, 4)[1],
            "block_out_channels": widths,
            "layers_per_block": layers,
            "down_block_types": ["DownEncoderBlock2D"] * len(widths),
            "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        }
    )


def _block(way: str, depth: int) -> str:
    return f"CrossAttn{way}Block2D" if depth else f"{way}Block2D"


def _depth(shapes: Shapes, prefix: str) -> int:
    return count(shapes, f"{prefix}transformer_blocks.", ".norm1.weight")


def count(shapes: Shapes, start: str, end: str) -> int:
    """How many tensors have such names, with the numbers from 0 on in between."""
    found = 0
    while f"{start}{found}{end}" in shapes:
        found += 1
    return found


def axes(shapes: Shapes, name: str, number: int) -> tuple[int, ...]:
    """The shape of a tensor, which must be there and have so many axes.

    Raises:
        ModelError: it is not.
    """
    shape = shapes.get(name)
    if shape is None:
        raise ModelError(f"1 tensor or more is missing, such as {name}")
    if len(shape) != number or 0 in shape:
        raise ModelError(f"{name} has the shape {list(shape)}, which no such model has")
    return shape
