"""Training the conditional U-Net on cached latents, with or without the text encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sdcreative import UsageError
from sdcreative.models.building import build_scheduler, build_unet, save_part

from .noise_schedule import NoiseSchedule, noise_schedule
from .pictures import Drawing, compose
from .settings import UnetStage
from .sheets import tile

SHEET_PROMPTS = 8
REMEMBERED = 16384


@dataclass(frozen=True)
class Latents:
    """Encoded training set: latents (N, C, h, w) in float16 and the captions of each."""

    values: Tensor
    captions: list[tuple[str, ...]]


class UnetObjective:
    """Predict noise or velocity of noised latents, given captions (Ho et al. 2020; Salimans 2022).

    With min-SNR weights (Hang et al. 2023, eq. 6 and table 1) and caption dropout for
    classifier-free guidance (Ho and Salimans 2022, alg. 1).
    """

    name = "unet"

    def __init__(
        self,
        stage: UnetStage,
        training: Sequence[Drawing],
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        device: torch.device,
        run: Path,
        report: Callable[[str], None],
        module: nn.Module | None = None,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        """``module`` and ``schedule``: a U-Net to go on from, and its noise schedule."""
        self.stage, self.device, self.tokenizer = stage, device, tokenizer
        self.vae = vae.to(device).eval()
        self.text_encoder = text_encoder.float().to(device)
        self.latents = _cached_latents(training, self.vae, stage.variants, device, run, report)
        height, width = self.latents.values.shape[-2:]
        latent_size = width if height == width else (height, width)
        torch.manual_seed(stage.schedule.seed)
        self.unet: Any = module or build_unet(
            stage.channels,
            stage.layers,
            vae.config.latent_channels,
            latent_size,
            text_encoder.config.hidden_size,
        )
        _check_fit(self.unet.config, vae.config, text_encoder.config)
        self.unet.register_to_config(sample_size=latent_size)
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        if stage.train_text:
            self.modules["text_encoder"] = self.text_encoder
        self.text_encoder.requires_grad_(stage.train_text)
        self.schedule = schedule or noise_schedule(stage)
        self.alphas = self.schedule.alphas.to(device)
        self.embedded: dict[str, Tensor] = {}
        every = max(1, len(training) // SHEET_PROMPTS)
        self.prompts = [d.captions[0] for d in training[::every]][:SHEET_PROMPTS]

    def batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, list[str]]:
        chosen = rng.integers(len(self.latents.captions), size=size)
        captions = [str(rng.choice(self.latents.captions[i])) for i in chosen]
        dropped = rng.random(size) < self.stage.caption_dropout
        captions = ["" if drop else text for drop, text in zip(dropped, captions, strict=True)]
        return self.latents.values[torch.from_numpy(chosen)].float(), captions

    def loss(
        self, batch: tuple[Tensor, list[str]], generator: torch.Generator
    ) -> dict[str, Tensor]:
        latents, captions = batch
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times = torch.randint(len(self.alphas), (len(latents),), generator=generator)
        latents, times = latents.to(self.device), times.to(self.device)
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * latents + spread * noise
        velocity = self.schedule.prediction == "v_prediction"
        target = signal * noise - spread * latents if velocity else noise
        predicted = self.unet(noisy, times, encoder_hidden_states=self.embed(captions)).sample
        error = (predicted.float() - target).square().mean(dim=(1, 2, 3))
        return {"loss": (self._weights(times) * error).mean(), "error": error.mean()}

    def _weights(self, times: Tensor) -> Tensor:
        gamma = self.stage.min_snr_gamma
        if gamma is None:
            return torch.ones_like(times, dtype=torch.float32)
        alpha = self.alphas[times]
        snr = alpha / (1 - alpha)
        velocity = self.schedule.prediction == "v_prediction"
        return snr.clamp(max=gamma) / (snr + 1 if velocity else snr.clamp_min(1e-8))

    def embed(self, captions: Sequence[str]) -> Tensor:
        """Hidden states (N, context, width); remembered while the text encoder is frozen."""
        if self.stage.train_text and torch.is_grad_enabled():
            return self._encode(list(captions))
        if self.stage.train_text:
            self.embedded.clear()
        if len(self.embedded) > REMEMBERED:
            self.embedded.clear()
        missing = sorted(set(captions) - self.embedded.keys())
        for start in range(0, len(missing), 256):
            part = missing[start : start + 256]
            with torch.no_grad():
                self.embedded.update(zip(part, self._encode(part), strict=True))
        return torch.stack([self.embedded[caption] for caption in captions])

    def _encode(self, captions: list[str]) -> Tensor:
        tokens = self.tokenizer(
            captions,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        )
        states: Tensor = self.text_encoder(tokens.input_ids.to(self.device))[0]
        return states

    def measure(self) -> dict[str, float]:
        """Loss on fixed latents, noise and timesteps."""
        rng = np.random.default_rng(3)
        with torch.no_grad():
            terms = self.loss(self.batch(rng, 128), torch.Generator().manual_seed(3))
        return {"fixed_loss": float(terms["loss"])}

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Captions of the training set, two seeds each: DDIM, 20 steps, guidance 3."""
        scheduler = build_scheduler(self.schedule.config)
        scheduler.set_timesteps(20)
        prompts = self.prompts * 2
        context = torch.cat([self.embed(prompts), self.embed([""] * len(prompts))])
        shape = (len(prompts), *self.latents.values.shape[1:])
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        for t in scheduler.timesteps:
            both = self.unet(latents.repeat(2, 1, 1, 1), t, encoder_hidden_states=context).sample
            guided, free = both.chunk(2)
            latents = scheduler.step(free + 3 * (guided - free), t, latents).prev_sample
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return tile(pixels.cpu(), columns=len(self.prompts))

    def save(self, folder: Path) -> None:
        """U-Net and, if it was trained along, the text encoder, in half precision."""
        save_part(self.unet, folder / "unet")
        if self.stage.train_text:
            save_part(self.text_encoder, folder / "text_encoder")


