"""The names of a part's tensors in a single file, under the prefixes that reading goes by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..single_files.layouts import V1, V2, V3, XL, Layout
from .names_sd3 import sd3_names
from .names_text import clip_names, open_clip_names, same_names, with_unused_layer
from .names_unet import unet_names
from .names_vae import vae_names
from .pieces import NoNameError, Piece

Names = Callable[[str], tuple[Piece, ...]]
_STYLES: Mapping[str, Names] = {
    "clip": clip_names,
    "open_clip": open_clip_names,
    "t5": same_names,
}


def layout_of(family: str, modules: Mapping[str, Any]) -> Layout:
    """How single files of a model are laid out.

    Args:
        family: sd, sdxl or sd3.
        modules: the parts as built; version 2 of Stable Diffusion has open_clip's text encoder,
            whose activation is the plain GELU, where CLIP has a quick one.
    """
    if family == "sd":
        return V2 if modules["text_encoder"].config.hidden_act == "gelu" else V1
    return XL if family == "sdxl" else V3


def names_of(layout: Layout, part: str, module: Any, path: Path) -> Names:
    """What finds the names of a part's tensors in a single file.

    Args:
        layout: of the file.
        part: unet, transformer, vae, text_encoder, ...
        module: the part as built.
        path: of the model, for the message.

    Raises:
        ModelError: by what is returned, for a tensor that the layout has no name for.
    """
    prefix, names = layout.prefix(part), _names(layout, part, module)

    def named(name: str) -> tuple[Piece, ...]:
        try:
            return tuple(piece.within(prefix) for piece in names(name))
        except NoNameError:
            raise ModelError(
                f"{part} in {path} ({type(module).__name__}) has a tensor {name}, which single "
                "files have no name for; keep it as a folder"
            ) from None

    return named


def _names(layout: Layout, part: str, module: Any) -> Names:
    if part == "unet":
        return unet_names(module.config)
    if part == "transformer":
        return sd3_names(module.config)
    if part == "vae":
        return vae_names(module.config)
    text = layout.texts[part]
    names = _STYLES[text.style]
    if not text.penultimate:
        return names
    layers = module.config.num_hidden_layers
    return lambda name: with_unused_layer(names(name), layers)
