"""Finished frames on disk, each under its key, whole or not at all."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import IO
from zlib import Z_RLE

from PIL import Image, PngImagePlugin

from ..errors import OutputError
from ..media.output import sync, write_fault
from .keys import picture_digest

DIGEST = "sha256"
PART = ".part"
DAMAGES = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""what Pillow raises of a file that is missing or damaged"""


class FrameStore:
    """A folder of PNGs, each with the digest of its pixels, so that a damaged one is found out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.png"

    def has(self, key: str) -> bool:
        """Whether there is a file under that key; it may be damaged."""
        return self.path(key).is_file()

    def whole(self, key: str) -> bool:
        """Whether the file is there as it was written, by its checksums and not by its pixels.

        It takes a small part of the time of ``read``.
        """
        try:
            with Image.open(self.path(key), formats=["PNG"]) as opened:
                opened.verify()
                return DIGEST in opened.info
        except DAMAGES:
            return False

    def read(self, key: str) -> Image.Image | None:
        """The picture, or None where there is none or it is damaged."""
        return read_frame(self.path(key))

    def write(self, key: str, picture: Image.Image) -> None:
        """Keep a picture; as ``put``."""
        self.put(key, frame_file(picture))

    def put(self, key: str, data: bytes) -> None:
        """Keep what ``frame_file`` made: written under another name, synced, renamed.

        Raises:
            OutputError: the disk is full, or the folder cannot be written.
        """
        target = self.path(key)
        part = target.with_name(f"{key}.{secrets.token_hex(4)}{PART}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(data)
                sync(part)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise write_fault(target, error, len(data)) from error

    def remove(self, key: str) -> int:
        """Forget a frame; returns the bytes that this freed."""
        path = self.path(key)
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        return size

    def __iter__(self) -> Iterator[str]:
        """Keys of all files, in no order."""
        for folder in self._folders():
            yield from (file.stem for file in folder.glob("*.png"))

    def sweep(self, age: float) -> int:
        """Remove what writers that were killed left behind; returns the bytes that this freed.

        Args:
            age: seconds for which a file has to lie untouched to count as left behind.
        """
        freed, now = 0, time.time()
        for folder in self._folders():
            for part in folder.glob(f"*{PART}"):
                with suppress(FileNotFoundError):  # it was finished, or swept, meanwhile
                    state = part.stat()
                    if now - state.st_mtime >= age:
                        part.unlink()
                        freed += state.st_size
        return freed

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from sorted(path for path in self.folder.iterdir() if path.is_dir())


def frame_file(picture: Image.Image) -> bytes:
    """A picture as a PNG that has the digest of its pixels in it."""
    info = PngImagePlugin.PngInfo()
    info.add_text(DIGEST, picture_digest(picture))
    file = BytesIO()
    # Runs of one byte are all that is looked for: two thirds of the time of Pillow's default for
    # photographs, as small; a quarter of it for flat drawings, an eighth larger.
    picture.save(file, "PNG", pnginfo=info, compress_level=1, compress_type=Z_RLE)
    return file.getvalue()


def read_frame(source: Path | IO[bytes]) -> Image.Image | None:
    """The picture of such a file, or None where there is none or it is damaged."""
    try:
        with Image.open(source, formats=["PNG"]) as opened:
            opened.load()
            digest = opened.info.get(DIGEST)
            picture = opened.convert("RGB") if opened.mode != "RGB" else opened.copy()
    except DAMAGES:
        return None
    return picture if picture_digest(picture) == digest else None


def check_writable(folder: Path) -> None:
    """Find out before rendering whether frames can be kept.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{secrets.token_hex(4)}{PART}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: finished frames cannot be kept here ({error.strerror}); "
            "set SDCREATIVE_HOME to a folder that can be written, or pass --no-keep"
        ) from error
