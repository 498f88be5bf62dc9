"""Settings of the `seed_walk` tool to a timeline."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sdcreative import (
    Blend,
    Mixture,
    Noise,
    Position,
    Shot,
    Timeline,
    positions,
    seed_arc,
    seed_circle,
    seed_curve,
    seed_orbit,
    seed_wander,
)

from .settings import SeedWalkSettings

Terms = tuple[tuple[int, float], ...]


def timeline(settings: SeedWalkSettings) -> Timeline:
    """One shot per frame, each with a noise of its own."""
    times = settings.times()
    length = times[-1] + (0 if settings.closed else 1)
    path = positions(times, length, [settings.ease] * (len(times) - 1), settings.closed)
    scenes = _scenes(settings, length)

    def shots() -> Iterator[Shot]:
        for prompt, terms in zip(scenes, _walk(settings, path), strict=True):
            yield Shot(
                prompt, _noise(terms), Blend(settings.negative_prompt), settings.guidance_scale
            )

    return Timeline(
        shots,
        length,
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        fps=settings.fps,
        ping_pong=settings.ping_pong,
    )


def _walk(settings: SeedWalkSettings, path: list[Position]) -> Iterator[Terms]:
    """Seeds and their weights, frame by frame."""
    seeds = settings.stops
    if settings.walk == "random":
        step = math.pi / 2 / settings.frames_to_next
        yield from seed_wander(seeds, len(path), step, settings.seed, closed=settings.closed)
        return
    for at in path:
        if settings.walk == "circle":
            yield seed_circle(seeds[0], seeds[1], at.t)
        elif settings.walk == "around":
            yield seed_orbit(seeds[0], seeds[1], seeds[2], settings.radius, at.t)
        elif settings.smooth:
            yield seed_curve(seeds, at.segment, at.t, settings.closed)
        else:
            yield seed_arc(seeds[at.segment], seeds[(at.segment + 1) % len(seeds)], at.t)


def _noise(terms: Terms) -> Noise | Mixture:
    """On a seed its own noise, so that its picture is the one that `image` makes of it."""
    seed = terms[0][0]
    return Noise(seed) if terms == ((seed, 1.0),) else Mixture(terms)


def _scenes(settings: SeedWalkSettings, length: int) -> list[Blend]:
    """The prompt of every frame: all of them in turn, evenly over the film."""
    scenes = settings.scenes
    if len(scenes) == 1:
        return [Blend(scenes[0])] * length
    legs = len(scenes) - (0 if settings.closed else 1)
    path = positions(range(legs + 1), length, ["linear"] * legs, settings.closed)
    blends = []
    for at in path:
        start, end = scenes[at.segment], scenes[(at.segment + 1) % len(scenes)]
        blends.append(Blend(start, end, at.t) if 0 < at.t < 1 else Blend(end if at.t else start))
    return blends
