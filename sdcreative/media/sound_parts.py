"""Stretches of sound files, at the rate and with the channels that are wanted."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, gcd, isfinite
from pathlib import Path

from ..errors import DataError, UsageError
from .sound_files import Block, SoundInfo, read_blocks, resampled, sound_info
from .sound_mixing import mix

# What soxr looks at around a sample, with room to spare: 20 ms were needed at 8 kHz.
_CONTEXT = 1024
# Sizes from here on are what programs write that do not know the length yet.
_STREAMED = 0x7FFF_0000


@dataclass(frozen=True)
class SoundPart:
    """A stretch of a sound file.

    Attributes:
        path: the file.
        info: what it holds.
        first: the sample it begins with.
        count: how many samples it has, at least 1; all are in the file.
    """

    path: Path
    info: SoundInfo
    first: int
    count: int

    def samples(self, rate: int) -> int:
        """How many samples it has at another rate: rounded, halves upwards, as soxr does."""
        return (2 * self.count * rate + self.info.rate) // (2 * self.info.rate)


def sound_part(path: Path | str, start: float = 0.0, seconds: float | None = None) -> SoundPart:
    """A stretch of a sound file, all of which is there.

    Args:
        path: as for ``sound_info``.
        start: seconds into the file.
        seconds: its length; less where the file ends earlier. None for all that follows.

    Raises:
        DataError: as ``sound_info``, or it reaches to the end of a file that was cut off.
        UsageError: a negative start, or a length that is not above 0.
    """
    if not start >= 0:
        raise UsageError(f"start is {start}; give 0 seconds or more")
    if seconds is not None and not (isfinite(seconds) and seconds > 0):
        raise UsageError(f"seconds is {seconds}; give a number above 0")
    path = Path(path)
    info = sound_info(path, start)
    first = min(round(start * info.rate), info.samples - 1)
    count = info.samples - first
    if seconds is None or round(seconds * info.rate) > count:
        if missing := _missing_share(path):
            raise _cut_off(path, info.seconds, info.seconds / (1 - missing))
    else:
        count = max(1, round(seconds * info.rate))
    return SoundPart(path, info, first, count)


def _missing_share(path: Path) -> float:
    """How much of its samples a WAV's or AIFF's header tells of, but the file lacks.

    libsndfile says nothing then. 0 where the header does not know, as in what a pipe was fed with.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] == b"RIFF" and start[8:] == b"WAVE":
            header, wanted, before = "<4sI", b"data", 0
        elif start[:4] == b"FORM" and start[8:] in (b"AIFF", b"AIFC"):
            header, wanted, before = ">4sI", b"SSND", 8  # two numbers stand before the samples
        else:
            return 0.0
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack(header, head)
            if name == wanted:
                there = size - file.tell()
                cut = there < length < _STREAMED
                return (length - there) / (length - before) if cut else 0.0
            file.seek(length + length % 2, 1)
    return 0.0


def _cut_off(path: Path, found: float, told: float) -> DataError:
    return DataError(
        f"{path}: is truncated; {found:.2f} of {told:.2f} seconds are there; give the whole file, "
        "or a part of what is left"
    )


def part_blocks(
    part: SoundPart, rate: int, channels: int, begin: int = 0, end: int | None = None
) -> Iterator[Block]:
    """The samples of a part, or some of them, at another rate and in one or two channels.

    Wherever they begin, they are the samples that reading from the beginning gives: only what the
    resampler looks at is read before and after them.

    Args:
        part: what is read.
        rate: samples per second wanted.
        channels: 1 or 2, as ``mix`` makes them.
        begin: the first sample, at ``rate``, from the part's beginning.
        end: the one after the last; None for all.

    Yields:
        (samples, channels).

    Raises:
        DataError: what is read does not decode, is truncated, or no finite number.
    """
    source = part.info.rate
    total = part.samples(rate)
    end = total if end is None else min(end, total)
    divisor = gcd(rate, source)
    up, down = rate // divisor, source // divisor
    context = 0.0 if rate == source else _CONTEXT / min(rate, source)
    # Whole turns of the resampler, so that its samples fall where they fell from the beginning on.
    turns = max(0, int(begin - context * rate) // up)
    first = turns * down
    last = min(part.count, ceil(end * source / rate + context * source))
    blocks = _whole(part, first, last - first)
    mixed = (mix(block, channels, part.info.format) for block in blocks)
    at = turns * up
    for block in resampled(mixed, channels, source, rate):
        yield block[max(0, begin - at) : max(0, end - at)]
        at += len(block)


def _whole(part: SoundPart, first: int, count: int) -> Iterator[Block]:
    """Blocks of a part; less than all is an error."""
    found = 0
    for block in read_blocks(part.path, part.first + first, count):
        found += len(block)
        yield block
    if found < count:
        left = (part.first + first + found) / part.info.rate
        raise _cut_off(part.path, left, part.info.seconds)
