"""How the timesteps of a sampler lie among those that a model was trained on."""

from __future__ import annotations

from typing import Literal

Spacing = Literal["auto", "leading", "trailing", "linspace"]
"""auto is what the model's makers say; of 1,000 timesteps and four steps, leading takes 750, 500,
250, 0 and the model's offset, trailing 999, 749, 499, 249, linspace 999, 666, 333, 0 (Lin et al.
2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2)"""
