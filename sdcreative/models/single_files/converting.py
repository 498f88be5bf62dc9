"""Weights of a single file to the names of diffusers and transformers, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ModelError
from .recognising import CLIP, EMA, OPEN_CLIP, UNET, VAE
from .shapes import clip_prefix, used_layers

if TYPE_CHECKING:
    from torch import Tensor

Tensors = Mapping[str, "Tensor"]


def unet_state(tensors: Tensors, config: Mapping[str, Any], *, ema: bool, path: Path) -> Any:
    """The U-Net's weights by diffusers' names, not copied.

    Args:
        tensors: of the whole file.
        config: of the U-Net.
        ema: the averaged weights instead of the last ones.
        path: for the message.

    Raises:
        ModelError: the averaged weights are not all there.
    """
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    own = {name: one for name, one in tensors.items() if name.startswith(UNET)}
    if ema:
        own = {name: _averaged(tensors, name, path) for name in own}
    return convert_ldm_unet_checkpoint(own, config)


def _averaged(tensors: Tensors, name: str, path: Path) -> Tensor:
    # As LitEma names its copies: without "model." and without dots.
    found = tensors.get(EMA + name.removeprefix("model.").replace(".", ""))
    if found is None:
        raise ModelError(f"ema: {path} has no averaged weight of {name}; leave ema out")
    return found


def vae_state(tensors: Tensors, config: Mapping[str, Any]) -> Any:
    """The autoencoder's weights by diffusers' names, not copied."""
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    own = {name: one for name, one in tensors.items() if name.startswith(VAE)}
    return convert_ldm_vae_checkpoint(own, config)


def text_state(tensors: Tensors, encoder: Any) -> dict[str, Tensor]:
    """The text encoder's weights by transformers' names, all beginning with ``text_model.``.

    Args:
        tensors: of the whole file.
        encoder: the module that they are for; it may be without weights.
    """
    from diffusers.loaders.single_file_utils import (
        convert_ldm_clip_checkpoint,
        convert_open_clip_checkpoint,
    )

    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    if any(name.startswith(OPEN_CLIP) for name in shapes):
        unused = f"{OPEN_CLIP}transformer.resblocks.{used_layers(shapes)}."
        own = {
            name: one
            for name, one in tensors.items()
            if name.startswith(OPEN_CLIP) and not name.startswith(unused)
        }
        state = convert_open_clip_checkpoint(encoder, own, prefix=OPEN_CLIP)
    else:
        prefix = clip_prefix(shapes)
        own = {
            f"{CLIP}text_model.{name.removeprefix(prefix)}": one
            for name, one in tensors.items()
            if name.startswith(prefix)
        }
        state = convert_ldm_clip_checkpoint(own)
    return {name: one for name, one in state.items() if name.startswith("text_model.")}
