"""Which family of models a LoRA, a vector or a loaded model seems to be of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..loading import Parts
from .lora_keys import Roles

SD1 = "Stable Diffusion 1"
SD2 = "Stable Diffusion 2"
SDXL = "Stable Diffusion XL"
SD3 = "Stable Diffusion 3"
FLUX = "Flux"

_BY_TEXT_WIDTH = {768: SD1, 1024: SD2, 2048: SDXL}
"""what cross-attention reads -> whose U-Net that is"""
_BY_VECTOR_WIDTH = {768: SD1, 1024: SD2, 1280: SDXL}
"""of a text encoder; SDXL's first one is that of Stable Diffusion 1"""
_IN_NAMES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (FLUX, ("single_transformer_blocks", "double_blocks", "single_blocks")),
    (SD3, ("joint_blocks", "add_q_proj")),
    (SDXL, ("lora_te2_", "text_encoder_2.", "text_encoders.clip_g.")),
)
_IN_METADATA: tuple[tuple[str, tuple[str, ...]], ...] = (
    (SDXL, ("sdxl", "stable-diffusion-xl")),
    (SD3, ("sd3", "stable-diffusion-3")),
    (FLUX, ("flux",)),
    (SD1, ("sd_v1", "sd_1", "stable-diffusion-v1")),
    (SD2, ("sd_v2", "sd_2", "stable-diffusion-v2")),
)


def family_of_layers(layers: Mapping[str, Roles], metadata: Mapping[str, str]) -> str | None:
    """A LoRA's family: by the names of its layers, then their widths, then what its maker says.

    Args:
        layers: name of a layer in the file -> its tensors, as ``split_key`` calls them.
        metadata: of the file.
    """
    for family, signs in _IN_NAMES:
        if any(sign in name for name in layers for sign in signs):
            return family
    crossing = _widths(layers, ("attn2.to_k", "attn2_to_k"))
    for width in crossing:
        if width in _BY_TEXT_WIDTH:
            return _BY_TEXT_WIDTH[width]
    said = " ".join(
        metadata.get(key, "") for key in ("modelspec.architecture", "ss_base_model_version")
    ).lower()
    for family, signs in _IN_METADATA:
        if any(sign in said for sign in signs):
            return family
    if not crossing:
        for width in _widths(layers, ("self_attn.q_proj", "self_attn_q_proj")):
            return _BY_VECTOR_WIDTH.get(width)
    return None


def family_of_vectors(widths: Iterable[int]) -> str | None:
    """The family that vectors of these widths are made for, one width per text encoder."""
    known = [_BY_VECTOR_WIDTH.get(width) for width in widths]
    return SDXL if SDXL in known else known[0] if known else None


def family_of_parts(parts: Parts) -> str | None:
    """The family of a loaded model; None for one that is none of the known ones."""
    width = getattr(getattr(parts.unet, "config", None), "cross_attention_dim", None)
    return _BY_TEXT_WIDTH.get(width) if isinstance(width, int) else None


def _widths(layers: Mapping[str, Roles], ends: tuple[str, ...]) -> list[int]:
    """What the layers whose names end so take in, as far as it shows."""
    named = [roles for name, roles in layers.items() if name.endswith(ends)]
    lowered = [roles.get("down", roles.get("hada_w1_b", roles.get("diff"))) for roles in named]
    return [int(one.shape[1]) for one in lowered if one is not None and one.dim() > 1]
