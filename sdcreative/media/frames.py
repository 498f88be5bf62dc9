"""Films, animations and folders of frames read back, one picture at a time."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import warnings
import zlib
from collections.abc import Generator
from pathlib import Path
from typing import IO

from PIL import Image

from ..errors import DataError
from .image import flatten, read_picture
from .probing import PILLOW_SUFFIXES, frame_files
from .video import CONTAINERS, ffmpeg, last_lines

# What Pillow's decoders raise on broken files.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    struct.error, zlib.error,
)  # fmt: skip


def read_frames(path: Path | str) -> Generator[Image.Image, None, None]:
    """The pictures of a film in order, each decoded when it is asked for.

    Repeated and dropped time stamps change nothing: every frame stored comes once. A film of odd
    size that ``open_writer`` wrote comes one pixel wider, as it is stored. Closing the iterator
    stops the decoder.

    Args:
        path: mp4, mov or mkv; gif, webp, apng or png; a jpg as a film of one frame; or a folder
            of PNGs: NAME_000000.png and so on, or else all of them in the order of their names.

    Returns:
        RGB pictures of one size; transparent parts are white.

    Raises:
        DataError: the file is missing, of an unknown ending, broken or truncated, or pictures of
            a folder differ in size. What decodes before the fault comes first.
        OutputError: a film, and there is no ffmpeg.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        return _folder(path)
    if suffix in CONTAINERS:
        return _film(path)
    if suffix in PILLOW_SUFFIXES:
        return _animation(path)
    known = ", ".join(dict.fromkeys((*CONTAINERS, *PILLOW_SUFFIXES)))
    raise DataError(f"{path}: ending {suffix!r} is unknown; known are {known}, or a folder of PNGs")


def _folder(folder: Path) -> Generator[Image.Image, None, None]:
    files = frame_files(folder) or sorted(folder.glob("*.png"))
    if not files:
        raise DataError(f"{folder}: holds no frames such as {folder.name}_000000.png")
    size: tuple[int, int] | None = None
    for file in files:
        picture = read_picture(file)
        size = size or picture.size
        if picture.size != size:
            got, want = ("{}x{}".format(*each) for each in (picture.size, size))
            raise DataError(f"{file}: has {got} pixels, the frames before it {want}")
        yield picture


def _animation(path: Path) -> Generator[Image.Image, None, None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            film = Image.open(path, formats=("GIF", "WEBP", "PNG", "JPEG"))
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: has too many pixels to decode safely: {error}") from error
    except _BROKEN as error:
        raise DataError(f"{path}: is no picture or animation that decodes: {error}") from error
    with film:
        # An APNG may have a picture for programs that play none; it is not part of the film.
        first = 1 if film.info.get("default_image") else 0
        for number in range(first, int(getattr(film, "n_frames", 1))):
            try:
                film.seek(number)
                film.load()
                picture = flatten(film.copy())
            except _BROKEN as error:
                raise DataError(f"{path}: frame {number - first} is broken: {error}") from error
            yield picture


def _film(path: Path) -> Generator[Image.Image, None, None]:
    """Decoded by ffmpeg into a pipe of PPM pictures, which say their own size."""
    command = [ffmpeg(), "-nostdin", "-hide_banner", "-v", "error", "-xerror"]
    command += ["-i", f"file:{path}", "-map", "0:v:0", "-fps_mode", "passthrough"]
    command += ["-vf", "scale=flags=accurate_rnd+full_chroma_int+full_chroma_inp,format=rgb24"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-"]
    with tempfile.TemporaryFile() as log:
        # Its own session: Ctrl-C is for us, who then stop it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        try:
            frames = 0
            while process.stdout and (picture := _next_picture(process.stdout)):
                frames += 1
                yield picture
            code = process.wait()
            log.seek(0)
            complaint = log.read().decode("utf-8", "replace")
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    if code or complaint.strip() or not frames:
        raise DataError(
            f"{path}: is no film that decodes, after {frames} frames: {last_lines(complaint)}"
        )


def _next_picture(pipe: IO[bytes]) -> Image.Image | None:
    """The next binary PPM (netpbm: ppm(5)) of a stream; None at its end, whole or cut."""
    if pipe.readline() != b"P6\n":
        return None
    width, height = (int(side) for side in pipe.readline().split())
    pipe.readline()  # the largest value, always 255
    data = pipe.read(3 * width * height)
    if len(data) < 3 * width * height:
        return None
    return Image.frombytes("RGB", (width, height), data)
