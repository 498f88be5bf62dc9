"""A prompt and seed travel as stable-diffusion-videos makes it, written anew to measure against.

Clip by clip, from one prompt and seed to the next: t = linspace(0, 1) over the clip's frames, the
embeddings lerped, the noises slerped, batches of frames through diffusers' own pipeline, every
frame to a PNG. At the end all of them are read into memory and encoded. None of sdcreative's code
makes a picture here; it only says where the model's folder is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import torch
from PIL import Image
from torch import Tensor

ALMOST_PARALLEL = 0.9995


def load(model: str = "emoji") -> Any:
    """diffusers' pipeline of a model, with the sampler that sdcreative calls DPM++ 2M."""
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from sdcreative.models.sources import fetch, resolve

    pipe = StableDiffusionPipeline.from_pretrained(
        fetch(resolve(model)), dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, algorithm_type="dpmsolver++"
    )
    return pipe


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Along the great arc from a to b, taken as one vector each; straight where they are close."""
    cosine = float((a * b).sum() / (a.norm() * b.norm()))
    if abs(cosine) > ALMOST_PARALLEL:
        return torch.lerp(a, b, t)
    angle = np.arccos(cosine)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def travel(
    pipe: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    frames: int,
    *,
    steps: int,
    guidance_scale: float,
    batch_size: int = 1,
) -> Iterator[Image.Image]:
    """The pictures of all clips, each of so many frames with both of its ends.

    Args:
        pipe: as from ``load``.
        prompts: two or more.
        seeds: one for each.
        frames: of every clip; the film has that many times one less than there are prompts.
    """
    side = pipe.unet.config.sample_size
    shape = (1, pipe.unet.config.in_channels, side, side)
    for (start, seed), (end, other) in pairwise(zip(prompts, seeds, strict=True)):
        with torch.no_grad():
            a, b = (pipe.encode_prompt(text, "cpu", 1, False)[0] for text in (start, end))
        noise, goal = (
            torch.randn(shape, generator=torch.Generator().manual_seed(number))
            for number in (seed, other)
        )
        times = np.linspace(0.0, 1.0, frames).tolist()
        for first in range(0, frames, batch_size):
            batch = times[first : first + batch_size]
            yield from pipe(
                prompt_embeds=torch.cat([torch.lerp(a, b, t) for t in batch]),
                negative_prompt_embeds=None,
                latents=torch.cat([slerp(noise, goal, t) for t in batch]),
                num_inference_steps=steps,
                guidance_scale=guidance_scale,
            ).images


def encode(pictures: Iterator[Image.Image], folder: Path, target: Path, fps: float) -> int:
    """Every picture to a PNG in a folder, then all of these to a film; the number of frames."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        picture.save(folder / f"frame{number:06d}.png")
    whole = np.stack([np.asarray(Image.open(path)) for path in sorted(folder.glob("frame*.png"))])
    height, width = whole.shape[1:3]
    writer = imageio_ffmpeg.write_frames(str(target), (width, height), fps=fps)
    writer.send(None)
    for frame in whole:
        writer.send(np.ascontiguousarray(frame))
    writer.close()
    return len(whole)
