"""The U-Net as the denoise loop calls it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.sampling import Predict


def predictor(unet: Any) -> Predict:
    """A function of latents, timestep and conditioning; runs in the U-Net's dtype."""
    dtype: torch.dtype = unet.dtype

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        output: Tensor = unet(
            latents.to(dtype),
            time,
            encoder_hidden_states=conditioning.embeddings.to(dtype),
            return_dict=False,
        )[0]
        return output

    return predict