def _check_fit(unet: Any, vae: Any, text: Any) -> None:
    if unet.in_channels != vae.latent_channels:
        raise UsageError(
            f"unet: the one to go on from takes latents of {unet.in_channels} channels, the "
            f"autoencoder makes {vae.latent_channels}; start from a model of that kind"
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise UsageError(
            f"unet: the one to go on from reads text vectors of {unet.cross_attention_dim}, the "
            f"text encoder gives {text.hidden_size}; leave out the clip stage, or start_from"
        )


def _cached_latents(
    training: Sequence[Drawing],
    vae: Any,
    variants: int,
    device: torch.device,
    run: Path,
    report: Callable[[str], None],
) -> Latents:
    """Compose and encode every drawing ``variants`` times; captions are drawn again, not stored.

    The latents are stored with a digest of what they were made from, and made anew when the
    drawings or the autoencoder have changed.
    """
    rng = np.random.default_rng(4)
    file, label = run / "latents.pt", run / "latents.json"
    origin = json.dumps({"made_from": _digest(training, vae, variants)}) + "\n"
    stored = None
    if file.is_file() and label.is_file() and label.read_text("utf-8") == origin:
        stored = torch.load(file, weights_only=True)
    captions: list[tuple[str, ...]] = []
    encoded: list[Tensor] = []
    for start in range(0, len(training), 64):
        part = training[start : start + 64]
        samples = [compose(drawing, rng) for drawing in part for _ in range(variants)]
        captions += [sample.captions for sample in samples]
        if stored is None:
            for first in range(0, len(samples), 64):
                pixels = np.stack([s.pixels for s in samples[first : first + 64]])
                with torch.no_grad():
                    mean = vae.encode(torch.from_numpy(pixels).to(device)).latent_dist.mean
                encoded.append((mean * vae.config.scaling_factor).half().cpu())
            report(f"latents {len(captions)}/{len(training) * variants}")
    if stored is None:
        stored = torch.cat(encoded)
        run.mkdir(parents=True, exist_ok=True)
        label.unlink(missing_ok=True)
        torch.save(stored, file)
        label.write_text(origin, encoding="utf-8")
    return Latents(stored, captions)


def _digest(training: Sequence[Drawing], vae: Any, variants: int) -> str:
    digest = hashlib.sha256(f"{variants} {vae.config.scaling_factor}".encode())
    for drawing in training:
        traits = (drawing.rgba.shape, drawing.background_caption, drawing.mirror)
        digest.update(repr((*traits, len(drawing.captions), sorted(drawing.avoid))).encode())
        digest.update(np.ascontiguousarray(drawing.rgba))
    for tensor in vae.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
