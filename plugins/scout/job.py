"""Render every seed in few steps, find the best and their order, and show them on a sheet."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sdcreative import Blend, Job, Noise, Shot, Studio, Timeline, job_tags, open_writer
from sdcreative.models.places import locate

from .order import shortened, smooth_order, steps
from .settings import ScoutSettings
from .sheet import labelled_sheet, sheet_size

# Sides of the pictures that are compared, in pixels.
_LONG_SIDE = 16


def scout(settings: ScoutSettings, job: Job) -> None:
    """Write the sheet, and print the seeds as a preset's line.

    Raises:
        UsageError: a size that the model cannot make, or a sampler that cannot take the steps.
        ModelError: the model cannot be found or read.
        RenderError: a picture came out as NaN.
        OutputError: the sheet exists, or cannot be written.
    """
    if settings.seed == -1 and settings.seeds is None:
        settings = settings.model_copy(update={"seed": random.SystemRandom().randrange(2**32)})
        job.report(f"seed {settings.seed}")
    seeds = settings.seeds or [(settings.seed + i) % 2**32 for i in range(settings.first)]
    keep = min(settings.show, len(seeds))
    output = os.path.expanduser(settings.output)
    studio = Studio.load(
        locate(settings),
        device=settings.device,
        dtype=settings.dtype,
        low_memory=settings.low_memory,
    )
    rank = _by_text(settings) if settings.rank_by == "text" else _by_walk(settings)
    size = studio.check_size(settings.size)
    film = timeline(settings, seeds)
    writer = open_writer(
        output,
        1.0,
        sheet_size(size, keep, settings.columns),
        overwrite=job.overwrite or job.dry_run,
        length=1,
        # No tag `parameters`: which picture comes first is not known before all are made.
        metadata=job_tags("scout", settings, film, size) if job.metadata else None,
    )
    if job.dry_run:
        writer.abort()
        job.report(f"{len(seeds)} pictures in {settings.steps} steps; {keep} of them to {output}")
        return
    with writer:
        pictures = list(studio.render(film, batch_size=settings.batch_size))
        found = rank(pictures, keep)
        labels = [
            f"seed {seeds[i]}\n{note}" for i, note in zip(found.order, found.notes, strict=True)
        ]
        writer.add(labelled_sheet([pictures[i] for i in found.order], labels, settings.columns))
    job.report(f"seeds: {[seeds[i] for i in found.order]}")
    job.report(found.summary)
    job.report(f"{output}: {keep} of {len(seeds)} seeds")


@dataclass(frozen=True)
class Found:
    """Pictures that were chosen.

    Attributes:
        order: their numbers.
        notes: a line below each.
        summary: a line on all.
    """

    order: list[int]
    notes: list[str]
    summary: str


Rank = Callable[[Sequence[Image.Image], int], Found]
"""pictures, and how many of them to keep -> those"""


def _by_walk(settings: ScoutSettings) -> Rank:
    """Keeps those between which steps are short."""

    def rank(pictures: Sequence[Image.Image], keep: int) -> Found:
        distances = visual_distances(pictures)
        everyone = smooth_order(distances, settings.loop)
        order = shortened(everyone, distances, settings.loop, keep)
        ways = steps(order, distances, settings.loop)
        given = steps(range(len(pictures)), distances, settings.loop)
        return Found(
            order,
            [f"to the next {way:.3f}" for way in ways] + [""] * (len(order) - len(ways)),
            f"steps between neighbours: {np.mean(ways):.3f} on average, {max(ways):.3f} at most; "
            f"in the order given {np.mean(given):.3f} and {max(given):.3f}",
        )

    return rank


def _by_text(settings: ScoutSettings) -> Rank:
    """Keeps those that fit the text best, the best first."""
    from sdcreative import load_pair

    text = settings.text or settings.prompt
    pair = load_pair(settings.pair, device=settings.device, offline=settings.offline)
    beyond = pair.beyond(text)
    unread = f"; its last {beyond} tokens are beyond what {pair.name} reads" if beyond else ""

    def rank(pictures: Sequence[Image.Image], keep: int) -> Found:
        fits = pair.likeness(pictures, [text])[:, 0].tolist()
        order = sorted(range(len(pictures)), key=lambda i: -fits[i])[:keep]
        return Found(
            order,
            [f"fits {fits[i]:.3f}" for i in order],
            f"fits {text!r}: {fits[order[0]]:.3f} the best, {fits[order[-1]]:.3f} the last of "
            f"those kept, {np.mean(fits):.3f} on average of all{unread}",
        )

    return rank


def timeline(settings: ScoutSettings, seeds: Sequence[int]) -> Timeline:
    """One shot per seed."""
    shots = [
        Shot(
            Blend(settings.prompt),
            Noise(seed),
            Blend(settings.negative_prompt),
            settings.guidance_scale,
        )
        for seed in seeds
    ]
    return Timeline(
        lambda: shots,
        len(shots),
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        **settings.sampling(),
    )


def visual_distances(pictures: Sequence[Image.Image]) -> list[list[float]]:
    """How different pictures look, from 0 for the same to 1 for black and white.

    The root mean square difference of the pictures' averages over about 16 by 16 fields. Where
    the colours lie is what the eye follows from frame to frame; edges and texture, which the
    averages leave out, differ between any two seeds. Latents would mean another scale with every
    model, and hold texture too.

    Args:
        pictures: RGB, of one size.

    Returns:
        Symmetric, N rows of N.
    """
    width, height = pictures[0].size
    scale = min(1.0, _LONG_SIDE / max(width, height))
    small = (max(1, round(scale * width)), max(1, round(scale * height)))
    shrunk = [each.resize(small, Image.Resampling.BOX) for each in pictures]
    rows = np.stack([np.asarray(each, dtype=np.float64).ravel() / 255 for each in shrunk])
    differences = rows[:, None] - rows[None]
    distances: list[list[float]] = np.sqrt((differences**2).mean(axis=2)).tolist()
    return distances
