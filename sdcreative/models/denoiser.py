"""The U-Net or transformer as the denoise loop calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.sampling import Predict
from .parts import Parts
from .prompt_keys import PromptKeys
from .told_scale import told_scale
from .transformer import transformer_predictor


def predictor(parts: Parts) -> Predict:
    """A function of latents, timestep and conditioning; runs in the denoiser's own dtype.

    It is compiled where the parts are, and gives the same up to rounding. It remembers what it made
    of prompts, so weights are not to change while it is used.
    """
    if parts.compiled is None:
        return _predictor(parts, remembering=not parts.low_memory)
    fast = _predictor(parts.compiled.parts, remembering=False)
    return parts.compiled.predictor(_predictor(parts, remembering=True), fast)


def _predictor(parts: Parts, remembering: bool) -> Predict:
    if parts.transformer is not None:
        told = transformer_predictor(parts.transformer)
        return lambda latents, time, conditioning: told(
            latents, beside(time, latents), conditioning
        )
    unet = parts.unet
    keys = PromptKeys(unet) if remembering else None
    dtype: torch.dtype = unet.dtype

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        words = conditioning.embeddings
        output: Tensor = (keys.unet() if keys else unet)(
            latents.to(dtype),
            beside(time, latents),
            encoder_hidden_states=keys.cast(words, dtype) if keys else words.to(dtype),
            timestep_cond=told_scale(unet, conditioning),
            added_cond_kwargs=added_conditions(unet, conditioning),
            return_dict=False,
        )[0]
        return output

    return predict


def beside(time: Tensor, latents: Tensor) -> Tensor:
    """A timestep (), on the device of latents (1,), without waiting for that device.

    Copying a number there would wait until all that the device has still to do is done.
    """
    if time.device == latents.device:
        return time
    return torch.full((1,), time.item(), dtype=time.dtype, device=latents.device)


def added_conditions(unet: Any, conditioning: Conditioning) -> dict[str, Any] | None:
    """What Stable Diffusion XL's U-Net is told beside the prompt; None for others."""
    told = unet.config.addition_embed_type == "text_time"
    if not told or conditioning.pooled is None or conditioning.sizes is None:
        return None
    # A rank of (6,) each is embedded by sines, and joined with the pooled prompt
    # (Podell et al. 2023, section 2.2).
    return {
        "text_embeds": conditioning.pooled.to(unet.dtype),
        "time_ids": conditioning.sizes.to(unet.dtype),
    }
