"""What keeps the latents of an autoencoder in bounds: a Gaussian penalty, or a codebook."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from .stages import AutoencoderStage

RESTARTS_END = 0.75
"""share of the training after which codes stay, so that the averaged weights settle"""


class Regulariser(Protocol):
    """Encodes, decodes, and says what the latents cost."""

    modules: dict[str, nn.Module]

    def reconstruct(
        self, vae: Any, pixels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """(decoded pictures, penalty, terms to log) of pictures (N, 3, H, W) in [-1, 1]."""

    def measure(self, vae: Any, pixels: Tensor) -> dict[str, float]:
        """Figures of the latents of held-out pictures."""


def regulariser(stage: AutoencoderStage, *, fresh: bool) -> Regulariser:
    """The one that the settings ask for; ``fresh``: whether the autoencoder is untrained."""
    return CodebookPenalty(stage, fresh) if stage.regulariser == "vq" else GaussianPenalty(stage)


class GaussianPenalty:
    """KL divergence of the latents from a standard normal (Kingma and Welling 2014, eq. 7)."""

    def __init__(self, stage: AutoencoderStage) -> None:
        self.weight = stage.kl_weight
        self.modules: dict[str, nn.Module] = {}

    def reconstruct(
        self, vae: Any, pixels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        posterior = vae.encode(pixels).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(pixels.device)
        latents = posterior.mean + posterior.std * noise
        decoded = vae.decode(latents).sample
        divergence = posterior.kl().sum() / pixels.numel()
        return decoded, self.weight * divergence, {"kl": divergence}

    def measure(self, vae: Any, pixels: Tensor) -> dict[str, float]:
        return {}


class CodebookPenalty:
    """Every latent is replaced by the nearest code (van den Oord et al. 2017, eq. 3).

    The codes follow the latents, the latents are pulled towards their codes, and gradients pass
    straight through. Codes that nothing was near to for long start anew as latents of the batch
    (Williams et al. 2020, sec. 3.4); at the beginning of a fresh training all of them do.
    """

    def __init__(self, stage: AutoencoderStage, fresh: bool) -> None:
        schedule = stage.schedule
        self.weight = stage.commitment_weight
        limit = stage.restart_after
        self.limit = None if limit is None else limit * schedule.accumulate
        self.last = int(RESTARTS_END * schedule.steps * schedule.accumulate)
        self.use = CodeUse(stage.codebook, self.limit if self.limit and fresh else 0)
        self.modules: dict[str, nn.Module] = {"codes": self.use}

    def reconstruct(
        self, vae: Any, pixels: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        latents = vae.encode(pixels).latents
        rows = latents.movedim(1, -1).flatten(0, -2).float()
        self.use.seen += 1
        if self.limit is not None and (self.use.seen == 1 or self.use.seen <= self.last):
            self._restart(vae.quantize.embedding.weight, rows.detach(), generator)
        quantised, _, (_, _, chosen) = vae.quantize(latents.float())
        codes = vae.quantize.embedding(chosen)
        following = (codes - rows.detach()).square().mean()
        commitment = (rows - codes.detach()).square().mean()
        counts = _of_all_processes(torch.bincount(chosen, minlength=len(self.use.unused)))
        self.use.unused += 1
        self.use.unused[counts > 0] = 0
        decoded = vae.decode(quantised, force_not_quantize=True).sample
        terms = {
            "codebook": following,
            "commitment": commitment,
            "perplexity": perplexity(counts),
        }
        return decoded, following + self.weight * commitment, terms

    def _restart(self, codes: Tensor, rows: Tensor, generator: torch.Generator) -> None:
        dead = self.use.unused >= self.limit
        count = int(dead.sum())
        if count == 0:
            return
        places = torch.randint(len(rows), (count,), generator=generator).to(rows.device)
        codes.data[dead] = _of_first_process(rows[places]).to(codes.dtype)
        self.use.unused[dead] = 0

    def measure(self, vae: Any, pixels: Tensor) -> dict[str, float]:
        """Perplexity over held-out pictures, and the share of the codes that they use."""
        chosen = vae.quantize(vae.encode(pixels).latents.float())[2][2]
        counts = torch.bincount(chosen, minlength=len(self.use.unused))
        return {
            "perplexity": float(perplexity(counts)),
            "codes_used": float((counts > 0).float().mean()),
        }


class CodeUse(nn.Module):
    """How long each code has not been used, kept with the weights so that a training goes on."""

    unused: Tensor
    seen: Tensor

    def __init__(self, codes: int, unused: int) -> None:
        super().__init__()
        self.register_buffer("unused", torch.full((codes,), unused))
        self.register_buffer("seen", torch.zeros((), dtype=torch.long))


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of how often each code (K,) was used: K if all are used alike."""
    share = counts.float() / counts.sum().clamp_min(1)
    return torch.exp(-(share * share.clamp_min(1e-10).log()).sum())


def _of_all_processes(counts: Tensor) -> Tensor:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(counts)
    return counts


def _of_first_process(rows: Tensor) -> Tensor:
    """The same on all processes, whose weights would drift apart otherwise."""
    rows = rows.contiguous()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast(rows, 0)
    return rows
