"""Sound into files with its tags: WAV, FLAC, OGG and MP3, through libsndfile.

Whole numbers of 16 bits are dithered (S. P. Lipshitz, R. A. Wannamaker and J. Vanderkooy,
Quantization and dither, JAES 40(5), 1992): what is rounded away becomes a soft, even noise.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy
from numpy.typing import NDArray

from ..errors import DataError, OutputError
from ..media.ogg_tags import tag_ogg
from ..media.output import free_bytes
from ..media.sound_files import BLOCK, read_blocks, sound_info
from ..media.sound_tags import tag_sound
from .true_peak import TruePeak

_WHOLE = ("PCM_16",)
# libsndfile's name, coding, and how much is left out, from 0 to 1: about 245 kbit/s of MP3 in 44.1
# kHz stereo, and as much as music needs of Vorbis.
_FORMATS: dict[str, tuple[str, str, float | None]] = {
    ".wav": ("WAV", "PCM_16", None),
    ".flac": ("FLAC", "PCM_16", None),
    ".ogg": ("OGG", "VORBIS", 0.4),
    ".mp3": ("MP3", "MPEG_LAYER_III", 0.0),
}
SOUND_ENDINGS = tuple(_FORMATS)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_WAV_HEAD = 65_536
_HIGHEST = 32_767
_TRIES = 4
_ROOM = 0.2
_SYSTEM_ERROR = 2
_ENCODER = "sdcreative"

Blocks = Callable[[], Iterator[NDArray[numpy.float32]]]


def encode_sound(
    path: Path,
    suffix: str,
    blocks: Blocks,
    sample_rate: int,
    channels: int,
    samples: int,
    tags: Mapping[str, str],
    title: str = "",
) -> float:
    """Write a sound into a file; the same sound and tags are the same bytes.

    OGG and MP3 come out a little louder in places than they went in. Where that would be clipped,
    all is encoded again a little lower.

    Args:
        path: a file that may be changed, such as one that is not yet published.
        suffix: ``.wav`` or ``.flac`` (16 bits), ``.ogg`` (Vorbis) or ``.mp3``.
        blocks: gives the sound from the beginning, (samples, channels) at a time, full scale at 1;
            OGG and MP3 may ask more than once.
        sample_rate: samples per second.
        channels: 1 or 2.
        samples: in each channel.
        tags: name -> text, for ``read_tags``.
        title: what players show; with it comes who made the file. Empty for neither.

    Returns:
        By how many dB all was turned down.

    Raises:
        OutputError: the format does not hold such a sound, or the tags.
        OSError: from the disk.
    """
    _check(path, suffix, sample_rate, channels, samples)
    lossy = _FORMATS[suffix][1] not in _WHOLE
    down = 0.0
    for left in reversed(range(_TRIES)):
        _write(path, suffix, blocks(), sample_rate, channels, samples, 10 ** (-down / 20))
        over = _decoded_peak(path, channels, samples) if lossy else -numpy.inf
        if over <= 0 or not left:
            break
        down += over + _ROOM
    named = {"title": title, "encoder": _ENCODER} if title else {}
    tag_sound(path, {**named, **tags})
    if suffix == ".ogg" and not {**named, **tags}:
        tag_ogg(path, {})  # for the number of its stream
    return down


def _check(path: Path, suffix: str, sample_rate: int, channels: int, samples: int) -> None:
    if suffix not in _FORMATS:
        raise OutputError(f"{path}: ending {suffix!r}; use {', '.join(SOUND_ENDINGS)}")
    if suffix == ".wav" and 2 * samples * channels + _WAV_HEAD >= 2**32:
        raise OutputError(f"{path}: WAV holds 4 GiB; use .flac")
    if suffix == ".mp3" and (sample_rate not in MP3_RATES or channels > 2):
        raise OutputError(
            f"{path}: MP3 holds 1 or 2 channels, and {', '.join(map(str, MP3_RATES))} samples per "
            f"second, not {channels} and {sample_rate}; use .flac"
        )


def _write(
    path: Path,
    suffix: str,
    blocks: Iterator[NDArray[numpy.float32]],
    sample_rate: int,
    channels: int,
    samples: int,
    gain: float,
) -> None:
    import soundfile

    kind, coding, left_out = _FORMATS[suffix]
    random = numpy.random.default_rng(0)
    written = 0
    try:
        with soundfile.SoundFile(
            str(path), "w", sample_rate, channels, coding, format=kind, compression_level=left_out
        ) as file:
            for block in blocks:
                # Vorbis overruns the stack with blocks of many seconds.
                for start in range(0, len(block), BLOCK):
                    part = block[start : start + BLOCK] * numpy.float32(gain)
                    file.write(dithered(part, random) if coding in _WHOLE else part)
                    written += len(part)
    except soundfile.LibsndfileError as error:
        raise _fault(path, error.error_string, error.code == _SYSTEM_ERROR) from error
    if written != samples:
        raise OutputError(f"{path}: {written} samples came, where {samples} were due")


def dithered(
    samples: NDArray[numpy.float32], random: numpy.random.Generator
) -> NDArray[numpy.int16]:
    """16 bits, with triangular noise of one step up or down; silence stays silent.

    Args:
        samples: (samples, channels), full scale at 1; what is beyond is clipped.
        random: draws the noise.
    """
    noise = random.random((*samples.shape, 2), dtype=numpy.float32)
    steps = numpy.rint(samples * (_HIGHEST + 1) + (noise[..., 0] - noise[..., 1]))
    steps[samples == 0] = 0
    return numpy.clip(steps, -_HIGHEST - 1, _HIGHEST).astype(numpy.int16)


def _decoded_peak(path: Path, channels: int, samples: int) -> float:
    """How high what was encoded reaches, in dBTP."""
    peak = TruePeak(channels)
    found = 0
    try:
        for block in read_blocks(path, 0, samples):
            peak.feed(block)
            found += len(block)
    except DataError as error:
        raise _fault(path, str(error), True) from error
    if found != samples:
        # These formats are silent about a disk that is full.
        raise _fault(path, f"{found} of {samples} samples read back", True)
    return peak.finish()


def _fault(path: Path, reason: str, disk: bool) -> OSError:
    """What the disk said: libsndfile keeps its words to itself."""
    if disk and free_bytes(path.parent) < BLOCK:
        return OSError(errno.ENOSPC, "disk full")
    return OSError(errno.EIO, reason)


def count_samples(path: Path | str) -> int:
    """How many samples a sound file holds in each channel, by decoding all of it.

    Raises:
        DataError: it is missing, no sound, or does not decode.
    """
    return sum(map(len, read_blocks(path, 0, sound_info(path).samples)))
