"""Films to music: its spectrogram scrolls under a playhead, and is heard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image

from ...errors import DataError, OutputError
from ...media.muxing import Mixer
from ...media.output import estimate_bytes, frame_rate, staging_name
from ...media.probing import probe
from ...media.sound_clip import SoundClip, clip_format
from ...media.tags import check_tags
from ...media.video import Encoder
from ...spectral.params import SpectrogramParams
from .layout import lay_out
from .stage import Stage
from .strip import Strip
from .survey import survey

SIZE = (1280, 720)
FPS = 30


def scroll(
    columns: NDArray[numpy.uint8],
    params: SpectrogramParams,
    seconds: float,
    *,
    size: tuple[int, int] = SIZE,
    fps: float = FPS,
    loop: bool = False,
) -> Iterator[Image.Image]:
    """The frames of a film in which a spectrogram scrolls from right to left.

    Under the playhead of frame n is what is heard at n / fps seconds. Columns are read as they
    come into sight, and once before, to see how loud they are.

    Args:
        columns: (channels, bands, columns), one channel, or left and right; as in the pictures:
            loud 0, low frequencies in the last row. A memory map will do.
        params: the bands, and how far columns are apart.
        seconds: length of the sound.
        size: (width, height), both even.
        fps: frames per second, 1 to 240.
        loop: the sound is played in a circle: the end is seen before the beginning, and the film
            ends as close to the seam as a frame can.

    Returns:
        RGB pictures, as many as the sound needs: its last moment is in the last one.

    Raises:
        UsageError: a size or a frame rate that cannot be.
        DataError: no spectrogram of these bands, or no length.
    """
    rate = frame_rate(fps)
    if columns.ndim != 3 or columns.dtype != numpy.uint8 or columns.shape[0] not in (1, 2):
        raise DataError(
            f"a spectrogram of shape {columns.shape} and type {columns.dtype}; give (1 or 2, "
            f"{params.bands}, columns) of uint8"
        )
    if columns.shape[1] != params.bands or not columns.shape[2]:
        raise DataError(
            f"a spectrogram of shape {columns.shape}; give {params.bands} bands, and columns"
        )
    if not (math.isfinite(seconds) and seconds > 0):
        raise DataError(f"{seconds} seconds of sound; give more than 0")
    layout = lay_out(size, rate, len(columns))
    frames = Fraction(seconds).limit_denominator(1_000_000) * rate
    count = max(1, round(frames) if loop else math.ceil(frames))
    found = survey(columns, params.power)
    strip = Strip(columns, found.curve, params, layout, loop)
    stage = Stage(layout, params, strip, found.loudness, seconds)
    return (stage.frame(number) for number in range(count))


def write_scroll(
    path: Path,
    suffix: str,
    frames: Iterable[Image.Image],
    fps: float,
    size: tuple[int, int],
    sound_file: Path,
    tags: Mapping[str, str],
    name: Path | None = None,
) -> int:
    """Encode the frames as H.264, put the sound beside them, and read the film back.

    Args:
        path: file to fill.
        suffix: ".mp4", ".mov" or ".mkv".
        frames: RGB pictures of the size.
        fps: frames per second.
        size: (width, height), both even.
        sound_file: what is heard; cut, or filled with silence, to the length of the frames.
        tags: of the film.
        name: what errors call the file; ``path`` if left out.

    Returns:
        The number of frames in the file.

    Raises:
        OutputError: no frames, an encoder that fails, or a film that does not read back whole.
        DataError: the sound cannot be read.
        OSError: the disk is full, or refuses.
    """
    name = name or path
    check_tags(tags)
    rate = frame_rate(fps)
    sound = SoundClip(sound_file)
    clip_format(sound)  # said before the pictures are made, which takes longer
    silent = staging_name(path)
    try:
        written = _encode(silent, name, suffix, frames, rate, size)
        mixer = Mixer(silent, path, name, suffix, sound, tags)
        try:
            mixer.mix(written / rate, estimate_bytes(suffix, size, written))
        finally:
            mixer.stop()
    finally:
        silent.unlink(missing_ok=True)
    try:
        found = probe(path, suffix).frames
    except DataError as error:
        raise OutputError(f"{name}: does not read back: {error}") from error
    if found != written:
        raise OutputError(
            f"{name}: {written} frames were written, but the file holds {found}; try another format"
        )
    mixer.verify(written / rate)
    return found


def _encode(
    path: Path,
    name: Path,
    suffix: str,
    frames: Iterable[Image.Image],
    rate: Fraction,
    size: tuple[int, int],
) -> int:
    """The film without sound; returns the number of its frames."""
    encoder = Encoder(path, name, suffix, size, rate, {})
    written = 0
    try:
        for frame in frames:
            if frame.size != size:
                got, want = ("{}x{}".format(*each) for each in (frame.size, size))
                raise OutputError(f"{name}: a picture of {got} pixels, where {want} were due")
            encoder.add(frame)
            written += 1
        if not written:
            raise OutputError(f"{name}: no frames to write")
        encoder.close(estimate_bytes(suffix, size, written))
    except BrokenPipeError:
        encoder.close(estimate_bytes(suffix, size, written))  # raises what the encoder says
        raise OutputError(f"{name}: the encoder ended before the film did") from None
    finally:
        encoder.stop()
    return written
