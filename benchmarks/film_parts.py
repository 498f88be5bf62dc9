"""What `films.py` measures in processes of their own; each prints JSON.

python benchmarks/film_parts.py pairs|judge|CONTENDER FOLDER [--clip 24] [--steps 20] ...
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

PROMPTS = ("a picture of a bear", "a picture of a red apple", "a picture of a cat face")
SEEDS = (3, 8, 21)
SCALE, FPS = 4.0, 12.0
CONTENDERS = {
    "single": "the peer's way, frame by frame",
    "batched": "the peer's way, batches of 8",
    "ours": "sdcreative, `timing: even`",
    "perceptual": "sdcreative, `timing: perceptual`",
}


def measure_pairs(options: Namespace) -> None:
    """A line for every pair of prompts: its name, and largest / median step of both timings."""
    import retiming
    from sdcreative import Studio, find_metric
    from sdcreative.core.retiming import measure_steps
    from sdcreative.retiming import retime

    film = Namespace(frames=12, steps=8, probe_steps=0, seed=SEEDS[0], metric="latent")
    film.probes = options.probes
    studio = Studio.load(options.model, device="cpu")
    metric = find_metric(film.metric, studio)
    for pair in retiming.PAIRS[: options.pairs]:
        even = retiming.film(pair, film)
        ratios = [
            measure_steps(metric(list(studio.render(timeline)))).ratio
            for timeline in (even, retime(studio, even)[0])
        ]
        print(json.dumps([" to ".join(pair), *ratios]))


def contend(options: Namespace) -> None:
    """Make the film in one of the ways; seconds without loading, and the peak of memory."""
    target = options.folder
    if options.part in ("single", "batched"):
        import travel_reference

        pipe = travel_reference.load(options.model)
        began = time.perf_counter()
        pictures = travel_reference.travel(
            pipe,
            PROMPTS,
            SEEDS,
            options.clip,
            steps=options.steps,
            guidance_scale=SCALE,
            batch_size=8 if options.part == "batched" else 1,
        )
        travel_reference.encode(pictures, target, target.with_suffix(".mp4"), FPS)
        seconds = time.perf_counter() - began
    else:
        film = _our_film(options)
        began = time.perf_counter()
        film(f"{target}.mp4")
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if not target.exists():
        film(f"{target}/")  # the same frames, to be judged
    print(json.dumps({"film": seconds, "peak": peak}))


def _our_film(options: Namespace) -> Callable[[str], None]:
    """What writes the film to a path; the model is loaded. Frames of an earlier path are kept."""
    from sdcreative.models.sources import fetch, resolve
    from sdcreative.produce import produce
    from sdcreative.studio import Studios
    from sdcreative_plugins.animate import sdcreative_tools
    from sdcreative_plugins.animate.settings import AnimateSettings

    [tool] = sdcreative_tools()
    studios = Studios()
    studios.load(fetch(resolve(options.model)), "cpu", "auto")
    pairs = zip(PROMPTS, SEEDS, strict=True)
    given = {
        "model": options.model,
        "keyframes": [{"prompt": prompt, "seed": seed} for prompt, seed in pairs],
        "frames": options.clip * (len(PROMPTS) - 1),
        "steps": options.steps,
        "guidance_scale": SCALE,
        "fps": FPS,
        "interpolation": "lerp",
        "timing": "perceptual" if options.part == "perceptual" else "even",
        "device": "cpu",
    }

    def film(output: str) -> None:
        produce(
            tool,
            AnimateSettings(**given, output=output),
            default_name="film",
            overwrite=False,
            dry_run=False,
            report=lambda line: None,
            studios=studios,
        )

    return film


def judge(options: Namespace) -> None:
    """How even the films are that the contenders left in their folders."""
    from PIL import Image

    from sdcreative import Studio, find_metric
    from sdcreative.smoothness.analysis import analyse

    metric = find_metric("latent", Studio.load(options.model, device="cpu"))
    found = {}
    for name in CONTENDERS:
        files = sorted((options.folder / f"{name}0").glob("*.png"))
        film = analyse((Image.open(file) for file in files), metric)
        found[name] = {"ratio": film.ratio, "duplicates": len(film.duplicates)}
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["pairs", "judge", *CONTENDERS])
    parser.add_argument("folder", type=Path, help="where contenders leave their frames")
    parser.add_argument("--model", default="emoji")
    for name, value in (("clip", 24), ("steps", 20), ("pairs", 4), ("probes", 33)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    {"pairs": measure_pairs, "judge": judge}.get(options.part, contend)(options)


if __name__ == "__main__":
    main()
