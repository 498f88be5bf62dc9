"""A prompt morph on the CPU: ours against diffusers' pipeline, in one run.

    python benchmarks/animate_cpu.py [--frames 50] [--rounds 3] [--model emoji] [--only a,ours0]

Every contender renders the same film (same weights, noise, embeddings, steps, sampler, guidance) in
a process of its own, in turn, for some rounds; the fastest round counts. Loading is not part of a
film's seconds, warming up and compiling neither: what that took is in the column of loading. Prints
a Markdown table; ratios are to (a), and so is the PSNR of our frames. Beside seconds it has those
of the processor, which other programs on the machine change less.
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
from dataclasses import replace
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
    "b16": "diffusers pipeline, batches of 16",
    "c1": "diffusers pipeline, frame by frame, U-Net and decoder compiled",
    "h1": "diffusers pipeline, frame by frame, bfloat16",
    "ours0": "sdcreative, no trunk",
    "ours8": "sdcreative, no trunk, batches of 8",
    "oursc": "sdcreative, no trunk, `compile: on`",
    "oursh": "sdcreative, no trunk, `dtype: bfloat16`",
    "ours": "sdcreative, default coherence",
    "oursfast0": "sdcreative, no trunk, `speed: fast`",
    "oursfast": "sdcreative, default coherence, `speed: fast`",
}
COMPILED = ("c1", "oursc")
SETTINGS: dict[str, dict[str, Any]] = {
    "ours": {},
    "ours0": {"coherence": 0.0},
    "ours8": {"coherence": 0.0, "batch_size": 8},
    "oursc": {"coherence": 0.0, "compile": "on"},
    "oursh": {"coherence": 0.0, "dtype": "bfloat16"},
    "oursfast0": {"coherence": 0.0, "speed": "fast"},
    "oursfast": {"speed": "fast"},
}


def pipeline_frames(model: str, count: int, kind: str) -> Iterator[np.ndarray]:
    """Films as people make them with diffusers: interpolated prompt_embeds, one noise."""
    batch = int(kind[1:] or 1)
    import torch
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from sdcreative.core.interpolation import slerp
    from sdcreative.core.noise import draw_noise
    from sdcreative.models.sources import fetch, resolve

    pipe = StableDiffusionPipeline.from_pretrained(
        fetch(resolve(model)), dtype=torch.bfloat16 if kind[0] == "h" else torch.float32
    )
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, algorithm_type="dpmsolver++"
    )
    size = pipe.unet.config.sample_size
    noise = draw_noise(SEED, (pipe.unet.config.in_channels, size, size))[None]
    with torch.no_grad():
        start, end = (pipe.encode_prompt(p, "cpu", 1, False)[0] for p in PROMPTS)
        free = pipe.encode_prompt("", "cpu", 1, False)[0]

    def pictures(rows: range, steps: int = STEPS) -> Any:
        kept = pipe.unet.dtype
        return pipe(
            prompt_embeds=_cat([slerp(start, end, i / (count - 1)) for i in rows]).to(kept),
            negative_prompt_embeds=_cat([free] * len(rows)).to(kept),
            latents=_cat([noise] * len(rows)).to(kept),
            num_inference_steps=steps,
            guidance_scale=SCALE,
        ).images

    if kind[0] == "c":
        pipe.unet.compile(fullgraph=True)
        pipe.vae.decoder.compile(fullgraph=True)
        pictures(range(batch), steps=2)
    yield np.zeros(0)  # ready
    for first in range(0, count, batch):
        yield from map(np.asarray, pictures(range(first, min(count, first + batch))))


def _cat(rows: list[Any]) -> Any:
    import torch

    return torch.cat(rows)


def our_frames(model: str, count: int, chosen: dict[str, Any]) -> Iterator[np.ndarray]:
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
        **chosen,
    )
    studio = Studio.load(
        model,
        device="cpu",
        dtype=settings.dtype,
        compiling=settings.compile,
        report=lambda line: print(line, file=sys.stderr),
    )
    film = replace(timeline(settings), **settings.sampling())
    if settings.compile == "on":
        # The first batch has all shapes; the same studio keeps what it has compiled.
        first = studio.render(film, batch_size=settings.batch_size)
        next(first)
        first.close()
    yield np.zeros(0)  # ready
    yield from map(np.asarray, studio.render(film, batch_size=settings.batch_size))


def contend(name: str, model: str, count: int, target: str) -> None:
    """Run one contender; its figures go to standard output, its frames to a file."""
    began = time.perf_counter()
    if name in SETTINGS:
        frames = our_frames(model, count, SETTINGS[name])
    else:
        frames = pipeline_frames(model, count, name)
    next(frames)
    ready, busy = time.perf_counter(), time.process_time()
    kept, first = [], 0.0
    for frame in frames:
        first = first or time.perf_counter() - ready
        if target:
            kept.append(frame)
    figures = {
        "load": ready - began,
        "first": first,
        "film": time.perf_counter() - ready,
        "busy": time.process_time() - busy,
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
    parser.add_argument("--only", default="", help=f"some of {','.join(CONTENDERS)}")
    parser.add_argument(
        "--compiled", action="store_true", help="those too that compile for minutes"
    )
    parser.add_argument("--contend", help=argparse.SUPPRESS)
    parser.add_argument("--target", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contend:
        contend(options.contend, options.model, options.frames, options.target)
        return
    chosen = contenders(options.only, options.compiled)
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"Python {platform.python_version()}, {options.frames} frames, {STEPS} steps\n")
    best: dict[str, dict[str, float]] = {}
    equal: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name in chosen:
                wanted = number == 0 and (name == "a" or name in SETTINGS)
                target = str(Path(folder) / f"{name}.npy") if wanted else ""
                figures = run(name, options.model, options.frames, target)
                known = best.setdefault(name, figures)
                best[name] = {key: min(known[key], figures[key]) for key in figures}
        reference = np.load(Path(folder) / "a.npy")
        for name in chosen:
            if name in SETTINGS:
                equal[name] = psnr(reference, np.load(Path(folder) / f"{name}.npy"))
    print(
        "| contender | seconds | ratio to (a) | of the processor | ratio | PSNR to (a), dB |",
        end="",
    )
    print(" first frame, s | load, s |\n|---|---|---|---|---|---|---|---|")
    for name in chosen:
        row = best[name]
        ratio, busy = best["a"]["film"] / row["film"], best["a"]["busy"] / row["busy"]
        same = f"{equal[name]:.1f}" if name in equal else ""
        cells = f"{row['film']:.2f} | {ratio:.2f} | {row['busy']:.2f} | {busy:.2f} | {same}"
        print(f"| {CONTENDERS[name]} | {cells} | {row['first']:.2f} | {row['load']:.1f} |")
    if options.long:
        short = run("ours", options.model, options.frames)["peak"]
        long = run("ours", options.model, options.long)["peak"]
        print(f"\npeak memory: {short:.0f} MiB at {options.frames} frames, ", end="")
        print(f"{long:.0f} MiB at {options.long} ({long / short:.3f} times)")


def contenders(only: str, compiled: bool) -> list[str]:
    """Those that run: (a) always, half precision only where the processor has it."""
    from sdcreative.models.placement import cpu_has_bfloat16

    named = [name for name in only.split(",") if name]
    if unknown := set(named) - set(CONTENDERS):
        raise SystemExit(f"no contender is called {', '.join(sorted(unknown))}")
    if named:
        return [name for name in CONTENDERS if name == "a" or name in named]
    left_out = () if compiled else COMPILED
    half = () if cpu_has_bfloat16() else ("h1", "oursh")
    return [name for name in CONTENDERS if name not in (*left_out, *half)]


if __name__ == "__main__":
    main()
