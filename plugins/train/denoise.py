"""Sampling while training, and of models that only this plugin runs: DDIM, in a few lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdcreative.models.building import build_scheduler

Told = Mapping[str, Tensor]
"""what a U-Net is told of each picture: encoder_hidden_states and, of some, class_labels"""


@torch.no_grad()
def denoise(
    unet: Any,
    scheduler: Mapping[str, Any],
    noise: Tensor,
    steps: int,
    told: Told,
    *,
    free: Told | None = None,
    guidance: float = 1.0,
    seen: Tensor | None = None,
) -> Tensor:
    """Latents (N, C, h, w) from noise (Song et al. 2021, eq. 12, without new noise).

    Args:
        unet: of the plugin.
        scheduler: its configuration.
        noise: (N, C, h, w), standard normal.
        steps: of sampling.
        told: of each picture.
        free: the same without a condition, for guidance (Ho and Salimans 2022, alg. 2).
        guidance: scale of it; has no effect without ``free``.
        seen: (N, K, h, w), concatenated with the latents.
    """
    solver = build_scheduler(scheduler)
    solver.set_timesteps(steps)
    both = None if free is None else {key: torch.cat([told[key], free[key]]) for key in told}
    latents = noise
    for t in solver.timesteps:
        given = latents if seen is None else torch.cat([latents, seen], dim=1)
        if both is None:
            said = unet(given, t, **told).sample
        else:
            guided, unguided = unet(given.repeat(2, 1, 1, 1), t, **both).sample.chunk(2)
            said = unguided + guidance * (guided - unguided)
        latents = solver.step(said, t, latents).prev_sample
    return latents
