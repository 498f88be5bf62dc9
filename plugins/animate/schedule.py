"""When every keyframe is shown: settings to times, holds, easings and a number of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from sdcreative import MAX_FRAMES, Position, SettingError, UsageError, positions

from .beats import Beats, Tempo, read_beat
from .keyframes import TIMES, Keyframe, KeyPath

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
        energy: how much is heard at every frame, which the progress between two keyframes
            follows; empty for progress with the time.
    """

    times: tuple[float, ...]
    holds: tuple[float, ...]
    frames: int
    easings: tuple[str, ...]
    loop: bool
    timed: bool
    energy: tuple[float, ...] = ()

    def positions(self) -> list[Position]:
        """Segment and eased share of every frame."""
        return positions(
            self.times, self.frames, self.easings, self.loop, self.holds, energy=self.energy
        )

    @cached_property
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
        walked = self._walked
        way = self.ways[position.segment]
        return min(1.0, (walked[position.segment] + position.t * way) / walked[-1])

    @cached_property
    def _walked(self) -> list[float]:
        """How long the ways before every keyframe take together; asked for in every frame."""
        return list(accumulate(self.ways, initial=0.0))

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


def by_ear(settings: AnimateSettings) -> bool:
    """Whether the times are known only once the sound is: keyframes are on its beats, or the film
    lasts as long as it does.
    """
    if settings.audio is None:
        return False
    stops = settings.stops.values()
    if any(isinstance(stop.at, str) for stop in stops):
        return True
    timed = any(getattr(stop, way) is not None for stop in stops for way in TIMES)
    return not timed and settings.frames is None and settings.seconds is None


def check_times(settings: AnimateSettings) -> None:
    """Refuse what is wrong with the times of a film that goes by ear before anything is heard.

    Raises:
        SettingError: times given in several ways, or together with a length; beats out of order.
    """
    way = _way(settings)
    if way is None:
        return
    _check_no_length(settings)
    stops = list(settings.stops.items())
    path, first = stops[0]
    if way == "at" and first.at not in (None, 0):
        raise SettingError("the first keyframe has to be at 0; leave its time out", *path, way)
    for (_, before), (path, after) in pairwise(stops):
        if isinstance(before.at, str) and isinstance(after.at, str):
            number, unit = read_beat(before.at)
            later, other = read_beat(after.at)
            if unit == other and later <= number:
                raise SettingError("not later than the keyframe before it; move it", *path, way)


def schedule(
    settings: AnimateSettings, beats: Beats | None = None, seconds: float | None = None
) -> Schedule:
    """Work out the times.

    Args:
        settings: of the film.
        beats: when beats are; by the settings' own tempo if left out.
        seconds: how long a film lasts whose settings do not say.

    Raises:
        SettingError: times given in several ways, not increasing, or together with a length;
            holds that leave no time for a way.
        UsageError: an easing that leaves [0, 1].
    """
    keyframes = list(settings.stops.values())
    segments = len(keyframes) - (0 if settings.loop else 1)
    holds = [keyframe.held(settings.fps) for keyframe in keyframes]
    if beats is None and settings.bpm is not None:
        beats = Tempo(settings.bpm)
    given = _given_times(settings, beats)
    if given is None:
        total, way = _total(settings, segments, holds, seconds)
        times = list(accumulate((hold + way for hold in holds[:segments]), initial=0.0))
    else:
        times = given
        _check_no_length(settings)
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
                f"held for {hold:g} frames, but the next keyframe comes after {end - start:g}; "
                "hold it for less",
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


def _check_no_length(settings: AnimateSettings) -> None:
    for length in ("frames", "seconds"):
        if getattr(settings, length) is not None:
            raise SettingError("the keyframes have times already; leave one out", length)


def _total(
    settings: AnimateSettings, segments: int, holds: Sequence[float], seconds: float | None
) -> tuple[float, float]:
    """Length in frames, from the first frame to the last, or to the first again in a loop, and
    what of it every way takes.
    """
    held = sum(holds)
    seconds = seconds if settings.seconds is None else settings.seconds
    if settings.frames is not None:
        total = float(settings.frames - (0 if settings.loop else 1))
    elif seconds is not None:
        frames = max(2.0, seconds * settings.fps)
        total = frames if settings.loop else frames - 1
    else:
        total = max(2.0, SECONDS_PER_SEGMENT * segments * settings.fps) + held
    if not held < total:
        given = (key for key in ("frames", "seconds") if getattr(settings, key) is not None)
        length = next(given, "audio")
        raise SettingError(
            f"the keyframes are held for {held:g} of {total:g} frames; hold them for less, or make "
            "the film longer",
            length,
        )
    return total, (total - held) / segments


def _way(settings: AnimateSettings) -> str | None:
    """In which of the three ways the keyframes are timed; None where they are not."""
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
    for index, ((path, _), each) in enumerate(zip(stops, given, strict=True)):
        # The first keyframe can only be at 0, and nothing follows on the last.
        last = index == len(stops) - 1 and not settings.loop
        if not each and not (last if way == "duration" else index == 0):
            raise SettingError(f"a keyframe without '{way}'; give it to all or to none", *path)
    return way


def _given_times(settings: AnimateSettings, beats: Beats | None) -> list[float] | None:
    """Frame of every keyframe, and of the end of the last one's duration in a loop."""
    way = _way(settings)
    stops = list(settings.stops.items())
    if way is None:
        return None
    if way == "duration":
        timed = [stop for _, stop in stops[: None if settings.loop else -1]]
        steps = (settings.fps * (stop.duration or 0.0) for stop in timed)
        return list(accumulate(steps, initial=0.0))
    values = [_time(path, stop, settings.fps, beats) for path, stop in stops]
    if values[0] != 0:
        raise SettingError(
            "the first keyframe has to be at 0; leave its time out", *stops[0][0], way
        )
    for i in range(1, len(values)):
        if values[i] <= values[i - 1]:
            raise SettingError("not later than the keyframe before it; move it", *stops[i][0], way)
    # The start of a single keyframe says nothing of when it comes again.
    return values if len(values) > 1 else None


def _time(path: KeyPath, stop: Keyframe, fps: float, beats: Beats | None) -> float:
    """The frame of a keyframe that is timed by 'at' or 'frame'; 0 for one that is not timed."""
    if not isinstance(stop.at, str):
        return float(stop.frame or 0) if stop.at is None else fps * stop.at
    if beats is None:
        raise SettingError(f"{stop.at!r} needs 'audio', or the tempo: 'bpm: 120'", *path, "at")
    try:
        return fps * beats.beat_time(*read_beat(stop.at))
    except UsageError as error:
        raise SettingError(str(error), *path, "at") from error


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
