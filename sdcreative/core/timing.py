"""Timing: keyframes in, one place on the path between them per frame out."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from ..errors import UsageError
from .easing import Easing, find_easing

# Frames closer to a keyframe than this share of the whole time are on it: 0.3 * 1 / 3 < 0.1 in
# floating point, and a hold that ends at 0.1 would otherwise last one frame too long.
_SNAP = 1e-9


@dataclass(frozen=True)
class Position:
    """A place on the path.

    Attributes:
        segment: index of the keyframe before it, from 0.
        t: eased share of the way to the next keyframe, in [0, 1].
    """

    segment: int
    t: float


def positions(
    times: Sequence[float],
    frames: int,
    easings: Sequence[str | Easing],
    loop: bool = False,
    holds: Sequence[float] = (),
    energy: Sequence[float] = (),
) -> list[Position]:
    """Spread frames evenly over the time between the first keyframe and the last.

    Or, with ``energy``, as evenly over what happens in that time. Keyframes keep their times; on
    the way between two, a frame has covered the share of the way that the energy so far has in
    the energy of the whole way. So the largest step leads to the frame with the most of it.

    A frame that falls on a keyframe between two segments is t = 0 of the later one, so no frame
    comes twice where segments meet. Keyframes are shown exactly, whatever the easing gives at its
    ends.

    Args:
        times: when each keyframe is shown, in frames, seconds or any other unit; the first is 0
            and each is later than the one before. A loop has one time more than it has keyframes:
            when the first is reached again.
        frames: number of frames, at least 1.
        easings: one for each segment: a key of ``EASINGS``, or a function of [0, 1] into [0, 1].
        loop: sample the half-open interval. The last frame is then one step short of the first,
            so that a film played in a circle shows no frame twice. Otherwise both ends are
            included: frame 0 is (0, 0.0) and the last is (last segment, 1.0). A single frame is
            the first keyframe.
        holds: how long each keyframe stays before the way to the next begins, in the unit of
            ``times``, at least 0 and less than the time up to the next; one for each keyframe, or
            none at all. The next is reached at its own time nevertheless; that of the last
            keyframe lengthens the film, except in a loop, where it is a part of the way back.
        energy: how much happens between the frame before and this one, at least 0; one number for
            each frame, or none at all. The first frame's belongs to the last step of a loop, and
            else counts for nothing. Where nothing happens on a whole way, time is what counts.

    Returns:
        ``frames`` positions in order.

    Raises:
        UsageError: times that do not increase from 0, an easing that is unknown or leaves [0, 1],
            a number of easings, holds, energies or frames that does not fit, a hold without end,
            an energy below 0.
    """
    _check_times(times)
    _check_count("frames", frames)
    last = len(times) - 2
    if len(easings) != last + 1:
        raise UsageError(
            f"{len(easings)} easings for {last + 1} segments between {len(times)} times; "
            "give one for each segment"
        )
    curves = [find_easing(easing) if isinstance(easing, str) else easing for easing in easings]
    stays = _check_holds(holds, times, loop)
    total = times[-1] + stays[last + 1]
    steps = frames if loop else max(frames - 1, 1)
    spent = _spent(energy, frames, loop)

    path: list[Position] = []
    for frame in range(frames):
        time = total * frame / steps
        if frame == steps or time >= times[-1]:
            path.append(Position(last, 1.0))
            continue
        segment = min(bisect_right(times, time + _SNAP * total) - 1, last)
        start, end = times[segment] + stays[segment], times[segment + 1]
        if time - start <= _SNAP * total:
            path.append(Position(segment, 0.0))
        else:
            share = (time - start) / (end - start)
            if spent:
                share = _share(spent, (start, time, end), steps / total, share)
                if share in (0.0, 1.0):  # not begun, or there before its time
                    path.append(Position(segment, share))
                    continue
            path.append(Position(segment, _ease(curves[segment], share)))
    return path


def spread(durations: Sequence[float], fps: float) -> tuple[list[float], int]:
    """The ``times`` and ``frames`` of ``positions`` for segments that last so many seconds.

    Args:
        durations: seconds of each segment, more than 0.
        fps: frames per second, more than 0.

    Returns:
        Keyframe times in seconds, one more than there are segments, and the number of frames of
        a film that lasts as long as all of them, at least 1.

    Raises:
        UsageError: no duration, or one or an fps that is not a number above 0.
    """
    if not (math.isfinite(fps) and fps > 0):
        raise UsageError(f"fps is {fps}; give a number above 0")
    for index, seconds in enumerate(durations):
        if not (math.isfinite(seconds) and seconds > 0):
            raise UsageError(f"segment {index} lasts {seconds} seconds; give a number above 0")
    times = [float(time) for time in accumulate(durations, initial=0.0)]
    _check_times(times)
    return times, max(1, round(times[-1] * fps))


def ping_pong(length: int) -> list[int]:
    """Indexes of a sequence played forward, then back, in a circle, with neither end doubled.

    ``ping_pong(4)`` is ``[0, 1, 2, 3, 2, 1]``.

    Raises:
        UsageError: length is below 1.
    """
    _check_count("length", length)
    return [*range(length), *range(length - 2, 0, -1)]


def _spent(energy: Sequence[float], frames: int, loop: bool) -> list[float]:
    """The energy up to each frame, and in a loop up to the first frame again."""
    if len(energy) == 0:
        return []
    if len(energy) != frames:
        raise UsageError(f"energies of {len(energy)} frames for {frames}; give one for each")
    for frame, amount in enumerate(energy):
        if not 0 <= amount < math.inf:
            raise UsageError(f"frame {frame} has the energy {amount}; give a number from 0")
    steps = [*energy[1:], *(energy[:1] if loop else ())]
    spent = list(accumulate(steps, initial=0.0))
    if not math.isfinite(spent[-1]):
        raise UsageError("the energies of the frames add up to infinity; give smaller numbers")
    return spent


def _share(
    spent: Sequence[float], times: tuple[float, float, float], rate: float, even: float
) -> float:
    """The share of the energy from the first time to the third that lies before the second."""
    before, now, after = (_between(spent, time * rate) for time in times)
    return (now - before) / (after - before) if after > before else even


def _between(values: Sequence[float], index: float) -> float:
    """Linear interpolation; indexes a rounding error away from a whole number are that number."""
    low = round(index)
    if abs(index - low) <= _SNAP * len(values):
        return values[min(low, len(values) - 1)]
    low = math.floor(index)
    return values[low] + (index - low) * (values[low + 1] - values[low])


def _ease(curve: Easing, t: float) -> float:
    eased = float(curve(t))
    if not 0.0 <= eased <= 1.0:
        name = getattr(curve, "__name__", repr(curve))
        raise UsageError(f"easing {name} gives {eased} at t = {t}; it has to stay within 0 and 1")
    return eased


def _check_times(times: Sequence[float]) -> None:
    if len(times) < 2:
        raise UsageError(f"{len(times)} keyframe times given; a path needs at least 2")
    if times[0] != 0:
        raise UsageError(f"the first keyframe is at {times[0]}; it has to be at 0")
    for before, after in pairwise(times):
        if not (math.isfinite(after) and before < after):
            raise UsageError(
                f"a keyframe at {after} follows one at {before}; times have to increase"
            )


def _check_holds(holds: Sequence[float], times: Sequence[float], loop: bool) -> list[float]:
    """One for each time; a loop's first keyframe does not wait again at the end."""
    keyframes = len(times) - 1 if loop else len(times)
    if holds and len(holds) != keyframes:
        raise UsageError(f"{len(holds)} holds for {keyframes} keyframes; give one for each")
    for index, stay in enumerate(holds):
        way = times[index + 1] - times[index] if index + 1 < len(times) else math.inf
        if not 0 <= stay < way:
            raise UsageError(
                f"keyframe {index} is held for {stay}; give at least 0, and less than the {way:g} "
                "up to the next"
            )
    return [*(holds or [0.0] * keyframes), *([0.0] if loop else [])]


def _check_count(name: str, count: int) -> None:
    if count < 1:
        raise UsageError(f"{name} is {count}; it has to be at least 1")
