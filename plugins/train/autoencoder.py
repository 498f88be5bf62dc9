"""Training the KL autoencoder: L1, gradient and KL terms, optionally an adversarial one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from sdcreative.models.building import build_autoencoder, save_part

from .pictures import Drawing, compose
from .settings import AutoencoderStage
from .sheets import tile


class AutoencoderObjective:
    """Reconstruct composited drawings through a KL bottleneck (Rombach et al. 2022, sec. 3.1)."""

    name = "autoencoder"

    def __init__(
        self,
        stage: AutoencoderStage,
        size: int,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
        device: torch.device,
        module: nn.Module | None = None,
    ) -> None:
        self.stage, self.device = stage, device
        self.training, self.held_out = training, held_out or training
        torch.manual_seed(stage.schedule.seed)
        self.vae: Any = module or build_autoencoder(
            stage.channels, stage.layers, stage.latent_channels, size
        )
        self.modules: dict[str, nn.Module] = {"vae": self.vae}
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
        posterior = self.vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(self.device)
        latents = posterior.mean + posterior.std * noise
        decoded = self.vae.decode(latents).sample
        absolute = (decoded - pixels).abs().mean()
        edges = gradient_difference(decoded, pixels)
        divergence = posterior.kl().sum() / pixels.numel()
        total = absolute + self.stage.gradient_weight * edges + self.stage.kl_weight * divergence
        terms = {"l1": absolute, "gradient": edges, "kl": divergence}
        if self.critic is not None:
            fooling, judging = self.critic.terms(pixels, decoded)
            total = total + self.stage.adversarial_weight * fooling + judging
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
        return {"psnr": self.psnr()}

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
        return self.vae.decode(self.vae.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Measure the scaling factor (1 / standard deviation of latents) and save the part."""
        rng = np.random.default_rng(2)
        pixels = self.batch(rng, 256)
        parts = [self.vae.encode(p.to(self.device)).latent_dist.mean for p in pixels.split(32)]
        factor = 1 / float(torch.cat(parts).std())
        self.vae.register_to_config(scaling_factor=round(factor, 6))
        save_part(self.vae, folder / "vae")


def gradient_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of horizontal and vertical finite differences."""
    horizontal = (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean()
    vertical = (a.diff(dim=-2) - b.diff(dim=-2)).abs().mean()
    return horizontal + vertical


class Critic(nn.Module):
    """A small patch discriminator with the hinge loss (Isola et al. 2017; Lim and Ye 2017).

    Both sides are trained by one optimiser: gradients of the judging term reach only the critic,
    gradients of the fooling term only the autoencoder.
    """

    def __init__(self, stage: AutoencoderStage) -> None:
        super().__init__()
        self.start = stage.adversarial_start * stage.schedule.accumulate
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.GroupNorm(8, 64),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 1, 3, 1, 1),
        )

    def terms(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(fooling, judging) hinge terms; fooling is zero for the first ``start`` batches."""
        self.seen += 1
        judging = functional.relu(1 - self.layers(real)).mean()
        judging = judging + functional.relu(1 + self.layers(fake.detach())).mean()
        if int(self.seen) <= self.start:
            return torch.zeros_like(judging), judging
        frozen = {k: v.detach() for k, v in self.layers.named_parameters()}
        scores = torch.func.functional_call(self.layers, frozen, (fake,))
        return -scores.mean(), judging
