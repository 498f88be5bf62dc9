"""When every keyframe is shown: settings to times, easings and a number of frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from sdcreative import UsageError
from sdcreative.core.timing import Position, positions

if TYPE_CHECKING:
    from .settings import AnimateSettings, Keyframe

SECONDS_PER_SEGMENT = 2.0


@dataclass(frozen=True)
class Schedule:
    """Times of the keyframes, in frames; a loop has one more, where the first comes again.

    Attributes:
        times: strictly increasing from 0.
        frames: how many frames the film has before it is played backwards.
        easings: one per segment.
    """

    times: tuple[float, ...]
    frames: int
    easings: tuple[str, ...]
    loop: bool

    def positions(self) -> list[Position]:
        """Segment and eased share of every frame."""
        return positions(self.times, self.frames, self.easings, self.loop)


def schedule(settings: AnimateSettings) -> Schedule:
    """Work out the times.

    Raises:
        UsageError: times given in several ways, not increasing, or together with a length.
    """
    keyframes = settings.keyframes
    segments = len(keyframes) - (0 if settings.loop else 1)
    times = _given_times(settings)
    if times is None:
        total = _total(settings, segments)
        times = [total * i / segments for i in range(segments + 1)]
    elif settings.frames is not None or settings.seconds is not None:
        length = "frames" if settings.frames is not None else "seconds"
        raise UsageError(f"'{length}' and times of keyframes exclude each other; leave one out")
    if settings.loop and len(times) == len(keyframes):
        times = [*times, times[-1] + (keyframes[-1].duration or 0) * settings.fps]
        if times[-1] == times[-2]:
            times[-1] += times[-2] / (len(keyframes) - 1)
    frames = max(1, round(times[-1])) + (0 if settings.loop else 1)
    easings = tuple(keyframe.ease or settings.ease for keyframe in keyframes[:segments])
    result = Schedule(tuple(times), frames, easings, settings.loop)
    result.positions()
    return result


def _total(settings: AnimateSettings, segments: int) -> float:
    """Length in frames, from the first frame to the last, or to the first again in a loop."""
    if settings.frames is not None:
        return settings.frames - (0 if settings.loop else 1)
    seconds = settings.seconds or SECONDS_PER_SEGMENT * segments
    frames = max(2, round(seconds * settings.fps))
    return frames - (0 if settings.loop or settings.seconds is None else 1)


def _given_times(settings: AnimateSettings) -> list[float] | None:
    keyframes = settings.keyframes
    ways = {name for name in ("at", "frame") if _all(keyframes, name)}
    durations = [k.duration for k in (keyframes if settings.loop else keyframes[:-1])]
    mentioned = {n for k in keyframes for n in ("at", "frame", "duration") if getattr(k, n) is not None}
    if not mentioned:
        return None
    if len(mentioned) > 1:
        raise UsageError(
            f"keyframes are timed by {' and by '.join(sorted(mentioned))}; use one of them for all"
        )
    if mentioned == {"duration"}:
        if None in durations:
            raise UsageError("some keyframes have a 'duration' and some have none; give it to all")
        times = list(accumulate((d * settings.fps for d in durations if d), initial=0.0))
    elif not ways:
        raise UsageError(f"some keyframes have '{mentioned.pop()}' and some have none; give it to all")
    elif ways == {"at"}:
        times = [(k.at or 0.0) * settings.fps for k in keyframes]
    else:
        times = [float(k.frame or 0) for k in keyframes]
    if times[0] != 0:
        raise UsageError("the first keyframe has to be at 0")
    if any(b <= a for a, b in pairwise(times)):
        raise UsageError("keyframes have to follow each other in time, each later than the one before")
    return times


def _all(keyframes: list[Keyframe], name: str) -> bool:
    return all(getattr(keyframe, name) is not None for keyframe in keyframes)
