"""Settings of the `animate` tool to a timeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from sdcreative import (
    Arc,
    Between,
    Frame,
    Position,
    Retiming,
    Timeline,
)

from .listening import listen
from .scenes import read_scenes
from .schedule import Schedule
from .settings import AnimateSettings
from .walk import Walk


def timeline(settings: AnimateSettings) -> Timeline:
    """Shots along the path through the keyframes, with in-betweens where they are asked for.

    Raises:
        SettingError: settings that do not fit the sound, or the stills.
        DataError: a picture, still or sound that cannot be used.
    """
    scenes, size = read_scenes(settings)
    settings = settings.model_copy(update={"size": size})
    plan, heard = listen(settings)
    walk = Walk(settings, plan, scenes, heard)
    path = plan.positions()
    retiming = None
    if settings.timing == "perceptual":
        retiming = Retiming(
            segments=len(walk.plan.easings),
            shot=lambda segment, t: walk.shot(Position(segment, t)),
            timeline=lambda arcs: _retimed(walk, arcs),
            metric=settings.metric,
            probes=settings.probes,
            steps=settings.steps,
        )
    return _timeline(walk, path, path, retiming)


def _retimed(walk: Walk, arcs: Sequence[Arc]) -> Timeline:
    """The film with its frames where equal shares of the arcs' lengths are covered."""
    plan: Schedule = walk.plan.in_proportion([arc.length for arc in arcs])
    shares = plan.positions()
    path = [
        Position(at.segment, arcs[at.segment].at(at.t)) if 0 < at.t < 1 else at for at in shares
    ]
    return _timeline(walk, path, shares, None)


def _timeline(
    walk: Walk, path: list[Position], shares: list[Position], retiming: Retiming | None
) -> Timeline:
    """A film.

    Args:
        walk: what is shown where.
        path: the place of every frame.
        shares: how far along its segment every frame looks to be.
        retiming: how to make it anew, if at all.
    """
    settings = walk.settings
    last = len(path) - 1
    regular = range(0, last + 1, settings.inbetween + 1)
    # A loop need not end with a shot: it leads back to the first one.
    shots = sorted({*regular, *_keyframes(path), *([] if settings.loop else [last])})

    def frames() -> Iterator[Frame]:
        for before, after in pairwise(shots):
            yield walk.shot(path[before], before)
            for i in range(before + 1, after):
                yield Between(_share(shares[before], shares[i], shares[after]))
        final = shots[-1]
        yield walk.shot(path[final], final)
        for i in range(final + 1, last + 1):
            yield Between(_share(shares[final], shares[i], Position(len(walk.plan.easings), 0.0)))

    return Timeline(
        frames,
        len(path),
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        fps=settings.fps,
        ping_pong=settings.ping_pong,
        closed=settings.loop,
        retiming=retiming,
        sound=None if settings.audio is None else settings.audio.sound(),
    )


def _keyframes(path: list[Position]) -> list[int]:
    """Frames that show a keyframe, which is never left to in-betweens; of a hold the first."""
    return [i for i, p in enumerate(path) if p.t == 0 and (i == 0 or path[i - 1] != p)]


def _share(before: Position, here: Position, after: Position) -> float:
    """Where a frame lies on the eased way between two others, in [0, 1]."""
    span = _distance(after) - _distance(before)
    if span <= 0:
        return 0.0
    # An easing that bounces may be beyond either of them.
    return min(1.0, max(0.0, (_distance(here) - _distance(before)) / span))


def _distance(position: Position) -> float:
    return position.segment + position.t
