"""The film by diffusers' pipelines: frame by frame, compiled, and as stable-diffusion-videos."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpu_film import FPS, PROMPTS, SCALE, Clock, Film, same_in_float32
from gpu_machine import timed
from gpu_process import Notes

NO_MODE = "none"
"""in place of a mode of torch.compile: everything but compiling, for small runs"""


class Peer:
    """A pipeline of diffusers and the film's embeddings and noise.

    Args:
        film: what to make.
        compiled: by the recipe of diffusers' guide "Accelerate inference".
    """

    def __init__(self, film: Film, compiled: bool) -> None:
        import torch
        from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler

        self.film = film
        if compiled:
            from torch._inductor import config

            # The guide's settings come before anything is compiled.
            config.conv_1x1_as_mm = True
            config.coordinate_descent_tuning = True
            config.epilogue_fusion = False
            config.coordinate_descent_check_all_directions = True
        pipe: Any = DiffusionPipeline.from_pretrained(
            film.model, dtype=getattr(torch, film.dtype), local_files_only=True
        ).to(film.device)
        pipe.set_progress_bar_config(disable=True)
        pipe.scheduler = DPMSolverMultistepScheduler.from_config(
            pipe.scheduler.config, algorithm_type="dpmsolver++"
        )
        if compiled:
            pipe.unet.to(memory_format=torch.channels_last)
            pipe.vae.to(memory_format=torch.channels_last)
            how: dict[str, Any] = {"mode": film.mode, "fullgraph": True}
            if film.mode == NO_MODE:
                how = {"disable": True}
            pipe.unet = torch.compile(pipe.unet, **how)
            pipe.vae.decode = torch.compile(pipe.vae.decode, **how)
        self.pipe = pipe
        self.batch = film.batch or 1
        # Full batches only: another size would be compiled anew. Rows too many are dropped.
        self.padded = compiled
        shape = (1, pipe.unet.config.in_channels, film.size // 8, film.size // 8)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(film.seed))
        # The pipeline takes latents in the type that they come in, which must be the U-Net's.
        self.noise = noise.to(film.device, pipe.unet.dtype)
        self.ends = [self._encoded(prompt) for prompt in PROMPTS]

    def _encoded(self, prompt: str) -> dict[str, Any]:
        """Embeddings by the pipeline's name for them."""
        import torch

        names = ("prompt_embeds", "negative_prompt_embeds")
        pooled = ("pooled_prompt_embeds", "negative_pooled_prompt_embeds")
        with torch.no_grad():
            found = self.pipe.encode_prompt(
                prompt=prompt,
                device=self.film.device,
                num_images_per_prompt=1,
                do_classifier_free_guidance=True,
            )
        return dict(zip((*names, *pooled), found, strict=False))

    def batches(self, frames: int) -> Iterator[range]:
        """Numbers of the first frames of the film, in batches."""
        for start in range(0, frames, self.batch):
            yield range(start, min(start + self.batch, frames))

    def made(self, rows: range, steps: int, output: str = "pil") -> Any:
        """Pictures of some frames, or with output="latent" their latents (N, C, h, w)."""
        import torch

        times = [row / (self.film.frames - 1) for row in rows]
        times += [times[-1]] * (self.batch - len(rows) if self.padded else 0)
        start, end = self.ends
        given = {
            name: torch.cat([torch.lerp(start[name], end[name], t) for t in times])
            for name in start
        }
        found = self.pipe(
            **given,
            latents=torch.cat([self.noise] * len(times)),
            num_inference_steps=steps,
            guidance_scale=SCALE,
            height=self.film.size,
            width=self.film.size,
            output_type=output,
        ).images
        return found[: len(rows)]

    def pictures(self, frames: int, steps: int) -> Iterator[Any]:
        """The first pictures of the film, one by one."""
        for rows in self.batches(frames):
            yield from self.made(rows, steps)

    def latents(self, frames: int) -> Iterator[Any]:
        """Final latents (C, h, w) of the first frames, in float32 on the CPU."""
        for rows in self.batches(frames):
            yield from self.made(rows, self.film.steps, "latent").float().cpu()


def film(task: dict[str, Any], notes: Notes) -> None:
    """Make the film; ``way`` of the task is walk, plain or compiled."""
    film, way = Film.of(task), task["way"]
    peer = Peer(film, way == "compiled")
    notes(batch=peer.batch)
    clock = Clock(film, notes)
    if film.warm:
        for _ in peer.pictures(2 * peer.batch, min(2, film.steps)):
            pass
    clock.start()
    pictures = clock.pictures(peer.pictures(film.frames, film.steps))
    if way == "walk":
        from travel_reference import encode

        encode(pictures, Path(film.folder) / "frames", film.target, FPS)
    else:
        stream(pictures, film)
    clock.stop()
    if film.alone:
        frames = min(film.frames, -(-film.alone // peer.batch) * peer.batch)
        seconds = timed(
            film.device,
            lambda: [peer.made(rows, film.steps, "latent") for rows in peer.batches(frames)],
        )
        notes(denoising=seconds / frames)


def begin(task: dict[str, Any], notes: Notes) -> None:
    """Compile, and make no more than the first picture."""
    film = Film.of(task)
    peer = Peer(film, compiled=True)
    clock = Clock(film, notes)
    clock.start()
    next(clock.pictures(peer.pictures(film.frames, film.steps)))


def latents(task: dict[str, Any], notes: Notes) -> None:
    """Final latents (frames, C, h, w) of the film, to a file."""
    import torch

    same_in_float32()
    film = Film.of(task)
    found = torch.stack(list(Peer(film, task["way"] == "compiled").latents(film.frames)))
    save(found, film, notes)


def save(found: Any, film: Film, notes: Notes) -> None:
    """Latents to a file that is noted."""
    import numpy as np

    path = Path(film.folder) / "latents.npy"
    np.save(path, found.numpy())
    notes(latents=str(path))


def stream(pictures: Iterable[Any], film: Film) -> None:
    """Pictures straight into an mp4."""
    import imageio_ffmpeg
    import numpy as np

    writer = imageio_ffmpeg.write_frames(str(film.target), (film.size, film.size), fps=FPS)
    writer.send(None)
    try:
        for picture in pictures:
            writer.send(np.ascontiguousarray(picture))
    finally:
        writer.close()
