"""The U-Net or transformer as the denoise loop calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.sampling import Predict
from .parts import Parts
from .transformer import transformer_predictor


def predictor(parts: Parts) -> Predict:
    """A function of latents, timestep and conditioning; runs in the denoiser's own dtype."""
    if parts.transformer is not None:
        return transformer_predictor(parts.transformer)
    unet = parts.unet
    dtype: torch.dtype = unet.dtype
    told_sizes = unet.config.addition_embed_type == "text_time"

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        added: dict[str, Any] | None = None
        if told_sizes and conditioning.pooled is not None and conditioning.sizes is not None:
            # A rank of (6,) each is embedded by sines, and joined with the pooled prompt
            # (Podell et al. 2023, section 2.2).
            added = {
                "text_embeds": conditioning.pooled.to(dtype),
                "time_ids": conditioning.sizes.to(dtype),
            }
        output: Tensor = unet(
            latents.to(dtype),
            time,
            encoder_hidden_states=conditioning.embeddings.to(dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output

    return predict
