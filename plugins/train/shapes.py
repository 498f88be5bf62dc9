"""A U-Net or an autoencoder in another shape, saying what it said before."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn


def attends_to_text(unet: Any) -> bool:
    """Whether a U-Net looks at what it is given as text."""
    blocks = (*unet.config.down_block_types, unet.config.mid_block_type)
    return any("CrossAttn" in str(kind) for kind in blocks)


def widen_input(unet: Any, channels: int) -> None:
    """Let a U-Net take more channels; the new ones have no effect until they are trained."""
    old = unet.conv_in
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding)
    with torch.no_grad():
        new.weight.zero_()
        new.weight[:, : old.in_channels] = old.weight
        new.bias.copy_(old.bias)
    unet.conv_in = new.to(old.weight.device, old.weight.dtype)
    unet.register_to_config(in_channels=channels)


def add_classes(unet: Any, count: int) -> None:
    """Give a U-Net so many class labels, which have no effect until they are trained."""
    unet.class_embedding = nn.Embedding(count, unet.time_embedding.linear_2.out_features)
    nn.init.zeros_(unet.class_embedding.weight)
    unet.register_to_config(num_class_embeds=count)


def fold_scaling(vae: Any, factor: float) -> None:
    """Scale the latents of a KL autoencoder so that its scaling factor is another.

    Pictures stay as they are. diffusers' pipeline of the x4 upscaler takes 0.08333 for granted,
    whatever the configuration says.
    """
    ratio = float(vae.config.scaling_factor) / factor
    if ratio == 1:
        return
    means = vae.config.latent_channels
    with torch.no_grad():
        vae.quant_conv.weight[:means] *= ratio
        vae.quant_conv.bias[:means] *= ratio
        vae.quant_conv.bias[means:] += 2 * math.log(ratio)
        vae.post_quant_conv.weight /= ratio
    vae.register_to_config(scaling_factor=factor)
