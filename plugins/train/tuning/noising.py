"""Noise on latents, and what a model is asked to say of it, for every kind of prediction."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sdcreative import UsageError
from sdcreative.models.building import build_scheduler


class Noising:
    """The forward process of a model.

    A time is a whole number from 0 (little noise) for models of diffusion, and the share of noise
    in (0, 1) for those of flow (Esser et al. 2024).
    """

    def __init__(self, prediction: str, scheduler_config: dict[str, Any]) -> None:
        """
        Args:
            prediction: epsilon, v_prediction, sample or flow.
            scheduler_config: the model's own.

        Raises:
            UsageError: noise is to be predicted from pure noise.
        """
        self.prediction = prediction
        self.shift = 1.0
        self.alphas: Tensor | None = None
        if self.flow:
            self.shift = float(scheduler_config.get("shift") or 1.0)
            return
        config = {**scheduler_config, "prediction_type": prediction}
        self.alphas = build_scheduler(config).alphas_cumprod.float()
        if prediction == "epsilon" and float(self.alphas[-1]) == 0:
            raise UsageError(
                "the model predicts epsilon and has zero terminal SNR, where epsilon says nothing; "
                "set prediction_type: v_prediction if that is what it predicts"
            )

    @property
    def flow(self) -> bool:
        return self.prediction == "flow"

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Times to train on: even over all, or logit-normal and shifted (Esser et al., eq. 19)."""
        if self.alphas is not None:
            return torch.randint(len(self.alphas), (count,), generator=generator)
        return self._shifted(torch.randn(count, generator=generator).sigmoid())

    def spread(self, count: int) -> Tensor:
        """Times evenly spread over all, for measuring."""
        shares = (torch.arange(count) + 0.5) / count
        if self.alphas is not None:
            return (shares * len(self.alphas)).long()
        return self._shifted(shares)

    def _shifted(self, shares: Tensor) -> Tensor:
        return self.shift * shares / (1 + (self.shift - 1) * shares)

    def noisy(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Latents (N, C, h, w) with noise, of times (N,)."""
        signal, spread = self._parts(latents, times)
        return signal * latents + spread * noise

    def target(self, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """What the model is to say (Salimans and Ho 2022, app. D, for v)."""
        signal, spread = self._parts(latents, times)
        if self.prediction == "flow":
            return noise - latents
        if self.prediction == "v_prediction":
            return signal * noise - spread * latents
        return noise if self.prediction == "epsilon" else latents

    def model_times(self, times: Tensor) -> Tensor:
        """Times as the denoiser takes them."""
        return times * 1000 if self.flow else times

    def weights(self, times: Tensor, gamma: float | None) -> Tensor:
        """Min-SNR weights (N,) (Hang et al. 2023, eq. 6 and table 1); 1 without gamma."""
        if gamma is None or self.alphas is None:
            return torch.ones(times.shape, dtype=torch.float32, device=times.device)
        alpha = self.alphas.to(times.device)[times]
        snr = alpha / (1 - alpha)
        least = snr.clamp(max=gamma)
        if self.prediction == "v_prediction":
            return least / (snr + 1)
        return least / snr.clamp_min(1e-8) if self.prediction == "epsilon" else least

    def _parts(self, latents: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
        if self.alphas is None:
            share = times.to(latents).view(-1, 1, 1, 1)
            return 1 - share, share
        alpha = self.alphas.to(latents.device)[times.to(latents.device)].view(-1, 1, 1, 1)
        return alpha.sqrt(), (1 - alpha).sqrt()


def draw_noise(shape: torch.Size, offset: float, generator: torch.Generator) -> Tensor:
    """Standard normal noise; with an offset, some that is the same all over a channel."""
    noise = torch.randn(shape, generator=generator)
    if offset:
        noise = noise + offset * torch.randn(*shape[:2], 1, 1, generator=generator)
    return noise


def errors(said: Tensor, target: Tensor, huber: float | None) -> Tensor:
    """(N,) mean squared errors; with ``huber``, those above it count linearly (Huber 1964)."""
    if huber is None:
        each = (said - target).square()
    else:
        each = 2 * torch.nn.functional.huber_loss(said, target, reduction="none", delta=huber)
    return each.mean(dim=(1, 2, 3))


def predict(parts: Any, noisy: Tensor, times: Tensor, told: Any, sizes: Tensor) -> Tensor:
    """What the denoiser says, float32.

    Args:
        parts: the model.
        noisy: latents (N, C, h, w).
        times: as ``Noising.model_times`` gives them.
        told: of the captions.
        sizes: (N, 6), what SDXL is told of sizes and crops; others are not.
    """
    if parts.transformer is not None:
        output = parts.transformer(
            hidden_states=noisy,
            timestep=times,
            encoder_hidden_states=told.states,
            pooled_projections=told.pooled,
            return_dict=False,
        )
    else:
        added = None
        if parts.unet.config.addition_embed_type == "text_time":
            added = {"text_embeds": told.pooled, "time_ids": sizes.to(noisy)}
        output = parts.unet(
            noisy,
            times,
            encoder_hidden_states=told.states,
            added_cond_kwargs=added,
            return_dict=False,
        )
    said: Tensor = output[0].float()
    return said
