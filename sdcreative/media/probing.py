"""What a finished film, animation, picture or folder of frames holds, found by decoding it."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..errors import DataError
from .image import STILL_FORMATS, read_picture
from .video import CONTAINERS, probe_video

PILLOW_SUFFIXES = (".gif", ".webp", ".apng", *STILL_FORMATS)


@dataclass(frozen=True)
class FilmInfo:
    """What a result holds.

    Attributes:
        frames: number of frames, all of which decode.
        width: pixels; a film of odd size is one pixel wider than its pictures.
        height: pixels.
        fps: frames per second on average; None for stills and folders.
    """

    frames: int
    width: int
    height: int
    fps: float | None


def probe(path: Path | str, suffix: str | None = None) -> FilmInfo:
    """Decode a result to its end, and say what it holds.

    Args:
        suffix: the format, where the name does not tell it.

    Raises:
        DataError: the file is missing, broken or truncated, or its ending is unknown.
    """
    path = Path(path)
    suffix = (path.suffix if suffix is None else suffix).lower()
    if not path.exists():
        raise DataError(f"{path}: no such file")
    if path.is_dir():
        return _probe_folder(path)
    if suffix in CONTAINERS:
        return FilmInfo(*probe_video(path))
    if suffix in PILLOW_SUFFIXES:
        return _probe_animation(path)
    known = ", ".join((*CONTAINERS, *PILLOW_SUFFIXES))
    raise DataError(f"{path}: ending {suffix!r} is unknown; known are {known}")


def count_frames(path: Path | str) -> int:
    """Number of frames that decode; see ``probe``."""
    return probe(path).frames


def frame_files(folder: Path, name: str | None = None) -> list[Path]:
    """The frames in a folder, in order: NAME_000000.png and so on."""
    pattern = re.compile((re.escape(name) if name is not None else ".+") + r"_(\d{6,})\.png")
    found = [(pattern.fullmatch(file.name), file) for file in folder.iterdir()]
    return [file for _, file in sorted((int(match[1]), file) for match, file in found if match)]


def _probe_folder(folder: Path) -> FilmInfo:
    files = frame_files(folder)
    if not files:
        raise DataError(f"{folder}: holds no frames such as {folder.name}_000000.png")
    sizes = [read_picture(file).size for file in files]
    return FilmInfo(len(files), *sizes[0], None)


def _probe_animation(path: Path) -> FilmInfo:
    milliseconds = 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=("GIF", "WEBP", "PNG", "JPEG")) as film:
                width, height = film.size
                frames = int(getattr(film, "n_frames", 1))
                for number in range(frames):
                    film.seek(number)
                    film.load()
                    milliseconds += film.info.get("duration", 0)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError) as error:
        raise DataError(f"{path}: is no picture or animation that decodes: {error}") from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: has too many pixels to decode safely: {error}") from error
    return FilmInfo(frames, width, height, frames * 1000 / milliseconds if milliseconds else None)
