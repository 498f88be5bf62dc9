"""Sound files to samples, block by block: memory does not grow with a file's length."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

from ..errors import DataError
from .sound_mixing import MOST_CHANNELS

if TYPE_CHECKING:
    import soundfile

BLOCK = 1 << 16
"""samples that are held at a time"""
LOUDEST = 2.0**31
"""times full scale: some files of floats hold whole numbers of 32 bits; what is above is broken"""

# libsndfile seeks into the last page of an Ogg Vorbis file only roughly; it holds up to 255 packets
# of 4096 samples (RFC 3533, 6; Vorbis I, 4.2.2).
_LAST_PAGE = 1 << 20

Block = NDArray[numpy.float32]


@dataclass(frozen=True)
class SoundInfo:
    """What a sound file holds.

    Attributes:
        rate: samples per second.
        channels: 1 for mono, 2 for stereo; at most 8.
        samples: in each channel; at least 1.
        format: libsndfile's names of container and coding, such as "OGG VORBIS".
    """

    rate: int
    channels: int
    samples: int
    format: str

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
        DataError: the file is missing, may not be read, is no sound, holds no samples or over 8
            channels, or is over at ``start``.
    """
    import soundfile

    path = Path(path)
    _check_readable(path)
    try:
        found = soundfile.info(str(path))
    # A TypeError is what .raw gives, which does not tell its own rate.
    except (soundfile.LibsndfileError, TypeError) as error:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty; give a sound file") from error
        raise DataError(
            f"{path}: is no sound file that is known here; give a wav, flac, ogg or mp3"
        ) from error
    info = SoundInfo(
        int(found.samplerate),
        int(found.channels),
        int(found.frames),
        f"{found.format} {found.subtype}",
    )
    if info.samples < 1 or info.rate < 1:
        raise DataError(f"{path}: holds no sound; give a file that does")
    if info.channels > MOST_CHANNELS:
        raise DataError(f"{path}: has {info.channels} channels; mix it to {MOST_CHANNELS} or fewer")
    if start >= info.seconds:
        raise DataError(f"{path}: lasts {info.seconds:g} seconds; it cannot start at {start:g}")
    return info


def _check_readable(path: Path) -> None:
    """Find what libsndfile has no words for; and pipes, for which it would wait."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a folder; give a sound file")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: is a pipe or device; save it as a file first")
        path.open("rb").close()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read; check its permissions") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_blocks(path: Path | str, start: int, count: int) -> Iterator[Block]:
    """The samples of a file, from one on; fewer than asked for where the file ends earlier.

    Args:
        path: a file of which ``sound_info`` speaks.
        start: the first sample, from 0.
        count: how many.

    Yields:
        (samples, channels), within -1 and 1; files of floats may go beyond.

    Raises:
        DataError: what is read does not decode, is no finite number, or far above full scale.
    """
    import soundfile

    at = start
    try:
        # A file of its own each time: Ogg files that were sought in before are sought in wrongly.
        with _straight(path) as file:
            last = max(0, file.frames - _LAST_PAGE) if file.subtype == "VORBIS" else file.frames
            file.seek(min(start, last))
            skip = min(start, file.frames) - min(start, last)
            while skip > 0 and len(skipped := file.read(min(BLOCK, skip), dtype="float32")):
                skip -= len(skipped)
            while count > 0:
                block = file.read(min(BLOCK, count), dtype="float32", always_2d=True)
                if not len(block):
                    return
                _check_finite(path, block, at, file.samplerate)
                yield block
                at += len(block)
                count -= len(block)
    except soundfile.LibsndfileError as error:
        raise DataError(
            f"{path}: does not decode after sample {at}; it is broken or truncated: {error}"
        ) from error


def _straight(path: Path | str) -> soundfile.SoundFile:
    """A file that is read on without being sought in after every block, as soundfile does.

    In MP3s each of these is a decoder beginning anew, which says so on the screen.
    """
    import soundfile

    class Straight(soundfile.SoundFile):  # type: ignore[misc, unused-ignore]
        def seekable(self) -> bool:
            return False

    return Straight(str(path))


def _check_finite(path: Path | str, block: Block, at: int, rate: int) -> None:
    wrong = ~(numpy.abs(block) <= LOUDEST)  # true for what is no number
    if not wrong.any():
        return
    index = int(numpy.argmax(wrong.any(axis=1)))
    value = float(block[index][wrong[index]][0])
    what = f"{value:g} times full scale" if isfinite(value) else "no finite number"
    raise DataError(
        f"{path}: sample {at + index}, at {(at + index) / rate:.3f} seconds, is {what}; export the "
        "sound again"
    )


def resampled(blocks: Iterator[Block], channels: int, source: int, target: int) -> Iterator[Block]:
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
