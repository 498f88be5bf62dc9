"""Whether the parts of a model fit each other, by their configurations. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .flow import is_flow
from .strangers import shown

PREDICTIONS = ("epsilon", "v_prediction", "sample", "flow")
"""what a denoiser can say"""
COLOURS = 3
_LARGEST = 1e6


def prediction_of(scheduler: Mapping[str, Any]) -> Any:
    """What a denoiser says, by its scheduler's configuration."""
    if is_flow(scheduler):
        return "flow"
    return scheduler.get("prediction_type", "epsilon")


def check_fit(path: Path, configs: Mapping[str, Any]) -> None:
    """Refuse parts of different models.

    Args:
        path: of the model, for the messages.
        configs: of its parts with weights, as built.

    Raises:
        ModelError: widths or channels differ.
    """
    name = "unet" if "unet" in configs else "transformer"
    denoiser, vae = configs[name], configs["vae"]
    latents = vae.latent_channels
    _check_vae(path, vae)
    if name == "unet" and (denoiser.class_embed_type or denoiser.num_class_embeds):
        raise ModelError(
            f"{path}: its unet asks for a class beside the prompt, which no tool gives; an "
            "upscaler is for the processor diffusion_upscale"
        )
    inpainting = name == "unet" and denoiser.in_channels == 2 * latents + 1
    if denoiser.out_channels != latents or not (denoiser.in_channels == latents or inpainting):
        raise ModelError(
            f"{name} and vae in {path} do not fit: the {name} takes {denoiser.in_channels} and "
            f"gives {denoiser.out_channels} channels, the vae has {latents}"
        )
    if name == "transformer":
        _check_triple(path, denoiser, configs)
        return
    if denoiser.downsample_padding not in (0, 1):
        raise ModelError(
            f"unet in {path} has downsample_padding {denoiser.downsample_padding}; its levels "
            "would not fit each other"
        )
    if denoiser.encoder_hid_dim_type not in (None, "text_proj"):
        raise ModelError(
            f"{path}: its unet asks for {shown(denoiser.encoder_hid_dim_type)} beside the prompt, "
            "which no tool gives"
        )
    width = configs["text_encoder"].hidden_size
    encoders = "text_encoder"
    if second := configs.get("text_encoder_2"):
        width += second.hidden_size
        encoders = "text encoders"
        _check_added(path, denoiser, second)
    elif denoiser.addition_embed_type not in (None, "text"):
        raise ModelError(
            f"{path}: its unet has addition_embed_type "
            f"{shown(repr(denoiser.addition_embed_type))}; Stable Diffusion 1 and 2 have none"
        )
    if denoiser.cross_attention_dim != width:
        raise ModelError(
            f"unet and {encoders} in {path} do not fit: the unet reads vectors of "
            f"{denoiser.cross_attention_dim}, the {encoders.replace('_', ' ')} "
            f"{'give' if second else 'gives'} {width}"
        )


def _check_vae(path: Path, vae: Any) -> None:
    """Latents have a scale, and pictures three colours."""
    scale, shift = vae.scaling_factor, getattr(vae, "shift_factor", None)
    numbers = [scale, *([] if shift is None else [shift])]
    if not all(type(one) in (int, float) and abs(one) < _LARGEST for one in numbers) or not scale:
        raise ModelError(
            f"vae in {path} has scaling_factor {shown(scale)} and shift_factor {shown(shift)}; "
            "latents cannot be scaled by that"
        )
    if (vae.in_channels, vae.out_channels) != (COLOURS, COLOURS):
        raise ModelError(
            f"vae in {path} takes pictures of {shown(vae.in_channels)} channels and gives "
            f"{shown(vae.out_channels)}; pictures have {COLOURS}"
        )


def _check_added(path: Path, unet: Any, second: Any) -> None:
    """Stable Diffusion XL: a pooled prompt and six numbers of sizes beside the prompt."""
    if unet.addition_embed_type != "text_time":
        raise ModelError(
            f"{path}: its unet has addition_embed_type "
            f"{shown(repr(unet.addition_embed_type))}; Stable Diffusion XL has 'text_time'"
        )
    told, each = unet.projection_class_embeddings_input_dim, unet.addition_time_embed_dim
    if type(told) is not int or type(each) is not int or each < 1:
        raise ModelError(
            f"{path}: its unet has addition_time_embed_dim {shown(each)}, expected a whole number"
        )
    numbers, rest = divmod(told - second.projection_dim, each)
    if (numbers, rest) != (SIZE_NUMBERS, 0):
        asks = "an aesthetic score, as SDXL's refiner does" if numbers == 5 else "other numbers"
        raise ModelError(
            f"{path}: its unet asks for {asks} beside the prompt, not for the six sizes of Stable "
            "Diffusion XL"
        )


SIZE_NUMBERS = 6
"""original height and width, top and left of the crop, target height and width"""


def _check_triple(path: Path, transformer: Any, configs: Mapping[str, Any]) -> None:
    first, second = configs["text_encoder"], configs["text_encoder_2"]
    pooled = first.projection_dim + second.projection_dim
    if transformer.pooled_projection_dim != pooled:
        raise ModelError(
            f"transformer and text encoders in {path} do not fit: the transformer reads a pooled "
            f"prompt of {transformer.pooled_projection_dim}, the text encoders give {pooled}"
        )
    width = transformer.joint_attention_dim
    if first.hidden_size + second.hidden_size > width:
        raise ModelError(
            f"transformer and text encoders in {path} do not fit: the transformer reads vectors "
            f"of {width}, the text encoders give {first.hidden_size + second.hidden_size}"
        )
    third = configs.get("text_encoder_3")
    if third is not None and third.d_model != width:
        raise ModelError(
            f"transformer and text_encoder_3 in {path} do not fit: the transformer reads vectors "
            f"of {width}, text_encoder_3 gives {third.d_model}"
        )
