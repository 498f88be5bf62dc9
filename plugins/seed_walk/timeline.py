"""Settings of the `seed_walk` tool to a timeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from sdcreative import (
    Arc,
    Blend,
    Mixture,
    Noise,
    Retiming,
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
    """One shot per frame, each with a noise of its own.

    Raises:
        SettingError: a sound too short or too long for the walk.
        DataError: a sound that cannot be read.
    """
    audio = settings.audio
    if audio:
        from sdcreative import hear, sound_seconds
    times = settings.times(sound_seconds(audio) if audio and settings.by_ear else None)
    length = times[-1] + (0 if settings.closed else 1)
    energy = hear(audio, settings.fps, length).energy(audio.drive) if audio else ()
    legs = len(times) - 1
    walk = _walk(settings, times[-1])

    def shot(leg: int, t: float) -> Shot:
        share = (times[leg] + t * (times[leg + 1] - times[leg])) / times[-1]
        negative = Blend(settings.negative_prompt)
        return Shot(_scene(settings, share), walk(leg, t), negative, settings.guidance_scale)

    def film(arcs: Sequence[Arc] = ()) -> Timeline:
        """The frames; given the arc lengths of the legs, at equal steps along them."""
        stops = _in_proportion(times, [arc.length for arc in arcs])
        path = positions(stops, length, [settings.ease] * legs, settings.closed, energy=energy)

        def shots() -> Iterator[Shot]:
            for at in path:
                yield shot(at.segment, arcs[at.segment].at(at.t) if arcs else at.t)

        retiming = None
        if settings.timing == "perceptual" and not arcs:
            probing = settings.metric, settings.probes, settings.steps
            retiming = Retiming(legs, shot, film, *probing)
        return Timeline(
            shots,
            length,
            steps=settings.steps,
            sampler=settings.sampler,
            size=settings.size,
            fps=settings.fps,
            ping_pong=settings.ping_pong,
            closed=settings.closed,
            retiming=retiming,
            sound=audio.sound() if audio else None,
        )

    return film()


def _walk(settings: SeedWalkSettings, frames: int) -> Callable[[int, float], Noise | Mixture]:
    """(leg, share of it) -> the noise there."""
    seeds = settings.stops
    wandering: list[Terms] = []
    if settings.walk == "random":
        count = frames + (0 if settings.closed else 1)
        step = math.pi / 2 / settings.frames_to_next
        wandering = list(seed_wander(seeds, count, step, settings.seed, closed=settings.closed))

    def noise(leg: int, t: float) -> Noise | Mixture:
        if settings.walk == "random":
            terms = _along(wandering, t, settings.closed)
        elif settings.walk == "circle":
            terms = seed_circle(seeds[0], seeds[1], t)
        elif settings.walk == "around":
            terms = seed_orbit(seeds[0], seeds[1], seeds[2], settings.radius, t)
        elif settings.smooth:
            terms = seed_curve(seeds, leg, t, settings.closed)
        else:
            terms = seed_arc(seeds[leg], seeds[(leg + 1) % len(seeds)], t)
        # On a seed its own noise, so that its picture is the one that `image` makes of it.
        seed = terms[0][0]
        return Noise(seed) if terms == ((seed, 1.0),) else Mixture(terms)

    return noise


def _along(points: Sequence[Terms], share: float, closed: bool) -> Terms:
    """A point of the sphere on the way through others, all of them equally far apart."""
    index, t = _place(share, len(points) - (0 if closed else 1))
    if t == 0:
        return points[index % len(points)]
    start, end = (dict(points[i % len(points)]) for i in (index, index + 1))
    sums = {s: (1 - t) * start.get(s, 0.0) + t * end.get(s, 0.0) for s in start | end}
    radius = math.hypot(*sums.values())
    return tuple((seed, weight / radius) for seed, weight in sums.items())


def _scene(settings: SeedWalkSettings, share: float) -> Blend:
    """The prompt at a share of the whole walk: all of them in turn, each as long as the others."""
    scenes = settings.scenes
    index, t = _place(share, len(scenes) - (0 if settings.closed else 1))
    start, end = (scenes[i % len(scenes)] for i in (index, index + 1))
    return Blend(start, end, t) if t > 0 and start != end else Blend(start)


def _place(share: float, legs: int) -> tuple[int, float]:
    """Which of so many equal legs a share of the way lies in, and how much of that leg it is."""
    place = round(share * legs, 9)  # so that what is meant to be on a corner is on it
    return int(place), place % 1


def _in_proportion(times: list[int], lengths: Sequence[float]) -> list[int]:
    """When legs end: each takes one frame, and of those that are left its share of the length."""
    whole = sum(lengths)
    if not whole:
        return times
    rest = times[-1] - len(lengths)
    reached = accumulate(lengths, initial=0.0)
    return [leg + round(rest * length / whole) for leg, length in enumerate(reached)]
