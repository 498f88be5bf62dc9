"""Sound files in and out: WAV, FLAC, OGG and MP3 through libsndfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import soundfile
from numpy.typing import NDArray

from ..errors import DataError, OutputError, UsageError
from .output import StagedFile, ensure_space, write_fault

SOUND_FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}
READ_SOUNDS = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aif", ".aiff")

Floats = NDArray[numpy.floating[Any]]


def read_sound(
    path: Path | str,
    sample_rate: int,
    channels: int = 1,
    *,
    start: float = 0,
    seconds: float | None = None,
    longest: float | None = None,
) -> NDArray[numpy.float32]:
    """Samples of a sound file, or of a part of it; only that part is read.

    Args:
        path: WAV, FLAC, OGG, MP3, AIFF.
        sample_rate: wanted; another one is resampled.
        channels: 1 (all are averaged) or 2 (of more the first two are kept; one is doubled).
        start: seconds into the file.
        seconds: how much is read; None for all that follows.
        longest: refuse more seconds than that.

    Returns:
        (channels, samples), within -1 and 1 in files of whole numbers.

    Raises:
        DataError: the file is missing, no sound, broken, empty, longer than ``longest``, ends
            before ``start``, or holds samples that are no finite numbers.
        UsageError: a negative start, or a length that is not above 0.
    """
    path = Path(path)
    if not start >= 0:
        raise UsageError(f"start is {start}; give 0 seconds or more")
    if seconds is not None and not seconds > 0:
        raise UsageError(f"seconds is {seconds}; give a number above 0")
    if not path.is_file():
        raise DataError(
            f"{path}: {'is a folder; give a sound' if path.is_dir() else 'no such file'}"
        )
    try:
        with soundfile.SoundFile(path) as file:
            rate, total = file.samplerate, file.frames
            if total < 1:
                raise DataError(f"{path}: holds no sound; it is empty")
            if start * rate >= total:
                raise DataError(f"{path}: is {total / rate:.2f} s long; start is {start:g}")
            count = total - round(start * rate)
            if seconds is not None:
                count = min(count, round(seconds * rate))
            if longest is not None and count / rate > longest:
                raise DataError(
                    f"{path}: {count / rate:,.0f} s of sound; up to {longest:,.0f} s fit into one "
                    "picture; choose a part with --start and --seconds"
                )
            file.seek(round(start * rate))
            samples = file.read(count, dtype="float32", always_2d=True).T
    except soundfile.LibsndfileError as error:
        raise DataError(f"{path}: {_what_it_is(path)}: {error.error_string}") from error
    except PermissionError:
        raise DataError(f"{path}: may not be read; check its permissions") from None
    if samples.shape[1] < count:
        raise DataError(f"{path}: is truncated; {samples.shape[1]} of {count} samples are there")
    if not numpy.isfinite(samples).all():
        raise DataError(f"{path}: holds samples that are no finite numbers; export it again")
    if channels == 1:
        samples = samples.mean(0, keepdims=True)
    else:
        samples = numpy.concatenate([samples, samples])[:2] if len(samples) == 1 else samples[:2]
    if rate != sample_rate:
        import soxr

        samples = soxr.resample(samples.T, rate, sample_rate).T
    return numpy.ascontiguousarray(samples, dtype=numpy.float32)


def _what_it_is(path: Path) -> str:
    if not path.stat().st_size:
        return "is empty"
    return "is no sound that is known here, or broken; save it as WAV or FLAC"


def write_sound(
    samples: Floats, path: Path | str, sample_rate: int, overwrite: bool = False
) -> float:
    """Write WAV or FLAC with 16 bits, or OGG Vorbis: beside the target first, then moved there.

    What is louder than full scale is turned down as a whole, so that nothing is clipped.

    Args:
        samples: (channels, samples).

    Returns:
        By how much everything was turned down, in dB; 0 where it fits.

    Raises:
        OutputError: another ending, the file exists, or cannot be written.
        DataError: samples that are no finite numbers.
    """
    path = Path(path)
    if path.suffix.lower() not in SOUND_FORMATS:
        raise OutputError(f"{path}: ending {path.suffix!r}; use {', '.join(SOUND_FORMATS)}")
    if not numpy.isfinite(samples).all():
        raise DataError(f"{path}: samples that are no finite numbers cannot be written")
    kind, coding = SOUND_FORMATS[path.suffix.lower()]
    peak = float(numpy.abs(samples).max(initial=0.0))
    # Vorbis overshoots what it is given a little.
    highest = 0.9 if coding == "VORBIS" else 32_767 / 32_768
    down = highest / peak if peak > highest else 1.0
    wanted = 2 * samples.size + 4096
    ensure_space(path, wanted)
    staged = StagedFile(path, overwrite)
    try:
        with soundfile.SoundFile(
            staged.path, "w", sample_rate, len(samples), coding, format=kind
        ) as file:
            file.write((samples * down).T)
        staged.publish()
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: cannot be written: {error.error_string}") from error
    except OSError as error:
        raise write_fault(path, error, wanted) from error
    finally:
        staged.discard()
    return float(20 * numpy.log10(1 / down))
