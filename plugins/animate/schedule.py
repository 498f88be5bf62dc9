"""When every keyframe is shown: settings to times, holds, easings and a number of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

from sdcreative import Position, SettingError, positions

from .keyframes import MAX_FRAMES, TIMES

if TYPE_CHECKING:
    from .settings import AnimateSettings

SECONDS_PER_SEGMENT = 2.0


@dataclass(frozen=True)
class Schedule:
    """Times of the keyframes, in frames; a loop has one more, where the first comes again.

    Attributes:
        times: strictly increasing from 0.
        holds: how long each keyframe stays before the way to the next begins.
        frames: how many frames the film has before it is played backwards.
        easings: one per segment.
        timed: whether the keyframes have times of their own.
    """

    times: tuple[float, ...]
    holds: tuple[float, ...]
    frames: int
    easings: tuple[str, ...]
    loop: bool
    timed: bool

    def positions(self) -> list[Position]:
        """Segment and eased share of every frame."""
        return positions(self.times, self.frames, self.easings, self.loop, self.holds)

    @property
    def ways(self) -> list[float]:
        """How long every way from keyframe to keyframe takes, without the holds; in frames."""
        return [
            end - start - hold
            for start, end, hold in zip(self.times, self.times[1:], self.holds, strict=False)
        ]

    def frame_at(self, position: Position) -> int:
        """The frame that a position falls on where ways are walked at constant speed."""
        begin = self.times[position.segment] + self.holds[position.segment]
        way = self.times[position.segment + 1] - begin
        frame = round(begin + position.t * way)
        return frame % self.frames if self.loop else min(frame, self.frames - 1)

    def share_of_ways(self, position: Position) -> float:
        """How much of the whole path lies before a position, in [0, 1]; holds do not count."""
        ways = self.ways
        walked = sum(ways[: position.segment]) + position.t * ways[position.segment]
        return min(1.0, walked / sum(ways))

    def in_proportion(self, lengths: Sequence[float]) -> Schedule:
        """The same length and holds, the ways' durations in proportion to these lengths.

        No way becomes shorter than a frame, if there are enough. Keyframes that have times of
        their own keep them.
        """
        if self.timed or not sum(lengths) > 0:
            return self
        ways = _shared_out(sum(self.ways), lengths)
        steps = (hold + way for hold, way in zip(self.holds, ways, strict=False))
        return replace(self, times=tuple(accumulate(steps, initial=0.0)))


def schedule(settings: AnimateSettings) -> Schedule:
    """Work out the times.

    Raises:
        SettingError: times given in several ways, not increasing, or together with a length;
            holds that leave no time for a way.
        UsageError: an easing that leaves [0, 1].
    """
    keyframes = list(settings.stops.values())
    segments = len(keyframes) - (0 if settings.loop else 1)
    holds = [keyframe.held(settings.fps) for keyframe in keyframes]
    given = _given_times(settings)
    if given is None:
        total, way = _total(settings, segments, holds)
        times = list(accumulate((hold + way for hold in holds[:segments]), initial=0.0))
    else:
        times = given
        for length in ("frames", "seconds"):
            if getattr(settings, length) is not None:
                raise SettingError("the keyframes have times already; leave one out", length)
        if len(times) == segments:
            # The way back to the first keyframe lasts as long as the others do on average.
            times.append(times[-1] + times[-1] / (segments - 1))
        total = times[-1] + (0.0 if settings.loop else holds[-1])
    if not total <= MAX_FRAMES:
        key = ["seconds"] if settings.seconds is not None else []
        raise SettingError(f"a film of over {MAX_FRAMES:,} frames; shorten it or lower 'fps'", *key)
    for path, hold, start, end in zip(settings.stops, holds, times, times[1:], strict=False):
        if not hold < end - start:
            raise SettingError(
                f"held for {hold:g} frames, but the next keyframe comes after {end - start:g}",
                *path,
                "hold",
            )
    frames = max(1, round(total)) + (0 if settings.loop else 1)
    easings = tuple(keyframe.ease or settings.ease for keyframe in keyframes[:segments])
    result = Schedule(
        tuple(times), tuple(holds), frames, easings, settings.loop, timed=given is not None
    )
    result.positions()
    return result


def _total(settings: AnimateSettings, segments: int, holds: Sequence[float]) -> tuple[float, float]:
    """Length in frames, from the first frame to the last, or to the first again in a loop, and
    what of it every way takes.
    """
    held = sum(holds)
    if settings.frames is not None:
        total = float(settings.frames - (0 if settings.loop else 1))
    elif settings.seconds is not None:
        frames = max(2.0, settings.seconds * settings.fps)
        total = frames if settings.loop else frames - 1
    else:
        total = max(2.0, SECONDS_PER_SEGMENT * segments * settings.fps) + held
    if not held < total:
        length = "frames" if settings.frames is not None else "seconds"
        raise SettingError(f"the keyframes are held for {held:g} of {total:g} frames", length)
    return total, (total - held) / segments


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
    # The start of a single keyframe says nothing of when it comes again.
    return values if len(values) > 1 else None


def _shared_out(total: float, lengths: Sequence[float]) -> list[float]:
    """Shares of the total in proportion to the lengths; those below 1 are raised to it."""
    least = min(1.0, total / len(lengths))
    short: set[int] = set()
    while True:
        rest = total - least * len(short)
        long = sum(length for i, length in enumerate(lengths) if i not in short)
        shares = [least if i in short else rest * length / long for i, length in enumerate(lengths)]
        found = {i for i, share in enumerate(shares) if share < least}
        if not found:
            return shares
        short |= found
