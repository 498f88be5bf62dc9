"""How even a film's steps are: evenly timed, against frames at equal visual steps.

    python benchmarks/retiming.py [--pairs 10] [--frames 12] [--steps 8] [--probes 33]

Every pair of prompts is morphed twice, with the same noise, sampler and number of frames. Prints a
Markdown table of largest / median step, by the metric that timed the frames and by another that did
not. The excess of that ratio over 1, which an even film does not have, is what should fall.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

from PIL.Image import Image

from sdcreative import Arc, Blend, Noise, Retiming, Shot, Studio, Timeline
from sdcreative.core.retiming import measure_steps
from sdcreative.metrics import METRICS, find_metric
from sdcreative.retiming import retime

PAIRS = (
    ("bear", "red apple"),
    ("cat face", "dog face"),
    ("pizza", "hamburger"),
    ("lion", "tiger face"),
    ("carrot", "banana"),
    ("penguin", "rabbit face"),
    ("rose", "mushroom"),
    ("lemon", "strawberry"),
    ("frog", "panda"),
    ("doughnut", "watermelon"),
)
SCALE = 4.0


def film(pair: tuple[str, str], options: argparse.Namespace) -> Timeline:
    """A morph with its frames spread evenly; ``retiming`` spreads them over the length."""
    start, end = (f"a picture of a {thing}" for thing in pair)

    def shot(segment: int, t: float) -> Shot:
        return Shot(Blend(start, end, t), Noise(options.seed), guidance_scale=SCALE)

    def timeline(arcs: Sequence[Arc]) -> Timeline:
        def shots() -> Iterator[Shot]:
            for i in range(options.frames):
                share = i / (options.frames - 1)
                yield shot(0, arcs[0].at(share) if arcs else share)

        retiming = Retiming(
            1, shot, timeline, options.metric, options.probes, options.probe_steps or options.steps
        )
        return Timeline(
            shots, options.frames, steps=options.steps, retiming=None if arcs else retiming
        )

    return timeline(())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--probes", type=int, default=33)
    parser.add_argument("--probe-steps", type=int, default=0, help="0: those of the film")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--metric", choices=METRICS, default="latent")
    parser.add_argument("--judge", choices=METRICS, default="ssim", help="another metric")
    parser.add_argument("--model", default="emoji")
    options = parser.parse_args()
    studio = Studio.load(options.model)
    metrics = {name: find_metric(name, studio) for name in (options.metric, options.judge)}

    def ratios(timeline: Timeline) -> list[float]:
        pictures: list[Image] = list(studio.render(timeline))
        return [measure_steps(metric(pictures)).ratio for metric in metrics.values()]

    print(f"{options.frames} frames, {options.steps} steps, {options.probes} probes of ", end="")
    print(f"{options.probe_steps or options.steps} steps, {studio.parts.device}\n")
    print("| pair | even | retimed", end="")
    print(f" | even, {options.judge} | retimed, {options.judge} | widest gap | seconds |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for pair in PAIRS[: options.pairs]:
        timeline = film(pair, options)
        before = ratios(timeline)
        began = time.perf_counter()
        fresh, report = retime(studio, timeline)
        seconds = time.perf_counter() - began
        after = ratios(fresh)
        rows.append((*before, *after))
        cells = [before[0], after[0], before[1], after[1], report.gap]
        figures = " | ".join(f"{cell:.2f}" for cell in cells)
        print(f"| {pair[0]} to {pair[1]} | {figures} | {seconds:.0f} |", flush=True)
    for name, even, retimed in zip(metrics, (0, 1), (2, 3), strict=True):
        fall = sum(1 - row[retimed] / row[even] for row in rows) / len(rows)
        excess = 1 - sum(row[retimed] - 1 for row in rows) / sum(row[even] - 1 for row in rows)
        print(
            f"\n{name}: the ratio falls by {fall:.0%} on average, its excess over 1 by {excess:.0%}"
        )


if __name__ == "__main__":
    main()
