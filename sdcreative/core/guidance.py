"""Classifier-free guidance and its variants: rescaled, limited, scheduled, projected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import UsageError
from .conditioning import guide
from .guidance_style import PLAIN, GuidanceStyle, active, growth
from .prompt_programme import Layer, compose

if TYPE_CHECKING:
    from .sampling import Guidance, Predict


@dataclass(frozen=True, eq=False)
class Reading:
    """How a prediction is read as a picture: picture = a * noisy + b * prediction.

    Attributes:
        noisy: what the denoiser was given, (N, C, H, W).
        a, b: by the noise level and by what the denoiser predicts.
    """

    noisy: Tensor
    a: float
    b: float


def scale_at(style: GuidanceStyle, scale: Tensor, share: float) -> Tensor:
    """Guidance scales at a share of the way through sampling.

    What is scheduled is the weight w = scale - 1 with which guidance goes beyond the conditional
    prediction, so that a scale of 1, no guidance, stays 1:

        max(min(clamp, scale), 1 + growth(share) * (scale - 1))

    Args:
        style: with the schedule, its clamp and the interval, outside of which all scales are 1.
        scale: (N,) as asked for.
        share: in [0, 1].

    Returns:
        (N,); the scales themselves where they are constant.
    """
    if not active(style, share):
        return torch.ones_like(scale)
    if style.schedule == "constant":
        return scale
    return torch.maximum(scale.clamp(max=style.clamp), 1 + growth(style, share) * (scale - 1))


def guided(
    style: GuidanceStyle,
    free: Tensor,
    conditioned: Tensor,
    scale: Tensor,
    layers: Sequence[Layer] = (),
    reading: Reading | None = None,
) -> Tensor:
    """The guided prediction.

    Args:
        style: rescaling and projection.
        free: predictions for N pictures without their prompts, (N, C, H, W).
        conditioned: those with them, (N, C, H, W); with layers, layer by layer.
        scale: (N,) as from ``scale_at``.
        layers: whose the conditioned predictions are, where pictures have several prompts.
        reading: needed where the style projects.

    Returns:
        (N, C, H, W); bit for bit that of ``guide`` or ``compose`` for the plain style.

    Raises:
        UsageError: a style that projects, without a reading.
    """
    if style.projects:
        if reading is None:
            raise UsageError("guidance with parallel or norm needs to know the noise level")
        towards = _unguided(free, conditioned, layers)
        found = projected(style, free, towards, scale, reading)
    elif layers:
        found = compose(free, conditioned, scale, layers)
    else:
        found = guide(free, conditioned, scale)
    if style.rescale == 0:
        return found
    return rescaled(found, _unguided(free, conditioned, layers), style.rescale)


def rescaled(found: Tensor, conditioned: Tensor, share: float) -> Tensor:
    """The guided prediction with the deviation that the conditional one has, or part of the way.

    S. Lin, B. Liu, J. Li, X. Yang, "Common Diffusion Noise Schedules and Sample Steps are Flawed"
    (WACV 2024), equations 14 to 16.

    Args:
        found: (N, C, H, W), guided.
        conditioned: likewise, what a guidance scale of 1 gives.
        share: phi, from 0 to 1.
    """
    axes = tuple(range(1, found.ndim))
    own = found.std(dim=axes, keepdim=True)
    wanted = conditioned.std(dim=axes, keepdim=True)
    # What is the same everywhere has no deviation to bring back.
    factor = torch.where(own > 0, wanted / own, torch.ones_like(own))
    return share * (found * factor) + (1 - share) * found


def projected(
    style: GuidanceStyle, free: Tensor, conditioned: Tensor, scale: Tensor, reading: Reading
) -> Tensor:
    """Adaptive projected guidance, without momentum.

    S. Sadat, O. Hilliges, R. M. Weber, "Eliminating Oversaturation and Artifacts of High Guidance
    Scales in Diffusion Models" (2024), algorithm 1: the difference of the two predicted pictures
    is shortened to ``style.norm``; of its part along the conditional picture, which saturates
    colours, ``style.parallel`` is kept; (scale - 1) times that is added.

    Args:
        style: norm and parallel.
        free: (N, C, H, W).
        conditioned: likewise, what a guidance scale of 1 gives.
        scale: (N,).
        reading: how these are read as pictures, in which all this is done.
    """
    picture = (reading.a * reading.noisy.float() + reading.b * conditioned.float()).flatten(1)
    difference = reading.b * (conditioned.float() - free.float()).flatten(1)
    if style.norm is not None:
        length = difference.norm(dim=1, keepdim=True)
        difference = difference * (style.norm / length).clamp(max=1)
    unit = torch.nn.functional.normalize(picture, dim=1)
    along = (difference * unit).sum(dim=1, keepdim=True) * unit
    update = difference - along + style.parallel * along
    strength = (scale.to(update) - 1).reshape(-1, 1)
    return conditioned.float() + (strength * update / reading.b).reshape(conditioned.shape)


def reading_of(sampler: Any, noisy: Tensor, time: Tensor) -> Reading:
    """How predictions are read at a timestep of a sampler of diffusers.

    With the share s = alpha_bar of the picture's variance, and n = 1 - s (J. Ho, A. Jain,
    P. Abbeel 2020, equation 4; T. Salimans, J. Ho 2022, appendix D): epsilon gives
    (noisy - sqrt(n) e) / sqrt(s), v gives sqrt(s) noisy - sqrt(n) v. A flow's velocity gives
    noisy - sigma v (P. Esser et al. 2024, section 2).

    Args:
        sampler: a scheduler with its noise schedule.
        noisy: what the denoiser is given, (N, C, H, W).
        time: (), also between two training steps.

    Raises:
        UsageError: a sampler that does not tell its noise schedule.
    """
    config = getattr(sampler, "config", {})
    kind = config.get("prediction_type", "flow_prediction")
    alphas = getattr(sampler, "alphas_cumprod", None)
    if kind == "sample":
        return Reading(noisy, 0.0, 1.0)
    if kind == "flow_prediction" and "num_train_timesteps" in config:
        return Reading(noisy, 1.0, -float(time) / int(config["num_train_timesteps"]))
    if kind not in ("epsilon", "v_prediction") or alphas is None:
        raise UsageError(
            f"guidance with parallel or norm: {type(sampler).__name__} does not tell its noise "
            "schedule; choose another sampler"
        )
    at = min(max(float(time), 0.0), len(alphas) - 1.0)
    below = min(int(at), len(alphas) - 2)
    first, second = float(alphas[below]), float(alphas[below + 1])
    share = first + (second - first) * (at - below)
    signal, noise = share**0.5, (1 - share) ** 0.5
    if kind == "v_prediction":
        return Reading(noisy, signal, -noise)
    return Reading(noisy, 1 / signal, -noise / signal)


def predict_guided(
    predict: Predict,
    latents: Tensor,
    time: Tensor,
    guidance: Guidance,
    style: GuidanceStyle = PLAIN,
    share: float = 0.5,
    sampler: Any = None,
) -> Tensor:
    """Model output with guidance, both halves in one batch.

    Where all scales are 1, which they are outside of the style's interval, the unconditional half
    has no part in the result and is not evaluated; unless prompts are joined whose weights do not
    add up to 1.

    Args:
        predict: the denoiser.
        latents: its input for N pictures, (N, C, h, w).
        time: ().
        guidance: conditioning and scales of the pictures.
        style: how guidance acts.
        share: where in sampling this is, in [0, 1].
        sampler: tells the noise level where the style projects.

    Returns:
        (N, C, h, w), float32.
    """
    layers, away, sizes = guidance.layers, guidance.unconditional, guidance.sizes
    scales = None if guidance.told is None else scale_at(style, guidance.told, share)
    seen = latents if guidance.beside is None else torch.cat([latents, guidance.beside], dim=1)
    towards = torch.cat([seen[layer.pictures] for layer in layers]) if layers else seen
    told, told_scales = sizes, scales
    if sizes is not None and layers:
        told = torch.cat([sizes[layer.pictures] for layer in layers])
    if scales is not None and layers:
        told_scales = torch.cat([scales[layer.pictures] for layer in layers])
    if away is None or (not active(style, share) and _add_up(layers, len(latents))):
        alone = replace(guidance.conditional, sizes=told, scale=told_scales)
        output = predict(towards, time, alone).float()
        return _mixed(output, layers, len(latents)) if layers else output
    both = guidance.both
    if sizes is not None and told is not None:
        both = replace(both, sizes=torch.cat([sizes, told]))
    if scales is not None and told_scales is not None:
        both = replace(both, scale=torch.cat([scales, told_scales]))
    output = predict(torch.cat([seen, towards]), time, both).float()
    free, conditioned = output[: len(latents)], output[len(latents) :]
    scale = scale_at(style, guidance.scale, share)
    reading = reading_of(sampler, latents, time) if style.projects else None
    return guided(style, free, conditioned, scale, layers, reading)


def _unguided(free: Tensor, conditioned: Tensor, layers: Sequence[Layer]) -> Tensor:
    """What a guidance scale of 1 gives."""
    if not layers:
        return conditioned
    return compose(free, conditioned, torch.ones(len(free), device=free.device), layers)


def _add_up(layers: Sequence[Layer], count: int) -> bool:
    """Whether the weights of every picture's prompts add up to 1."""
    if not layers:
        return True
    total = torch.zeros(count, device=layers[0].weights.device)
    for layer in layers:
        total[layer.pictures] += layer.weights
    return bool((total - 1).abs().max() < 1e-6)


def _mixed(conditioned: Tensor, layers: Sequence[Layer], count: int) -> Tensor:
    """The weighted sum of predictions for several prompts."""
    return compose(
        torch.zeros_like(conditioned[:count]),
        conditioned,
        torch.ones(count, device=conditioned.device),
        layers,
    )
