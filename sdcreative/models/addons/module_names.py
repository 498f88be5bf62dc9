"""The modules of a loaded model, under every name that files of LoRAs give them.

Names are made from the model's own by walking it, so none is taken apart: an underscore in a file
that stands for a dot, and one that does not, are both known beforehand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from ..loading import Parts

ROOTS = ("unet", "text_encoder", "text_encoder_2")
"""parts whose modules can be changed; those that a model lacks are left out"""

_TEXT_PREFIXES = {
    "text_encoder": (
        ("text_encoder.", "text_encoders.clip_l.transformer."),
        ("lora_te_", "lora_te1_", "lycoris_te_", "lycoris_te1_"),
    ),
    "text_encoder_2": (
        ("text_encoder_2.", "text_encoders.clip_g.transformer."),
        ("lora_te2_", "lycoris_te2_"),
    ),
}
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE_BLOCKS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")


def modules_by_name(parts: Parts) -> dict[str, tuple[str, str]]:
    """Name in a file -> (part, name of its module); only modules with a weight."""
    found: dict[str, tuple[str, str]] = {}
    twice: set[str] = set()
    for root in ROOTS:
        module = getattr(parts, root, None)
        if module is None:
            continue
        for name, one in module.named_modules():
            if not isinstance(getattr(one, "weight", None), nn.Parameter):
                continue
            for alias in _unet_names(name, module) if root == "unet" else _text_names(root, name):
                if found.setdefault(alias, (root, name)) != (root, name):
                    twice.add(alias)
    return {alias: place for alias, place in found.items() if alias not in twice}


def find_module(parts: Parts, place: tuple[str, str]) -> Any:
    """The module at (part, name).

    Raises:
        AttributeError: the model has none there.
    """
    root, name = place
    return getattr(parts, root).get_submodule(name)


def _unet_names(name: str, unet: Any) -> Iterator[str]:
    yield name
    yield f"unet.{name}"
    underscored = [name]
    if original := original_name(name, unet):
        yield f"diffusion_model.{original}"
        yield f"model.diffusion_model.{original}"
        underscored.append(original)
    for one in underscored:
        yield f"lora_unet_{one.replace('.', '_')}"
        yield f"lycoris_unet_{one.replace('.', '_')}"


def _text_names(root: str, name: str) -> Iterator[str]:
    dotted, underscored = _TEXT_PREFIXES[root]
    # transformers had a text_model between the encoder and its layers, and partly still has.
    bare = name.removeprefix("text_model.")
    for one in (bare, f"text_model.{bare}"):
        yield from (prefix + one for prefix in dotted)
        yield from (prefix + one.replace(".", "_") for prefix in underscored)


def original_name(name: str, unet: Any) -> str | None:
    """The name that a module of a U-Net has in checkpoints of the original form (CompVis')."""
    layers = unet.config.layers_per_block
    if not isinstance(layers, int):
        return None
    if name in _OUTSIDE_BLOCKS:
        return _OUTSIDE_BLOCKS[name]
    if match := _MIDDLE.fullmatch(name):
        number = 1 if match[1] == "attentions" else 2 * int(match[2])
        return f"middle_block.{number}.{_inside(match[1], match[3])}"
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    side, kind, rest = match[1], match[3], match[5]
    level, layer = int(match[2]), int(match[4])
    first = level * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op"
    if kind == "upsamplers":
        attends = bool(getattr(unet.up_blocks[level], "attentions", None))
        return f"output_blocks.{first + layers}.{2 if attends else 1}.{rest}"
    number, blocks = (first + layer + 1, "input") if side == "down" else (first + layer, "output")
    return f"{blocks}_blocks.{number}.{int(kind == 'attentions')}.{_inside(kind, rest)}"


def _inside(kind: str, rest: str) -> str:
    return _RESNET.get(rest, rest) if kind == "resnets" else rest
