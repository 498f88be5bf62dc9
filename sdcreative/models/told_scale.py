"""The guidance scale as models are told it that were distilled to guide themselves."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning


def told_scale(unet: Any, conditioning: Conditioning) -> Tensor | None:
    """Guidance scales as latent consistency models are told them, (N, W); None for other models.

    C. Meng, R. Rombach, R. Gao et al., "On Distillation of Guided Diffusion Models" (CVPR 2023);
    S. Luo, Y. Tan, L. Huang, J. Li, H. Zhao, "Latent Consistency Models" (2023), section 4.2: of
    w = scale - 1, sin(1000 w f) and cos(1000 w f) at W / 2 frequencies f from 1 down to 1 / 10000,
    evenly apart in their logarithms.
    """
    width = unet.config.get("time_cond_proj_dim")
    if width is None or conditioning.scale is None:
        return None
    half = width // 2
    scale = conditioning.scale.float()
    numbers = torch.arange(half, device=scale.device)
    frequencies = torch.exp(numbers * (-math.log(10000.0) / max(1, half - 1)))
    angles = (1000 * (scale - 1))[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    return torch.nn.functional.pad(waves, (0, width - 2 * half)).to(unet.dtype)
