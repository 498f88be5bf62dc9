"""What changes the picture, and what it saves: feature caching, limited guidance, shared trunks.

    python benchmarks/caching.py [--frames 16] [--prompts 6] [--rounds 1] [--only fast,every]

Renders one film (a bear that turns into an apple) and some single pictures in every setting, with
the built-in model on the CPU, and compares them with those of `speed: exact`. Seconds are those of
the processor, so that other programs on the machine count little; the fastest round is taken. With
`--shares` it prints instead what a shallow call costs at every depth.

- PSNR and SSIM are those of all frames to the exact ones.
- Jitter is the mean of |x[i-1] - 2 x[i] + x[i+1]| over the film's frames, as a share of the exact
  film's: 1 is as smooth, more flickers.
- CLIP is the mean cosine of the single pictures and their prompts by the built-in pair, times 100;
  beside it how many of them the pair takes for what was asked, among all prompts of the list.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from PIL import Image

from sdcreative import Blend, Noise, RenderSettings, Shot, Studio, Timeline
from sdcreative.metrics import structural_similarity
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.shallow import full_and_shallow
from sdcreative_plugins.animate.settings import AnimateSettings
from sdcreative_plugins.animate.timeline import timeline as film_of

THINGS = (
    "bear", "red apple", "cat face", "guitar", "pizza", "rocket", "house", "fish",
    "tree", "car", "star", "clown face",
)  # fmt: skip
SEED, SCALE, FPS = 9, 4.0, 12.0


@dataclass(frozen=True)
class Setting:
    """One way of making the pictures.

    Attributes:
        name: in the table.
        values: settings of a tool.
    """

    name: str
    values: dict[str, Any] = field(default_factory=dict)


def settings() -> list[Setting]:
    """The rows of the table, the exact one first."""

    def cached(name: str, **values: Any) -> Setting:
        return Setting(f"cache {name}", {"cache": {"first": 0, "depth": 1, **values}})

    def uniform(every: int, depth: int = 1, first: int = 0) -> Setting:
        name = f"every {every}, depth {depth}" + (f", first {first}" if first else "")
        return cached(name, every=every, depth=depth, first=first)

    def centred(every: int, depth: int, centre: float) -> Setting:
        name = f"every {every}, depth {depth}, centred at {centre:g}"
        return cached(name, every=every, depth=depth, schedule="centred", centre=centre)

    def limited(start: float, stop: float) -> Setting:
        values = {"guidance": {"interval": [start, stop]}}
        return Setting(f"guidance interval {start:g} to {stop:g}", values)

    return [
        Setting("exact"),
        *(uniform(every, depth) for every in (2, 3, 5) for depth in (1, 2, 3)),
        *(uniform(every, 1, first) for every, first in ((3, 3), (3, 4), (4, 4))),
        *(uniform(every, 2, 4) for every in (2, 3, 5)),
        centred(3, 1, 0.0),
        *(centred(every, 2, centre) for every in (3, 5) for centre in (0.0, 0.3, 0.7)),
        *(limited(0, stop) for stop in (0.8, 0.6, 0.4)),
        *(limited(start, 1) for start in (0.1, 0.2)),
        limited(0.1, 0.8),
        *(Setting(f"coherence {share:g}", {"coherence": share}) for share in (0.3, 0.5, 0.8)),
        *(Setting(f"steps {steps}", {"steps": steps}) for steps in (14, 10, 8, 7)),
        Setting("fast", {"speed": "fast"}),
        Setting("fast, coherence 0.5", {"speed": "fast", "coherence": 0.5}),
    ]


@dataclass
class Result:
    """Pictures of one setting, (N, H, W, 3), and the processor's seconds of its fastest round."""

    film: np.ndarray
    singles: np.ndarray
    film_seconds: float
    single_seconds: float


def render(studio: Studio, setting: Setting, options: argparse.Namespace) -> Result:
    values = {"steps": options.steps, "guidance_scale": SCALE, "seed": SEED, **setting.values}
    film = AnimateSettings.model_validate_json(
        json_of({"coherence": 0.0, **values, **bear_to_apple(options.frames)})
    )
    film_seconds, frames = timed(studio, replace(film_of(film), **film.sampling()))
    values.pop("coherence", None)
    told = RenderSettings.model_validate_json(json_of(values))
    shots = [
        Shot(Blend(prompt_of(thing)), Noise(100 + seed), guidance_scale=SCALE)
        for thing in THINGS[: options.prompts]
        for seed in range(options.seeds)
    ]
    single_seconds, singles = timed(
        studio, Timeline(lambda: shots, len(shots), steps=told.steps, **told.sampling())
    )
    return Result(frames, singles, film_seconds, single_seconds)


def bear_to_apple(frames: int) -> dict[str, Any]:
    return {
        "prompts": [prompt_of("bear"), prompt_of("red apple")],
        "frames": frames,
        "fps": FPS,
        "ease": "in-out",
    }


