"""When every keyframe is shown: settings to times, easings and a number of frames."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from sdcreative import Position, SettingError, positions

if TYPE_CHECKING:
    from .settings import AnimateSettings

MAX_FRAMES = 1_000_000
TIMES = ("at", "frame", "duration")
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
        SettingError: times given in several ways, not increasing, or together with a length.
        UsageError: an easing that leaves [0, 1].
    """
    keyframes = list(settings.stops.values())
    segments = len(keyframes) - (0 if settings.loop else 1)
    times = _given_times(settings)
    if times is None:
        total = _total(settings, segments)
        times = [total * i / segments for i in range(segments + 1)]
    else:
        for length in ("frames", "seconds"):
            if getattr(settings, length) is not None:
                raise SettingError("the keyframes have times already; leave one out", length)
        if len(times) == segments:
            # The way back to the first keyframe lasts as long as the others do on average.
            times.append(times[-1] + times[-1] / (segments - 1))
    if not times[-1] <= MAX_FRAMES:
        key = ["seconds"] if settings.seconds is not None else []
        raise SettingError(f"a film of over {MAX_FRAMES:,} frames; shorten it or lower 'fps'", *key)
    frames = max(1, round(times[-1])) + (0 if settings.loop else 1)
    easings = tuple(keyframe.ease or settings.ease for keyframe in keyframes[:segments])
    result = Schedule(tuple(times), frames, easings, settings.loop)
    result.positions()
    return result


def _total(settings: AnimateSettings, segments: int) -> float:
    """Length in frames, from the first frame to the last, or to the first again in a loop."""
    if settings.frames is not None:
        return settings.frames - (0 if settings.loop else 1)
    if settings.seconds is None:
        return max(2.0, SECONDS_PER_SEGMENT * segments * settings.fps)
    frames = max(2.0, settings.seconds * settings.fps)
    return frames if settings.loop else frames - 1


def _given_times(settings: AnimateSettings) -> list[float] | None:
    """Frame of every keyframe, and of the end of the last one's duration in a loop."""
    stops = list(settings.stops.items())
    given = [[way for way in TIMES if getattr(stop, way) is not None] for _, stop in stops]
    ways = [way for each in given for way in each]
    if not ways:
        return None
    way = ways[0]
    for (path, _), each in zip(stops, given, strict=True):
        if others := [other for other in each if other != way]:
            raise SettingError(
                f"keyframes are timed by '{way}' and by '{others[0]}'; use one of them for all",
                *path,
            )
    if way == "duration" and not settings.loop:
        timed, needed = stops[:-1], given[:-1]
    else:
        timed, needed = stops, given
    for (path, _), each in zip(timed, needed, strict=True):
        if not each:
            raise SettingError(f"a keyframe without '{way}'; give it to all or to none", *path)
    scale = 1.0 if way == "frame" else settings.fps
    values = [scale * float(getattr(stop, way)) for _, stop in timed]
    if way == "duration":
        return list(accumulate(values, initial=0.0))
    if values[0] != 0:
        raise SettingError("the first keyframe has to be at 0", *stops[0][0], way)
    for i in range(1, len(values)):
        if values[i] <= values[i - 1]:
            raise SettingError("not later than the keyframe before it", *stops[i][0], way)
    return values
