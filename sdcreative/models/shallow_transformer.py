"""The transformer of Stable Diffusion 3 in full, and its first blocks alone.

A transformer has no short way from its beginning to its end, so what is kept is what its later
blocks add to the patches, as in P. Chen, M. Shen, P. Ye et al., "Delta-DiT: A Training-Free
Acceleration Method Tailored for Diffusion Transformers" (2024, arXiv 2406.01125), section 3.3.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.features import Full, Shallow
from ..errors import UsageError
from .denoiser import beside


def transformer_full_and_shallow(transformer: Any, depth: int = 1) -> tuple[Full, Shallow]:
    """An SD3Transformer2DModel in two ways, in its own dtype.

    Args:
        transformer: as in ``transformer_predictor``, with the same latents and timesteps.
        depth: the first blocks that a shallow call evaluates, fewer than there are.

    Returns:
        (latents (N, C, h, w), timestep (), conditioning) -> output (N, C, h, w), bit for bit that
        of the transformer, and what the blocks after ``depth`` have added (N, P, W); and, with
        that as a last argument, the same output up to rounding.

    Raises:
        UsageError: a depth that the transformer does not have.
    """
    count = len(transformer.transformer_blocks)
    if not 1 <= depth < count:
        raise UsageError(f"cache depth is {depth}; this model has 1 to {count - 1}")
    dtype: torch.dtype = transformer.dtype

    def full(latents: Tensor, time: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        hidden, prompt, told = _begin(transformer, latents.to(dtype), time, conditioning)
        early = hidden
        for number, block in enumerate(transformer.transformer_blocks):
            early = hidden if number == depth else early
            prompt, hidden = block(hidden_states=hidden, encoder_hidden_states=prompt, temb=told)
        return _end(transformer, hidden, told, latents), hidden - early

    def shallow(
        latents: Tensor, time: Tensor, conditioning: Conditioning, features: Tensor
    ) -> Tensor:
        hidden, prompt, told = _begin(transformer, latents.to(dtype), time, conditioning)
        for block in transformer.transformer_blocks[:depth]:
            prompt, hidden = block(hidden_states=hidden, encoder_hidden_states=prompt, temb=told)
        return _end(transformer, hidden + features, told, latents)

    return full, shallow


def _begin(
    transformer: Any, latents: Tensor, time: Tensor, conditioning: Conditioning
) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (N, P, W), tokens of the prompt (N, T, W), what every block is told (N, W)."""
    if conditioning.pooled is None:
        raise UsageError("a transformer needs pooled embeddings; give them with the others")
    patches = transformer.pos_embed(latents).contiguous()
    times = beside(time, latents).expand(len(latents))
    told = transformer.time_text_embed(times, conditioning.pooled.to(latents.dtype))
    return patches, transformer.context_embedder(conditioning.embeddings.to(latents.dtype)), told


def _end(transformer: Any, hidden: Tensor, told: Tensor, latents: Tensor) -> Tensor:
    """Patches (N, P, W) to (N, C, h, w)."""
    patches: Tensor = transformer.proj_out(transformer.norm_out(hidden, told))
    side, channels = transformer.config.patch_size, transformer.out_channels
    rows, columns = latents.shape[-2] // side, latents.shape[-1] // side
    grid = patches.reshape(len(patches), rows, columns, side, side, channels)
    return torch.einsum("nhwpqc->nchpwq", grid).reshape(
        len(patches), channels, rows * side, columns * side
    )
