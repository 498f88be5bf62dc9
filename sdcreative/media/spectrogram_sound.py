"""Sound files in and out: WAV, FLAC, OGG and MP3 through libsndfile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import soundfile
from numpy.typing import NDArray

from ..errors import DataError, OutputError
from .output import StagedFile, ensure_space, write_fault
from .sound_files import BLOCK
from .sound_parts import part_blocks, sound_part

SOUND_FORMATS = {".wav": ("WAV", "PCM_16"), ".flac": ("FLAC", "PCM_16"), ".ogg": ("OGG", "VORBIS")}

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
        channels: 1 or 2; see ``sound_mixing`` for how surround sound becomes two, and these one.
        start: seconds into the file.
        seconds: how much is read; None for all that follows.
        longest: refuse more seconds than that.

    Returns:
        (channels, samples), within -1 and 1 in files of whole numbers with one or two channels.

    Raises:
        DataError: the file is missing, no sound, broken, truncated, empty, longer than ``longest``,
            ends before ``start``, or holds samples that are no finite numbers.
        UsageError: a negative start, or a length that is not above 0.
    """
    part = sound_part(path, start, seconds)
    length = part.count / part.info.rate
    if longest is not None and length > longest:
        raise DataError(
            f"{path}: {length:,.0f} s of sound; up to {longest:,.0f} s fit into one picture; "
            "choose a part with --start and --seconds"
        )
    blocks = list(part_blocks(part, sample_rate, channels))
    return numpy.ascontiguousarray(numpy.concatenate(blocks).T)


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
            # libsndfile crashes where a minute of Vorbis is written at once.
            for at in range(0, samples.shape[1], BLOCK):
                file.write((samples[:, at : at + BLOCK] * down).T)
        staged.publish()
    except soundfile.LibsndfileError as error:
        raise OutputError(f"{path}: cannot be written: {error.error_string}") from error
    except OSError as error:
        raise write_fault(path, error, wanted) from error
    finally:
        staged.discard()
    return float(20 * numpy.log10(1 / down))
