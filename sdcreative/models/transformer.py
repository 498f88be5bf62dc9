"""The transformer of Stable Diffusion 3 as the denoise loop calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.sampling import Predict
from ..errors import UsageError


def transformer_predictor(transformer: Any) -> Predict:
    """A function of latents, timestep and conditioning; runs in the transformer's dtype.

    Latents are (N, C, h, w), h and w multiples of the side of a patch and within ``longest_side``;
    timesteps go from 0 to 1000, fractions included; it says noise - clean.
    """
    dtype: torch.dtype = transformer.dtype

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        if conditioning.pooled is None:
            raise UsageError("a transformer needs pooled embeddings; give them with the others")
        output: Tensor = transformer(
            hidden_states=latents.to(dtype),
            timestep=time.to(latents.device).expand(len(latents)),
            encoder_hidden_states=conditioning.embeddings.to(dtype),
            pooled_projections=conditioning.pooled.to(dtype),
            return_dict=False,
        )[0]
        return output

    return predict


def longest_side(transformer: Any) -> int:
    """Latents that a picture may have along a side: there are no more positions than these."""
    return int(transformer.config.pos_embed_max_size) * int(transformer.config.patch_size)


def image_tokens(denoiser: Any, height: int, width: int) -> int | None:
    """Patches of a picture, which some noise schedules depend on; None for a U-Net, without any.

    Args:
        denoiser: a U-Net or transformer.
        height, width: of its latents.
    """
    patch = getattr(denoiser.config, "patch_size", None)
    return None if patch is None else (height // patch) * (width // patch)


def check_wrapping(denoiser: Any, axes: str) -> None:
    """Refuse seamless pictures of a transformer.

    It knows its patches by their places, and has no convolution that could reach around an edge.

    Raises:
        UsageError: axes are given, and the denoiser has places.
    """
    if axes and getattr(denoiser.config, "pos_embed_max_size", None) is not None:
        raise UsageError(
            f"seamless {axes!r} does not work with Stable Diffusion 3, whose transformer sees the "
            "edges of a picture; leave it out, or choose a model with a U-Net"
        )
