"""Training the U-Net on cached latents: told a caption, a class or nothing, shown a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sdcreative.models.building import build_unet, save_part

from .denoise import denoise
from .examples import Examples
from .fitting import fit_unet
from .labels import class_names, numbers
from .latents import cached_latents
from .noise_schedule import NoiseSchedule, noise_schedule
from .pictures import Drawing
from .seen import seen_by
from .sheets import tile
from .stages import UnetStage

SHEET_PROMPTS = 8
REMEMBERED = 16384


class Batch(NamedTuple):
    """Latents (N, C, h, w), a caption of each, classes (N,), and what is shown (N, K, h, w)."""

    latents: Tensor
    captions: list[str]
    classes: Tensor | None = None
    seen: Tensor | None = None


class UnetObjective:
    """Predict noise or velocity of noised latents, given captions (Ho et al. 2020; Salimans 2022).

    With min-SNR weights (Hang et al. 2023, eq. 6 and table 1) and dropout of captions or classes
    for classifier-free guidance (Ho and Salimans 2022, alg. 1).
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
        held_out: Sequence[Drawing] = (),
    ) -> None:
        """``module`` and ``schedule``: a U-Net to go on from, and its noise schedule.

        Raises:
            UsageError: the U-Net to go on from does not fit the other parts, or the settings.
            DataError: pictures without a class, where classes are wanted.
        """
        self.stage, self.device, self.tokenizer = stage, device, tokenizer
        self.vae = vae.to(device).eval()
        self.text_encoder = text_encoder.float().to(device)
        self.seen = seen_by(stage, vae)
        self.classes: tuple[str, ...] = ()
        if stage.condition == "class":
            self.classes = class_names([*training, *held_out], stage.classes)
            own = numbers(training, stage.classes, self.classes)
            self.class_of = torch.from_numpy(own.repeat(stage.variants))
        self.latents = cached_latents(
            training,
            self.vae,
            stage.variants,
            device,
            run,
            report,
            white=stage.white,
            seen=self.seen,
        )
        height, width = self.latents.values.shape[-2:]
        latent_size = width if height == width else (height, width)
        torch.manual_seed(stage.schedule.seed)
        text_width = text_encoder.config.hidden_size
        self.unet: Any = module or build_unet(
            stage.channels,
            stage.layers,
            vae.config.latent_channels,
            latent_size,
            text_width if stage.condition == "text" else None,
            context_width=text_width,
        )
        fit_unet(self.unet, vae.config, text_encoder.config, self.seen, len(self.classes))
        self.unet.register_to_config(sample_size=latent_size)
        self.modules: dict[str, nn.Module] = {"unet": self.unet}
        if stage.train_text:
            self.modules["text_encoder"] = self.text_encoder
        self.text_encoder.requires_grad_(stage.train_text)
        self.schedule = schedule or noise_schedule(stage)
        self.alphas = self.schedule.alphas.to(device)
        self.embedded: dict[str, Tensor] = {}
        every = max(1, len(training) // SHEET_PROMPTS)
        self.prompts = [self._caption(d.captions[0]) for d in training[::every]][:SHEET_PROMPTS]
        self.examples = None
        if self.seen is not None:
            self.examples = Examples(self.seen, self.vae, held_out or training, device)

    def _caption(self, caption: str) -> str:
        return caption if self.stage.condition == "text" else ""

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        chosen = rng.integers(len(self.latents.captions), size=size)
        captions = [""] * size
        if self.stage.condition == "text":
            captions = [str(rng.choice(self.latents.captions[i])) for i in chosen]
        dropped = rng.random(size) < self.stage.caption_dropout
        captions = ["" if drop else text for drop, text in zip(dropped, captions, strict=True)]
        places = torch.from_numpy(chosen)
        classes = seen = None
        if self.classes:
            classes = self.class_of[places]
            classes[torch.from_numpy(dropped)] = len(self.classes)
        if self.latents.seen is not None:
            seen = self.latents.seen[places].float()
        return Batch(self.latents.values[places].float(), captions, classes, seen)

    def loss(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        latents = batch.latents
        noise = torch.randn(latents.shape, generator=generator).to(self.device)
        times = torch.randint(len(self.alphas), (len(latents),), generator=generator)
        latents, times = latents.to(self.device), times.to(self.device)
        alpha = self.alphas[times].view(-1, 1, 1, 1)
        signal, spread = alpha.sqrt(), (1 - alpha).sqrt()
        noisy = signal * latents + spread * noise
        velocity = self.schedule.prediction == "v_prediction"
        target = signal * noise - spread * latents if velocity else noise
        told = self._told(batch.captions, batch.classes)
        if self.seen is not None and batch.seen is not None:
            seen = batch.seen.to(self.device)
            if self.seen.levels:
                levels = torch.randint(self.seen.levels, (len(seen),), generator=generator)
                grain = torch.randn(seen.shape, generator=generator).to(self.device)
                told["class_labels"] = levels.to(self.device)
                seen = self.seen.noised(seen, told["class_labels"], grain)
            noisy = torch.cat([noisy, seen], dim=1)
        predicted = self.unet(noisy, times, **told).sample
        error = (predicted.float() - target).square().mean(dim=(1, 2, 3))
        return {"loss": (self._weights(times) * error).mean(), "error": error.mean()}

    def _told(self, captions: Sequence[str], classes: Tensor | None) -> dict[str, Tensor]:
        told = {"encoder_hidden_states": self.embed(captions)}
        return told if classes is None else {**told, "class_labels": classes.to(self.device)}

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

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Loss on fixed latents, noise and timesteps; what the examples came out like.

        Of classes also the loss with each other's: as high, and the classes say nothing.
        """
        batch = self.batch(np.random.default_rng(3), 128)
        terms = self.loss(batch, torch.Generator().manual_seed(3))
        figures = {"fixed_loss": float(terms["loss"])}
        if batch.classes is not None:
            mixed = batch._replace(classes=batch.classes.roll(1))
            terms = self.loss(mixed, torch.Generator().manual_seed(3))
            figures["mixed_loss"] = float(terms["loss"])
        if self.examples is not None:
            figures |= self.examples.measure(self._make_examples(self.examples))
        return figures

    @torch.no_grad()
    def sheet(self) -> Image.Image:
        """Captions or classes, two seeds each: DDIM, 20 steps, guidance 3; or examples."""
        if self.examples is not None:
            return self.examples.sheet(self._make_examples(self.examples))
        prompts, free = self.prompts * 2, None
        classes = free_classes = None
        if self.classes:
            every = max(1, len(self.classes) // SHEET_PROMPTS)
            classes = torch.arange(len(self.classes))[::every][:SHEET_PROMPTS].repeat(2)
            free_classes = torch.full_like(classes, len(self.classes))
            prompts = [""] * len(classes)
        told = self._told(prompts, classes)
        if self.stage.condition != "none":
            free = self._told([""] * len(prompts), free_classes)
        latents = self._denoised(len(prompts), told, free=free, guidance=3)
        pixels = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return tile(pixels.cpu(), columns=len(prompts) // 2)

    def _make_examples(self, examples: Examples) -> Tensor:
        """Pictures (N, 3, H, W) of what the examples show; their captions, no guidance."""
        captions = [self._caption(caption) for caption in examples.captions]
        told = self._told(captions, examples.levels)
        latents = self._denoised(len(captions), told, seen=examples.seen)
        pixels: Tensor = self.vae.decode(latents / self.vae.config.scaling_factor).sample
        return pixels

    def _denoised(self, count: int, told: dict[str, Tensor], **options: Any) -> Tensor:
        shape = (count, *self.latents.values.shape[1:])
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(self.device)
        return denoise(self.unet, self.schedule.config, noise, 20, told, **options)

    def save(self, folder: Path) -> None:
        """U-Net and, if it was trained along, the text encoder, in half precision."""
        save_part(self.unet, folder / "unet")
        if self.stage.train_text:
            save_part(self.text_encoder, folder / "text_encoder")
