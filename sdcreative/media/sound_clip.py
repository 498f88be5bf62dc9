"""A piece of a sound file, cut to the length of a film: to the sample, and faded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from pathlib import Path

import numpy
from numpy.typing import NDArray

from .sound_files import BLOCK, read_blocks, resampled, sound_info

# What AAC has; ISO/IEC 14496-3, table 1.18. Others are brought to 48 kHz.
AAC_RATES = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
OTHERWISE = 48_000


@dataclass(frozen=True)
class SoundClip:
    """What is heard with a film.

    Attributes:
        path: a sound file.
        start: seconds into it at which the film begins, at least 0.
        fade_in: seconds at the film's beginning in which it comes up, at least 0.
        fade_out: seconds at the film's end in which it goes down.
    """

    path: Path | str
    start: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0


def clip_format(clip: SoundClip) -> tuple[int, int]:
    """(samples per second, channels) of what ``clip_blocks`` gives.

    The rate is the file's own wherever AAC has it.

    Raises:
        DataError: no sound file, or one that is over at the start.
    """
    info = sound_info(clip.path, clip.start)
    return info.rate if info.rate in AAC_RATES else OTHERWISE, info.channels


def clip_blocks(clip: SoundClip, seconds: Fraction) -> Iterator[NDArray[numpy.float32]]:
    """The samples of a clip of this length; silence where the file ends earlier.

    Args:
        clip: what to cut.
        seconds: the film's length.

    Yields:
        (samples, channels); round(seconds * rate) samples in all.

    Raises:
        DataError: no sound file, one that is over at the start, or that does not decode.
    """
    info = sound_info(clip.path, clip.start)
    rate, channels = clip_format(clip)
    count = round(seconds * rate)
    first = round(clip.start * info.rate)
    # A little more than needed: the resampler rounds.
    source = read_blocks(clip.path, first, ceil(count * Fraction(info.rate, rate)) + 2)
    at = 0
    for block in resampled(source, channels, info.rate, rate):
        part = block[: count - at]
        yield _faded(part, at, count, clip, rate)
        at += len(part)
    while at < count:
        silence = numpy.zeros((min(BLOCK, count - at), channels), numpy.float32)
        yield silence
        at += len(silence)


def _faded(
    block: NDArray[numpy.float32], at: int, count: int, clip: SoundClip, rate: int
) -> NDArray[numpy.float32]:
    """The block that begins at a sample, both fades on it: half a cosine, 0 at the very ends."""
    sample = numpy.arange(at, at + len(block))
    gain = numpy.ones(len(block))
    for seconds, away in ((clip.fade_in, sample), (clip.fade_out, count - 1 - sample)):
        if seconds > 0:
            share = numpy.minimum(1.0, away / (seconds * rate))
            gain *= 0.5 - 0.5 * numpy.cos(numpy.pi * share)
    return (block * gain[:, None]).astype(numpy.float32)