def prompt_of(thing: str) -> str:
    return f"a picture of a {thing}"


def json_of(values: dict[str, Any]) -> str:
    import json

    return json.dumps(values)


def timed(studio: Studio, timeline: Timeline) -> tuple[float, np.ndarray]:
    began = time.process_time()
    pictures = list(studio.render(timeline, batch_size=8))
    return time.process_time() - began, np.stack([np.asarray(one) for one in pictures])


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Of all pictures together; infinite for equal ones."""
    error = np.square(a.astype(float) - b.astype(float)).mean()
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over all pictures."""
    first, second = (torch.from_numpy(one).permute(0, 3, 1, 2).double() / 255 for one in (a, b))
    return float(structural_similarity(first, second).mean())


def jitter(film: np.ndarray) -> float:
    """Mean size of the second differences of neighbouring frames, of values in 0 to 255."""
    values = film.astype(float)
    return float(np.abs(values[:-2] - 2 * values[1:-1] + values[2:]).mean())


def clip_scores(pair: Any, singles: np.ndarray, seeds: int) -> tuple[float, int]:
    """Mean cosine with what was asked for, times 100; and how many fit that best of all."""
    things = THINGS[: len(singles) // seeds]
    likeness = pair.likeness(
        [Image.fromarray(one) for one in singles], [prompt_of(thing) for thing in THINGS]
    )
    asked = torch.arange(len(things)).repeat_interleave(seeds)
    right = int((likeness.argmax(dim=1) == asked).sum())
    return 100 * float(likeness[torch.arange(len(singles)), asked].mean()), right


def print_shares(studio: Studio) -> None:
    """A shallow call against a full one, at every depth: operations and the processor's seconds."""
    from torch.utils.flop_counter import FlopCounterMode

    unet = studio.parts.unet
    side = unet.config.sample_size
    latents = torch.randn(8, unet.config.in_channels, side, side)
    told = torch.randn(8, studio.parts.context, unet.config.cross_attention_dim)
    time_step = torch.tensor(500)
    print("| depth | operations of a shallow call | seconds |\n|---|---|---|")
    for depth in range(1, sum(len(block.resnets) for block in unet.up_blocks) + 1):
        full, shallow = full_and_shallow(unet, depth)
        with torch.inference_mode():
            _, features = full(latents, time_step, told, None)
            calls = (
                lambda full=full: full(latents, time_step, told, None),
                lambda shallow=shallow, features=features: shallow(
                    latents, time_step, told, None, features
                ),
            )
            counts, seconds = [], []
            for call in calls:
                with FlopCounterMode(display=False) as counter:
                    call()
                counts.append(counter.get_total_flops())
                rounds = []
                for _ in range(7):
                    began = time.process_time()
                    call()
                    rounds.append(time.process_time() - began)
                seconds.append(min(rounds))
        print(f"| {depth} | {counts[1] / counts[0]:.3f} | {seconds[1] / seconds[0]:.3f} |")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--prompts", type=int, default=6, help=f"up to {len(THINGS)}")
    parser.add_argument("--seeds", type=int, default=2, help="pictures of each prompt")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--only", default="", help="parts of settings' names, with commas between")
    parser.add_argument("--shares", action="store_true", help="what shallow calls cost; no film")
    options = parser.parse_args(arguments)
    studio = Studio.load(options.model, device="cpu")
    if options.shares:
        print_shares(studio)
        return
    wanted = [part for part in options.only.split(",") if part]
    rows = [
        row
        for number, row in enumerate(settings())
        if not number or not wanted or any(part in row.name for part in wanted)
    ]
    pair = load_pair("emoji", device="cpu")
    results: dict[str, Result] = {}
    for _ in range(options.rounds):
        for row in rows:
            found = render(studio, row, options)
            known = results.setdefault(row.name, found)
            known.film_seconds = min(known.film_seconds, found.film_seconds)
            known.single_seconds = min(known.single_seconds, found.single_seconds)
    exact = results["exact"]
    count = len(exact.singles)
    print(f"{options.model}, {options.frames} frames, {count} pictures, {options.steps} steps\n")
    print("| setting | film, CPU s | times faster | pictures, times faster ", end="")
    print("| film PSNR | SSIM | jitter | pictures PSNR | SSIM | CLIP | named |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, one in results.items():
        score, named = clip_scores(pair, one.singles, options.seeds)
        cells = [
            name,
            f"{one.film_seconds:.2f}",
            f"{exact.film_seconds / one.film_seconds:.2f}",
            f"{exact.single_seconds / one.single_seconds:.2f}",
            f"{psnr(exact.film, one.film):.1f}",
            f"{ssim(exact.film, one.film):.3f}",
            f"{jitter(one.film) / jitter(exact.film):.2f}",
            f"{psnr(exact.singles, one.singles):.1f}",
            f"{ssim(exact.singles, one.singles):.3f}",
            f"{score:.1f}",
            f"{named}/{count}",
        ]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
