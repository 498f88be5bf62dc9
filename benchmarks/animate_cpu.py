"""A prompt morph on the CPU: ours against diffusers' pipeline, in one run.

    python benchmarks/animate_cpu.py [--frames 50] [--rounds 3] [--model emoji]

Every contender renders the same film (same weights, noise, embeddings, steps, sampler, guidance) in
a process of its own, in turn, for some rounds; the fastest round counts. Loading is not part of a
film's seconds, warming up neither. Prints a Markdown table; ratios are to (a).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PROMPTS = ("a picture of a bear", "a picture of a red apple")
STEPS, SCALE, SEED = 20, 4.0, 3
CONTENDERS = {
    "a": "diffusers pipeline, frame by frame",
    "b2": "diffusers pipeline, batches of 2",
    "b4": "diffusers pipeline, batches of 4",
    "b8": "diffusers pipeline, batches of 8",
    "ours0": "sdcreative, no trunk",
    "ours": "sdcreative, default coherence",
}


def pipeline_frames(model: str, count: int, batch: int) -> Iterator[np.ndarray]:
    """Films as people make them with diffusers: interpolated prompt_embeds, one noise."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from sdcreative.core.interpolation import slerp
    from sdcreative.core.noise import draw_noise
    from sdcreative.models.sources import fetch, resolve

    pipe = StableDiffusionPipeline.from_pretrained(fetch(resolve(model)), dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, algorithm_type="dpmsolver++"
    )
    size = pipe.unet.config.sample_size
    noise = draw_noise(SEED, (pipe.unet.config.in_channels, size, size))[None]
    with torch.no_grad():
        start, end = (pipe.encode_prompt(p, "cpu", 1, False)[0] for p in PROMPTS)
        free = pipe.encode_prompt("", "cpu", 1, False)[0]
    yield np.zeros(0)  # ready
    for first in range(0, count, batch):
        rows = range(first, min(count, first + batch))
        output = pipe(
            prompt_embeds=_cat([slerp(start, end, i / (count - 1)) for i in rows]),
            negative_prompt_embeds=_cat([free] * len(rows)),
            latents=_cat([noise] * len(rows)),
            num_inference_steps=STEPS,
            guidance_scale=SCALE,
        )
        yield from (np.asarray(image) for image in output.images)


def _cat(rows: list[Any]) -> Any:
    import torch

    return torch.cat(rows)


def our_frames(model: str, count: int, coherence: float) -> Iterator[np.ndarray]:
    """The same film by the `animate` plugin."""
    from sdcreative import Studio
    from sdcreative_plugins.animate.settings import AnimateSettings
    from sdcreative_plugins.animate.timeline import timeline

    settings = AnimateSettings(
        prompts=list(PROMPTS),
        frames=count,
        steps=STEPS,
        guidance_scale=SCALE,
        seed=SEED,
        coherence=coherence,
    )
    studio = Studio.load(model, device="cpu")
    yield np.zeros(0)  # ready
    yield from (np.asarray(picture) for picture in studio.render(timeline(settings)))


def contend(name: str, model: str, count: int, target: str) -> None:
    """Run one contender; its figures go to standard output, its frames to a file."""
    from sdcreative_plugins.animate.settings import AnimateSettings

    began = time.perf_counter()
    if name.startswith("ours"):
        default = AnimateSettings.model_fields["coherence"].default
        frames = our_frames(model, count, 0.0 if name == "ours0" else default)
    else:
        frames = pipeline_frames(model, count, int(name[1:] or 1))
    next(frames)
    ready = time.perf_counter()
    kept, first = [], 0.0
    for frame in frames:
        first = first or time.perf_counter() - ready
        if target:
            kept.append(frame)
    figures = {
        "load": ready - began,
        "first": first,
        "film": time.perf_counter() - ready,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if target:
        np.save(target, np.stack(kept))
    print(json.dumps(figures))


def run(name: str, model: str, count: int, target: str = "") -> dict[str, float]:
    command = [sys.executable, __file__, "--contend", name, "--model", model]
    command += ["--frames", str(count), "--target", target]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"{name} failed:\n{result.stderr}")
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return figures


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.square(a.astype(float) - b.astype(float)).mean()
    return float("inf") if error == 0 else 10 * np.log10(255**2 / error)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--long", type=int, default=500, help="frames of the memory check; 0: none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        contend(options.contend, options.model, options.frames, options.target)
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, {options.frames} frames, {STEPS} steps\n")
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        frames = {name: str(Path(folder) / f"{name}.npy") for name in ("a", "ours0")}
        for number in range(options.rounds):
            for name in CONTENDERS:
                target = frames.get(name, "") if number == 0 else ""
                figures = run(name, options.model, options.frames, target)
                known = best.setdefault(name, figures)
                best[name] = {key: min(known[key], figures[key]) for key in figures}
        equal = psnr(np.load(frames["a"]), np.load(frames["ours0"]))
    print("| contender | seconds | ratio to (a) | first frame, s | load, s |")
    print("|---|---|---|---|---|")
    for name, title in CONTENDERS.items():
        row = best[name]
        ratio = best["a"]["film"] / row["film"]
        cells = f"{row['film']:.2f} | {ratio:.2f} | {row['first']:.2f} | {row['load']:.1f}"
        print(f"| {title} | {cells} |")
    print(f"\nPSNR of our frames without trunk to those of (a): {equal:.1f} dB")
    if options.long:
        short = run("ours", options.model, options.frames)["peak"]
        long = run("ours", options.model, options.long)["peak"]
        print(f"peak memory: {short:.0f} MiB at {options.frames} frames, ", end="")
        print(f"{long:.0f} MiB at {options.long} ({long / short:.3f} times)")


if __name__ == "__main__":
    main()
