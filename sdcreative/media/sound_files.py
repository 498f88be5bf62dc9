"""Sound files to samples, block by block: memory does not grow with a file's length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy
from numpy.typing import NDArray

from ..errors import DataError

BLOCK = 1 << 16
"""samples that are held at a time"""
MOST_CHANNELS = 8


@dataclass(frozen=True)
class SoundInfo:
    """What a sound file holds.

    Attributes:
        rate: samples per second.
        channels: 1 for mono, 2 for stereo; at most 8.
        samples: in each channel; at least 1.
    """

    rate: int
    channels: int
    samples: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.samples / self.rate


def sound_info(path: Path | str, start: float = 0.0) -> SoundInfo:
    """Look at a sound file.

    Args:
        path: WAV, FLAC, OGG, MP3, AIFF and so on, as libsndfile knows them.
        start: seconds into it that there have to be.

    Raises:
        DataError: the file is missing, no sound, holds no samples or over 8 channels, or is over
            at ``start``.
    """
    import soundfile

    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a sound file")
    if not path.exists():
        raise DataError(f"{path}: no such file")
    try:
        found = soundfile.info(str(path))
    # A TypeError is what .raw gives, which does not tell its own rate.
    except (soundfile.LibsndfileError, TypeError) as error:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty; give a sound file") from error
        raise DataError(
            f"{path}: is no sound file that is known here; give a wav, flac, ogg or mp3"
        ) from error
    info = SoundInfo(int(found.samplerate), int(found.channels), int(found.frames))
    if info.samples < 1 or info.rate < 1:
        raise DataError(f"{path}: holds no sound; give a file that does")
    if info.channels > MOST_CHANNELS:
        raise DataError(f"{path}: has {info.channels} channels; mix it to {MOST_CHANNELS} or fewer")
    if start >= info.seconds:
        raise DataError(f"{path}: lasts {info.seconds:g} seconds; it cannot start at {start:g}")
    return info


def read_blocks(path: Path | str, start: int, count: int) -> Iterator[NDArray[numpy.float32]]:
    """The samples of a file, from one on; fewer than asked for where the file ends earlier.

    Args:
        path: a file of which ``sound_info`` speaks.
        start: the first sample, from 0.
        count: how many.

    Yields:
        (samples, channels), within -1 and 1; files of floats may go beyond.

    Raises:
        DataError: what is read does not decode, or is no finite number.
    """
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            file.seek(min(start, file.frames))
            at = start
            while count > 0:
                block = file.read(min(BLOCK, count), dtype="float32", always_2d=True)
                if not len(block):
                    return
                if not numpy.isfinite(block).all():
                    first = int(numpy.argmin(numpy.isfinite(block).all(axis=1)))
                    raise DataError(
                        f"{path}: sample {at + first}, at {(at + first) / file.samplerate:.3f} "
                        "seconds, is no finite number; export the sound again"
                    )
                yield block
                at += len(block)
                count -= len(block)
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: does not decode: {error}") from error


def resampled(
    blocks: Iterator[NDArray[numpy.float32]], channels: int, source: int, target: int
) -> Iterator[NDArray[numpy.float32]]:
    """The same sound at another rate (soxr, high quality); without delay.

    Args:
        blocks: (samples, channels) each.
        channels: of every block.
        source: samples per second that come.
        target: samples per second wanted.
    """
    import soxr

    if source == target:
        yield from blocks
        return
    stream = soxr.ResampleStream(source, target, channels, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(numpy.empty((0, channels), numpy.float32), last=True)
