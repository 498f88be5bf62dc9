"""A U-Net in full, and its outermost layers alone with deep features of an earlier call.

X. Ma, G. Fang, X. Wang, "DeepCache: Accelerating Diffusion Models for Free" (CVPR 2024, arXiv
2312.00858), section 3.2. A U-Net's last upward ResNet sees two things: what comes from below, and
what the first convolution has found. What comes from below is deep, and changes slowly; the rest
costs a twelfth of Stable Diffusion 1.5.

Both ways call the model's own layers, one after another, as diffusers' forward does: LoRAs,
convolutions that wrap around and compiled layers stay what they are. Both are plain functions of
tensors, which torch.compile takes whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError

Added = dict[str, Any] | None
"""what Stable Diffusion XL is told beside the prompt, as diffusers names it"""
FullUnet = Callable[[Tensor, Tensor, Tensor, Added], tuple[Tensor, Tensor]]
ShallowUnet = Callable[[Tensor, Tensor, Tensor, Added, Tensor], Tensor]

_BLOCKS = {"DownBlock2D", "CrossAttnDownBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"}


def full_and_shallow(unet: Any, depth: int = 1) -> tuple[FullUnet, ShallowUnet]:
    """A U-Net of diffusers in two ways, each to be compiled as it is.

    Args:
        unet: a UNet2DConditionModel of plain and cross-attention blocks (Stable Diffusion 1, 2
            and XL).
        depth: the upward ResNets, counted from the last, that a shallow call evaluates, each with
            its attention; and those downward layers whose results these are given.

    Returns:
        (latents (N, C, h, w), timestep (), embeddings (N, T, W), added) -> output (N, C, h, w),
        bit for bit that of the U-Net, and the features (N, ...) that enter the first of those
        ResNets; and, with these features as a last argument, the same output up to rounding.

    Raises:
        UsageError: a depth that the U-Net does not have, or blocks of another kind.
    """
    cut = _cut(unet, depth)

    def full(
        latents: Tensor, time: Tensor, embeddings: Tensor, added: Added
    ) -> tuple[Tensor, Tensor]:
        told, embeddings = _told(unet, latents, time, embeddings, added)
        odd = _odd(unet, latents)
        hidden = unet.conv_in(_centred(unet, latents))
        skips: tuple[Tensor, ...] = (hidden,)
        for block in unet.down_blocks:
            hidden, found = block(hidden_states=hidden, temb=told, **_seen(block, embeddings))
            skips += found
        if unet.mid_block is not None:
            hidden = unet.mid_block(hidden, told, **_seen(unet.mid_block, embeddings))
        for block in unet.up_blocks[: cut[0]]:
            hidden, skips = _up(block, hidden, told, embeddings, skips, odd)
        features, skips = _up(
            unet.up_blocks[cut[0]], hidden, told, embeddings, skips, odd, stop=cut[1]
        )
        return _rest(unet, cut, features, told, embeddings, skips, odd), features

    def shallow(
        latents: Tensor, time: Tensor, embeddings: Tensor, added: Added, features: Tensor
    ) -> Tensor:
        told, embeddings = _told(unet, latents, time, embeddings, added)
        hidden = unet.conv_in(_centred(unet, latents))
        skips = _outer_skips(unet, depth, hidden, told, embeddings)
        return _rest(unet, cut, features, told, embeddings, skips, _odd(unet, latents))

    return full, shallow


def _cut(unet: Any, depth: int) -> tuple[int, int]:
    """The upward block, and the ResNet in it, at which a shallow call begins."""
    kinds = {type(block).__name__ for block in (*unet.down_blocks, *unet.up_blocks)}
    if strange := sorted(kinds - _BLOCKS):
        raise UsageError(
            f"features cannot be cached in a U-Net with {', '.join(strange)}; leave cache out"
        )
    places = [(i, k) for i, block in enumerate(unet.up_blocks) for k in range(len(block.resnets))]
    if not 1 <= depth <= len(places):
        raise UsageError(f"cache depth is {depth}; this model has 1 to {len(places)}")
    return places[-depth]


def _centred(unet: Any, latents: Tensor) -> Tensor:
    return 2 * latents - 1.0 if unet.config.center_input_sample else latents


def _odd(unet: Any, latents: Tensor) -> bool:
    """Whether halves are rounded on the way down, so that the way up is told its sizes."""
    factor = 2**unet.num_upsamplers
    return any(side % factor != 0 for side in latents.shape[-2:])


def _told(
    unet: Any, latents: Tensor, time: Tensor, embeddings: Tensor, added: Added
) -> tuple[Tensor, Tensor]:
    """What every ResNet is told, (N, W), and what every attention sees, (N, T, W)."""
    told = unet.time_embedding(unet.get_time_embed(sample=latents, timestep=time), None)
    beside = unet.get_aug_embed(emb=told, encoder_hidden_states=embeddings, added_cond_kwargs=added)
    told = told if beside is None else told + beside
    if unet.time_embed_act is not None:
        told = unet.time_embed_act(told)
    seen = unet.process_encoder_hidden_states(
        encoder_hidden_states=embeddings, added_cond_kwargs=added
    )
    return told, seen


def _seen(block: Any, embeddings: Tensor) -> dict[str, Any]:
    return {"encoder_hidden_states": embeddings} if _attends(block) else {}


def _attends(block: Any) -> bool:
    return bool(getattr(block, "has_cross_attention", False))


def _layer(block: Any, number: int, hidden: Tensor, told: Tensor, embeddings: Tensor) -> Tensor:
    """One ResNet of a block, and its attention."""
    hidden = block.resnets[number](hidden, told)
    if _attends(block):
        hidden = block.attentions[number](
            hidden, encoder_hidden_states=embeddings, return_dict=False
        )[0]
    return hidden


def _outer_skips(
    unet: Any, count: int, hidden: Tensor, told: Tensor, embeddings: Tensor
) -> tuple[Tensor, ...]:
    """The first so many results of the way down, of which ``hidden`` is the first."""
    skips: tuple[Tensor, ...] = (hidden,)
    for block in unet.down_blocks:
        for number in range(len(block.resnets)):
            if len(skips) == count:
                return skips
            hidden = _layer(block, number, hidden, told, embeddings)
            skips += (hidden,)
        for downsampler in block.downsamplers or ():
            if len(skips) == count:
                return skips
            hidden = downsampler(hidden)
            skips += (hidden,)
    return skips


def _up(
    block: Any,
    hidden: Tensor,
    told: Tensor,
    embeddings: Tensor,
    skips: tuple[Tensor, ...],
    odd: bool,
    start: int = 0,
    stop: int | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The ResNets of an upward block from one up to another; with None to its end.

    Returns:
        What it gives, and the results of the way down that are left.
    """
    for number in range(start, len(block.resnets) if stop is None else stop):
        hidden = _layer(block, number, torch.cat([hidden, skips[-1]], 1), told, embeddings)
        skips = skips[:-1]
    if stop is None and block.upsamplers is not None:
        size = skips[-1].shape[2:] if odd and skips else None
        for upsampler in block.upsamplers:
            hidden = upsampler(hidden, size)
    return hidden, skips


def _rest(
    unet: Any,
    cut: tuple[int, int],
    hidden: Tensor,
    told: Tensor,
    embeddings: Tensor,
    skips: tuple[Tensor, ...],
    odd: bool,
) -> Tensor:
    """From the features at a cut to the output."""
    first, start = cut
    for number, block in enumerate(unet.up_blocks[first:]):
        begin = 0 if number else start
        hidden, skips = _up(block, hidden, told, embeddings, skips, odd, start=begin)
    if unet.conv_norm_out:
        hidden = unet.conv_act(unet.conv_norm_out(hidden))
    output: Tensor = unet.conv_out(hidden)
    return output
