"""The denoise loop: rows of a batch, each with its own conditioning, guidance and noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .conditioning import Conditioning, stack
from .features import Remembering
from .guidance import predict_guided
from .guidance_style import PLAIN, GuidanceStyle, share_of
from .prompt_programme import Layer

Predict = Callable[[Tensor, Tensor, Conditioning], Tensor]
"""(model input (M, C, h, w), timestep (), conditioning of M rows) -> output (M, C, h, w)"""


@dataclass(frozen=True)
class Guidance:
    """What N rows are drawn towards and away from.

    Attributes:
        conditional: N rows; with layers those of the layers, one after another.
        unconditional: N rows, or None to use no guidance (all scales are 1).
        scale: (N,) guidance scales.
        layers: whose the conditional rows are, where a picture has several.
        later: (first step, what is used from there on) in order.
        sizes: (N, 6) for models that are told sizes, as in ``Conditioning``.
        beside: (N, K, h, w) for models that see more than the latents: to inpaint, a mask and the
            latents of the masked picture.
        told: (N,) guidance scales for models that are told them instead of being asked twice; the
            scales themselves are then 1.
    """

    conditional: Conditioning
    unconditional: Conditioning | None
    scale: Tensor
    layers: Sequence[Layer] = ()
    later: Sequence[tuple[int, Guidance]] = ()
    sizes: Tensor | None = None
    beside: Tensor | None = None
    told: Tensor | None = None

    @cached_property
    def both(self) -> Conditioning:
        """The unconditional rows, then the conditional ones; one tensor in all steps."""
        away = [] if self.unconditional is None else [self.unconditional]
        return stack([*away, self.conditional])

    def at(self, step: int) -> Guidance:
        """What is used in a step, counted from 0."""
        return next((each for first, each in reversed(self.later) if first <= step), self)


@dataclass(frozen=True)
class Inpainting:
    """Keeps a part of the picture: after every step it is put back at the next noise level.

    Attributes:
        latents: (N, C, h, w), the clean picture.
        noise: (N, C, h, w), what it is noised with.
        mask: (N, 1, h, w); 1 is painted anew, 0 is kept.
    """

    latents: Tensor
    noise: Tensor
    mask: Tensor


def first_call(sampler: Any, step: int) -> int:
    """Where in ``sampler.timesteps`` a step begins; some samplers make two calls a step."""
    return min(step * int(sampler.order), len(sampler.timesteps))


def whole_steps(sampler: Any) -> int:
    """How many steps a sampler takes; the last of those of two calls has but one."""
    return -(-len(sampler.timesteps) // int(sampler.order))


def initial_latents(sampler: Any, noise: Tensor, clean: Tensor | None, step: int) -> Tensor:
    """Latents (N, C, h, w) that enter ``step``: pure noise, or a noised picture (SDEdit).

    SDEdit (Meng et al. 2022, alg. 1) starts in the middle: x = alpha_t * clean + sigma_t * noise.
    """
    index = first_call(sampler, step)
    if hasattr(sampler, "set_begin_index"):
        sampler.set_begin_index(index)
    if clean is None or step == 0:
        return noise * float(sampler.init_noise_sigma)
    times = sampler.timesteps[index : index + 1].repeat(len(clean))
    noised: Tensor = sampler.add_noise(clean, noise, times)
    return noised


def denoise(
    predict: Predict,
    sampler: Any,
    latents: Tensor,
    guidance: Guidance,
    *,
    start: int,
    stop: int,
    generators: Sequence[torch.Generator],
    inpainting: Inpainting | None = None,
    style: GuidanceStyle = PLAIN,
    on_call: Callable[[int], None] = lambda rows: None,
    remembering: Remembering | None = None,
) -> Tensor:
    """Take the steps from ``start`` up to ``stop``.

    Args:
        predict: the U-Net.
        sampler: a diffusers scheduler whose timesteps are set; it holds the state of all rows, so
            going on from a trunk takes the trunk's sampler.
        latents: (N, C, h, w), float32.
        guidance: conditioning and scales of the N rows.
        start: first step, counted from 0.
        stop: the step before which to end; the number of steps for a finished picture.
        generators: one per row, on the CPU, for samplers that add noise.
        inpainting: the part to keep.
        style: how guidance acts over the steps.
        on_call: told the number of rows after every call of the U-Net; may raise to stop.
        remembering: takes the place of ``predict`` where deep features are reused; it then has
            those that the N rows go on with.

    Returns:
        Latents (N, C, h, w), float32.
    """
    timesteps = sampler.timesteps
    order, steps = int(sampler.order), whole_steps(sampler)
    last = first_call(sampler, stop)
    random = "generator" in inspect.signature(sampler.step).parameters
    extra = {"generator": list(generators)} if random else {}
    for i in range(first_call(sampler, start), last):
        time = timesteps[i]
        step = i // order
        seen = sampler.scale_model_input(latents, time)
        now = guidance.at(step)
        asked = predict if remembering is None else remembering.at(i, now)
        share = share_of(step, steps)
        output = predict_guided(asked, seen, time, now, style, share, sampler)
        latents = sampler.step(output, time, latents, return_dict=False, **extra)[0]
        if inpainting is not None:
            kept = inpainting.latents
            if i + 1 < len(timesteps):
                times = timesteps[i + 1 : i + 2].repeat(len(kept))
                kept = sampler.add_noise(kept, inpainting.noise, times)
            latents = torch.lerp(kept, latents, inpainting.mask)
        on_call(len(latents))
    return latents
