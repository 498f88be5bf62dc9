"""Parts for training: new and untrained, or read from a folder, in float32."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError


def build_autoencoder(channels: Sequence[int], layers: int, latent_channels: int, size: int) -> Any:
    """A KL autoencoder; downsampling is 2 ** (len(channels) - 1)."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=layers,
        latent_channels=latent_channels,
        norm_num_groups=8,
        sample_size=size,
    )


def build_unet(
    channels: Sequence[int],
    layers: int,
    latent_channels: int,
    latent_size: int,
    text_width: int,
) -> Any:
    """A conditional U-Net; the first level has no attention, all others attend to the text."""
    from diffusers import UNet2DConditionModel

    deeper = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=latent_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D", *("CrossAttnDownBlock2D",) * deeper),
        up_block_types=(*("CrossAttnUpBlock2D",) * deeper, "UpBlock2D"),
        layers_per_block=layers,
        cross_attention_dim=text_width,
        attention_head_dim=4,
        norm_num_groups=32,
    )


def build_clip(
    *, width: int, layers: int, heads: int, vocabulary: int, context: int, size: int, patch: int
) -> Any:
    """A CLIP pair: the text encoder of a diffusion model and a vision transformer beside it."""
    from transformers import CLIPConfig, CLIPModel

    shape = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": width,
    }
    return CLIPModel(
        CLIPConfig(
            text_config={
                **shape,
                "vocab_size": vocabulary,
                "max_position_embeddings": context,
                "bos_token_id": vocabulary - 2,
                "eos_token_id": vocabulary - 1,
                "pad_token_id": vocabulary - 1,
            },
            vision_config={**shape, "image_size": size, "patch_size": patch},
            projection_dim=width,
        )
    )


def read_part(folder: Path) -> Any:
    """An AutoencoderKL, UNet2DConditionModel or CLIPTextModel, in float32.

    Raises:
        ModelError: no such folder, or another kind of part.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    config = folder / "config.json"
    if not config.is_file():
        raise ModelError(f"{folder}: no config.json; not a part of a diffusers model")
    table = json.loads(config.read_text("utf-8"))
    name = table.get("_class_name") or table.get("architectures", [None])[0]
    kinds = {kind.__name__: kind for kind in (AutoencoderKL, UNet2DConditionModel, CLIPTextModel)}
    if name not in kinds:
        raise ModelError(f"{folder}: holds a {name}; expected one of {', '.join(kinds)}")
    part: Any = kinds[name]
    key = "dtype" if name == "CLIPTextModel" else "torch_dtype"
    return part.from_pretrained(folder, local_files_only=True, **{key: torch.float32})
