"""Pictures that commands look at: of files, folders and films, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".avif")
ANIMATIONS = (".gif", ".webp", ".apng")


@dataclass(frozen=True)
class Seen:
    """A picture and where it is from.

    Attributes:
        path: of its file.
        frame: its number in a film, from 0; None for a picture by itself.
        picture: RGB.
    """

    path: Path
    frame: int | None
    picture: Image

    @property
    def name(self) -> str:
        """For people."""
        return str(self.path) if self.frame is None else f"{self.path} frame {self.frame}"


def list_files(paths: Sequence[Path]) -> list[Path]:
    """Files that are there; of a folder its pictures and films, by name.

    Raises:
        DataError: a file that is missing, or a folder without a picture.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file")
        found = _inside(path) if path.is_dir() else [path]
        if not found:
            raise DataError(f"{path}: holds no picture or film")
        files += found
    return files


def read_all(
    files: Sequence[Path], every: int, broken: Callable[[str], None] | None
) -> Iterator[Seen]:
    """The pictures of all files, in order.

    Args:
        files: pictures, animations and films.
        every: of a film, one in so many frames, from the first one on.
        broken: told of each file that cannot be read, which is left out then.

    Raises:
        DataError: a file cannot be read, and nobody wants to be told.
    """
    for file in files:
        try:
            yield from _read(file, every)
        except DataError as error:
            if broken is None:
                raise
            broken(str(error))


def _inside(folder: Path) -> list[Path]:
    from ..media.video import CONTAINERS

    endings = {*PICTURES, *ANIMATIONS, *CONTAINERS}
    return sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in endings)


def _read(file: Path, every: int) -> Iterator[Seen]:
    from ..media.frames import read_frames
    from ..media.image import read_picture
    from ..media.video import CONTAINERS

    film = file.suffix.lower() in CONTAINERS
    if not film and file.suffix.lower() not in ANIMATIONS:
        yield Seen(file, None, read_picture(file))
        return
    frames = read_frames(file)
    try:
        start = list(islice(frames, 2))
        if len(start) == 1 and not film:
            yield Seen(file, None, start[0])
            return
        for number, picture in enumerate(start):
            if number % every == 0:
                yield Seen(file, number, picture)
        del start
        for number, picture in enumerate(frames, 2):
            if number % every == 0:
                yield Seen(file, number, picture)
    finally:
        frames.close()
