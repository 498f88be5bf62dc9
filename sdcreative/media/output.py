"""Where results go: checked before rendering, staged beside the target, moved when whole."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import signal
from fractions import Fraction
from math import isfinite
from pathlib import Path

from ..errors import OutputError, UsageError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LIMIT_SIGNAL = getattr(signal, "SIGXFSZ", None)

# Bytes per pixel of a detailed picture, on the generous side: a warning too early costs less.
_BYTES_PER_PIXEL = {
    ".mp4": 0.3,
    ".mov": 0.3,
    ".mkv": 0.3,
    ".gif": 1.0,
    ".webp": 0.5,
    ".apng": 3.0,
    ".png": 3.0,
    ".jpg": 1.0,
    ".jpeg": 1.0,
}


def frame_rate(fps: float) -> Fraction:
    """Frames per second as a fraction (23.976 becomes 2997/125).

    Raises:
        UsageError: fps is not a number from 0.01 to 1000.
    """
    if not isfinite(fps) or not 0.01 <= fps <= 1000:
        raise UsageError(f"fps is {fps}; give a number from 0.01 to 1000")
    return Fraction(fps).limit_denominator(10_000)


def estimate_bytes(suffix: str, size: tuple[int, int], frames: int) -> int:
    """Roughly how many bytes a film will take; "" and unknown suffixes count as a folder of PNGs.

    Args:
        suffix: ending of the file, such as ".mp4".
        size: (width, height) of a frame in pixels.
        frames: number of frames, at least 0.
    """
    per_pixel = _BYTES_PER_PIXEL.get(suffix.lower(), _BYTES_PER_PIXEL[".png"])
    return 4096 + int(frames * (size[0] * size[1] * per_pixel + 256))


def free_bytes(path: Path) -> int:
    """Free bytes on the disk that would hold path, which need not exist yet."""
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return 0


def ensure_space(path: Path, wanted: int) -> None:
    """Refuse an output that does not fit.

    Raises:
        OutputError: less than ``wanted`` bytes are free where path would be.
    """
    free = free_bytes(path)
    if wanted > free:
        raise OutputError(
            f"{path}: about {human(wanted)} wanted, {human(free)} free; "
            "free some space or choose another -o"
        )


def human(count: int) -> str:
    """Bytes as people write them: "3.1 MB (3100000 bytes)"."""
    for unit, scale in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit} ({count} bytes)"
    return f"{count} bytes"


def disk_full(path: Path, wanted: int) -> OutputError:
    """The error for a disk, or a quota, that filled up while writing."""
    return OutputError(
        f"{path}: disk full; about {human(wanted)} wanted, {human(free_bytes(path))} free; "
        "free some space or choose another -o"
    )


def write_fault(path: Path, error: OSError, wanted: int) -> OutputError:
    """An operating system's complaint as one line naming the file."""
    if error.errno in FULL:
        return disk_full(path, wanted)
    reason = error.strerror or str(error)
    return OutputError(f"{path}: cannot be written: {reason}; choose another -o")


def make_folders(folder: Path) -> list[Path]:
    """Make a folder and its parents; returns those that were missing, innermost first.

    Raises:
        OutputError: a parent is a file, or may not be written.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remove_empty(missing)
        raise OutputError(
            f"{folder}: this folder cannot be made: {error.strerror}; choose another -o"
        ) from error
    return missing


def remove_empty(folders: list[Path]) -> None:
    """Remove the folders that are empty, innermost first; others stay."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def staging_name(target: Path) -> Path:
    """A new hidden name beside target, short enough wherever target's own name fits."""
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}.part")


def sync(path: Path) -> None:
    """Wait until a file, or on POSIX a folder's list of names, is on the disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class StagedFile:
    """A temporary file beside its target, which takes the target's name only when it is whole.

    Attributes:
        target: the final path, symbolic links followed.
        path: the temporary file, made empty.

    Raises:
        OutputError: the target exists and overwrite is off, is no regular file, or its folder
            cannot be made or written.
    """

    def __init__(self, target: Path, overwrite: bool = False) -> None:
        self.target = target.resolve() if target.is_symlink() else target
        self._overwrite = overwrite
        self._refuse_existing()
        self._made = make_folders(self.target.parent)
        self.path = staging_name(self.target)
        try:
            self.path.touch(exist_ok=False)
        except OSError as error:
            remove_empty(self._made)
            raise write_fault(self.target, error, 0) from error

    def _refuse_existing(self) -> None:
        if not os.path.lexists(self.target):
            return
        if not self.target.is_file():
            raise OutputError(f"{self.target} exists and is no file; choose another -o")
        if not self._overwrite:
            raise OutputError(f"{self.target} exists; pass --overwrite or choose another -o")

    def publish(self) -> None:
        """Sync, and give the file its final name.

        Raises:
            OutputError: something else has taken the name meanwhile.
            OSError: the disk is full or refuses.
        """
        self._refuse_existing()
        sync(self.path)
        self.path.replace(self.target)
        sync(self.target.parent)

    def discard(self) -> None:
        """Remove the temporary file and the folders made for it; harmless after publish."""
        self.path.unlink(missing_ok=True)
        remove_empty(self._made)


def write_text(path: Path, text: str, overwrite: bool = False) -> None:
    """Write a text file, whole or not at all.

    Raises:
        OutputError: the file exists and overwrite is off, or it cannot be written.
    """
    staged = StagedFile(path, overwrite)
    try:
        staged.path.write_text(text, encoding="utf-8", newline="\n")
        staged.publish()
    except OSError as error:
        raise write_fault(path, error, len(text)) from error
    finally:
        staged.discard()
