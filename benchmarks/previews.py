"""What a preview looks like, and how much quicker it is: steps and decoders against the film.

    python benchmarks/previews.py
    python benchmarks/previews.py --model riff --pictures 4

Decoders are compared on the same final latents, of prompts that none of them was fitted to:

- full: the model's own autoencoder;
- colours: least squares from a latent to its mean colour, enlarged by bicubic interpolation;
- quick: the one that previews have, from 3 x 3 latents to all pixels of one;
- network: two hidden convolutions of 32 channels, fitted by Adam to the same pictures.

PSNR is to the full decoder, or to the film in all its steps, of values in [0, 1]; R^2 is what is
explained of its variance. Seconds are CPU time (user and system) of one thread, a picture.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.models.parts import Parts
from sdcreative.models.quick_decoder import QuickDecoder
from sdcreative.models.vae import decode_latents
from sdcreative.rendering.denoising import Denoiser
from sdcreative.rendering.previewing import PICTURES, _samples

PROMPTS = {
    "emoji": ["a picture of a bear", "a red apple", "a ship", "a house", "a tree", "a guitar",
              "a rocket", "an umbrella"],
    "riff": ["funk bass line with a jazzy saxophone solo, 110 bpm", "piano ballad, 70 bpm",
             "techno drums, 130 bpm", "acoustic guitar, 90 bpm"],
}  # fmt: skip
STEPS = (2, 3, 4, 6, 8, 12)
FIT_STEPS = 300
WIDTH = 32
T = TypeVar("T")
Decode = Callable[[Tensor], Tensor]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--model", default="emoji", choices=PROMPTS)
    arguments.add_argument("--pictures", type=int, default=8)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--guidance-scale", type=float, default=7.5)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    parts = Studio.load(given.model, device="cpu").parts
    known = PROMPTS[given.model]
    prompts = [known[i % len(known)] for i in range(given.pictures)]
    film, seconds = timed(lambda: latents(parts, prompts, given.steps, given.guidance_scale))
    whole, decoding = timed(lambda: decode_latents(parts, film).clamp(-1, 1))
    count = len(prompts)
    print(f"{given.model}: {count} pictures, {given.steps} steps in {seconds / count:.3f} s each\n")
    print("| decoder | PSNR | R^2 | decoding | fitting | numbers |\n|---|---|---|---|---|---|")
    print(f"| full | | | {decoding / count:.4f} s | | {numbers(parts.vae.decoder)} |")
    for name, fit in (("colours", colours), ("quick", quick), ("network", network)):
        (decode, size), fitting = timed(lambda fit=fit: fit(parts))
        found, took = timed(lambda decode=decode: decode(film).clamp(-1, 1))
        quality = f"{psnr(found, whole):.1f} dB | {explained(found, whole):.2f}"
        print(f"| {name} | {quality} | {took / count:.5f} s | {fitting:.1f} s | {size} |")
    decode = quick(parts)[0]
    print("\n| steps | PSNR, full decoder | PSNR, quick | seconds | of the film's |")
    print("|---|---|---|---|---|")
    for steps in STEPS:
        made, took = timed(lambda steps=steps: latents(parts, prompts, steps, given.guidance_scale))
        shown, showing = timed(lambda made=made: decode(made).clamp(-1, 1))
        full = decode_latents(parts, made).clamp(-1, 1)
        each, share = (took + showing) / count, (took + showing) / (seconds + decoding)
        both = f"{psnr(full, whole):.1f} dB | {psnr(shown, whole):.1f} dB"
        print(f"| {steps} | {both} | {each:.3f} | 1/{1 / share:.1f} |")


def timed(run: Callable[[], T]) -> tuple[T, float]:
    began = time.process_time()
    found = run()
    return found, time.process_time() - began


def latents(parts: Parts, prompts: list[str], steps: int, scale: float) -> Tensor:
    shots = [
        Shot(Blend(prompt), Noise(100 + i), guidance_scale=scale)
        for i, prompt in enumerate(prompts)
    ]
    timeline = Timeline(lambda: shots, len(shots), steps=steps)
    denoiser = Denoiser(parts, timeline, parts.sample_size, lambda rows: None)
    return denoiser.latents([denoiser.prepare(shot, i) for i, shot in enumerate(shots)])


def fitted_to(parts: Parts) -> tuple[Tensor, Tensor]:
    """Latents, and what the full decoder makes of them: those that previews are fitted to."""
    width, height = parts.sample_size
    count = max(PICTURES, -(-4096 // (width * height // parts.downsampling**2)))
    rows = torch.cat(list(_samples(parts, count)))
    return rows.clone(), decode_latents(parts, rows).clamp(-1, 1).clone()


def colours(parts: Parts) -> tuple[Decode, int]:
    rows, pixels = fitted_to(parts)
    wanted = functional.avg_pool2d(pixels, parts.downsampling).permute(0, 2, 3, 1).flatten(0, 2)
    found = torch.linalg.lstsq(_ones(rows), wanted).solution

    def decode(given: Tensor) -> Tensor:
        small = (_ones(given) @ found).reshape(len(given), *given.shape[-2:], 3)
        scale = float(parts.downsampling)
        return functional.interpolate(small.permute(0, 3, 1, 2), scale_factor=scale, mode="bicubic")

    return decode, found.numel()


def _ones(rows: Tensor) -> Tensor:
    flat = rows.permute(0, 2, 3, 1).flatten(0, 2)
    return torch.cat([flat, torch.ones(len(flat), 1)], dim=1)


def quick(parts: Parts) -> tuple[Decode, int]:
    rows, pixels = fitted_to(parts)
    decoder = QuickDecoder(parts.vae, parts.latent_channels, parts.downsampling)
    decoder.solve(rows, pixels)
    return lambda given: decoder.decode(given).sample, numbers(decoder)


def network(parts: Parts) -> tuple[Decode, int]:
    rows, pixels = fitted_to(parts)
    torch.manual_seed(0)
    factor, padded = parts.downsampling, {"padding": 1, "padding_mode": "replicate"}
    net = nn.Sequential(
        nn.Conv2d(parts.latent_channels, WIDTH, 3, **padded),
        nn.SiLU(),
        nn.Conv2d(WIDTH, WIDTH, 3, **padded),
        nn.SiLU(),
        nn.Conv2d(WIDTH, 3 * factor**2, 1),
        nn.PixelShuffle(factor),
    )
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, FIT_STEPS)
    for _ in range(FIT_STEPS):
        some = torch.randint(len(rows), (4,))
        optimiser.zero_grad()
        functional.mse_loss(net(rows[some]), pixels[some]).backward()
        optimiser.step()
        falling.step()
    net.requires_grad_(False)
    return net, numbers(net)


def numbers(module: nn.Module) -> int:
    return sum(one.numel() for one in module.parameters())


def psnr(found: Tensor, wanted: Tensor) -> float:
    """The mean over pictures."""
    error = ((found - wanted) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * error.log10()).mean())


def explained(found: Tensor, wanted: Tensor) -> float:
    spread = (wanted - wanted.mean(dim=(0, 2, 3), keepdim=True)).square().sum()
    return float(1 - (found - wanted).square().sum() / spread)


if __name__ == "__main__":
    main()
