"""Training the autoencoder: L1 and gradient terms, optionally what one sees and a critic."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sdcreative import UsageError
from sdcreative.models.building import build_autoencoder, save_part

from .critic import Critic, adaptive_weight
from .latents import encode_mean
from .perceptual import Perceptual
from .pictures import Drawing, compose
from .regularisers import regulariser
from .sheets import tile
from .stages import AutoencoderStage


class AutoencoderObjective:
    """Reconstruct composited drawings through a bottleneck (Rombach et al. 2022, sec. 3.1)."""

    name = "autoencoder"

    def __init__(
        self,
        stage: AutoencoderStage,
        size: int,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
        device: torch.device,
        module: nn.Module | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """``module``: an autoencoder to go on from; ``perceptual``: what its weight is of."""
        self.stage, self.device = stage, device
        self.training, self.held_out = training, held_out or training
        torch.manual_seed(stage.schedule.seed)
        self.vae: Any = module or build_autoencoder(
            stage.channels,
            stage.layers,
            stage.latent_channels,
            size,
            stage.codebook if stage.regulariser == "vq" else None,
        )
        _check_kind(self.vae, stage)
        self.modules: dict[str, nn.Module] = {"vae": self.vae}
        self.regulariser = regulariser(stage, fresh=module is None)
        self.modules |= self.regulariser.modules
        self.perceptual = None if perceptual is None else perceptual.to(device)
        self.critic = Critic(stage) if stage.adversarial_weight > 0 else None
        if self.critic is not None:
            self.modules["critic"] = self.critic

    def batch(self, rng: np.random.Generator, size: int) -> Tensor:
        chosen = rng.integers(len(self.training), size=size)
        pixels = np.stack([compose(self.training[i], rng, white=0.35).pixels for i in chosen])
        cut = self.stage.cut
        if cut is not None:
            starts = rng.integers(pixels.shape[-1] - cut + 1, size=size)
            pixels = np.stack([p[..., s : s + cut] for p, s in zip(pixels, starts, strict=True)])
        return torch.from_numpy(pixels)

    def loss(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        pixels = batch.to(self.device)
        decoded, penalty, figures = self.regulariser.reconstruct(self.vae, pixels, generator)
        absolute = (decoded - pixels).abs().mean()
        edges = gradient_difference(decoded, pixels)
        total = absolute + self.stage.gradient_weight * edges + penalty
        terms = {"l1": absolute, "gradient": edges, **figures}
        if self.perceptual is not None:
            seen = self.perceptual.distance(decoded, pixels)
            total = total + self.stage.perceptual_weight * seen
            terms["perceptual"] = seen
        if self.critic is not None:
            fooling, judging = self.critic.terms(pixels, decoded)
            weight: Any = self.stage.adversarial_weight
            if self.stage.adversarial_adaptive:
                balance = adaptive_weight(total, fooling, self.vae.decoder.conv_out.weight)
                weight = weight * balance
                terms["balance"] = balance
            total = total + weight * fooling + judging
            terms |= {"adversarial": fooling, "critic": judging}
        return {"loss": total, **terms}

    @torch.no_grad()
    def psnr(self, count: int = 64) -> float:
        """Mean PSNR in dB over held-out drawings on random backgrounds, seeds fixed."""
        pixels = self._held_out_pixels(count)
        decoded = self._reconstruct(pixels)
        error = ((decoded - pixels) / 2).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
        return float((-10 * error.log10()).mean())

    def measure(self) -> dict[str, float]:
        with torch.no_grad():
            figures = self.regulariser.measure(self.vae, self._held_out_pixels(64))
        return {"psnr": self.psnr(), **figures}

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        pixels = self._held_out_pixels(8)
        return tile(torch.cat([pixels, self._reconstruct(pixels)]).cpu(), columns=8)

    def _held_out_pixels(self, count: int) -> Tensor:
        rng = np.random.default_rng(1)
        drawings = [self.held_out[i % len(self.held_out)] for i in range(count)]
        pixels = np.stack([compose(d, rng).pixels for d in drawings])
        return torch.from_numpy(pixels).to(self.device)

    def _reconstruct(self, pixels: Tensor) -> Tensor:
        return self.vae.decode(encode_mean(self.vae, pixels)).sample.clamp(-1, 1)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Measure the scaling factor (1 / standard deviation of latents) and save the part."""
        rng = np.random.default_rng(2)
        pixels = self.batch(rng, 256)
        parts = [encode_mean(self.vae, p.to(self.device)) for p in pixels.split(32)]
        factor = 1 / float(torch.cat(parts).std())
        self.vae.register_to_config(scaling_factor=round(factor, 6))
        save_part(self.vae, folder / "vae")


def gradient_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical finite differences."""
    horizontal = (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean()
    vertical = (a.diff(dim=-2) - b.diff(dim=-2)).abs().mean()
    return horizontal + vertical


def _check_kind(vae: Any, stage: AutoencoderStage) -> None:
    """A module to go on from has the regulariser that it was trained with."""
    codes = getattr(vae.config, "num_vq_embeddings", None)
    if (codes is None) == (stage.regulariser == "vq"):
        own = "kl" if codes is None else "vq"
        raise UsageError(
            f"autoencoder.regulariser: the one to go on from was trained with {own}; set that"
        )
    if codes is not None and codes != stage.codebook:
        raise UsageError(
            f"autoencoder.codebook: the one to go on from has {codes} codes; set it to {codes}"
        )
