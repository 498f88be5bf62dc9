"""The tags of a finished file: names and texts that travel with it, whatever its format.

They are written with the file (``open_writer``, ``tag_sound``) and read here, by walking over the
pieces of the file: nothing is decoded, and no other program is started.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DataError
from .film_tags import read_iso, read_matroska
from .id3_tags import read_mp3
from .ogg_tags import read_ogg
from .picture_tags import read_gif, read_jpeg, read_png, read_webp
from .probing import frame_files
from .sound_tags import MP3_FRAMES, read_flac, read_wav, tag_sound
from .tags import Source, check_tags

__all__ = ["check_tags", "read_tags", "tag_sound"]

Reader = Callable[[Source], dict[str, str]]

_BEGINNINGS: dict[bytes, Reader] = {
    b"\x89PNG\r\n\x1a\n": read_png,
    b"\xff\xd8\xff": read_jpeg,
    b"GIF8": read_gif,
    b"\x1a\x45\xdf\xa3": read_matroska,
    b"fLaC": read_flac,
    b"OggS": read_ogg,
    b"ID3": read_mp3,
    **dict.fromkeys(MP3_FRAMES, read_mp3),
}
_RIFF: dict[bytes, Reader] = {b"WEBP": read_webp, b"WAVE": read_wav}
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")


def read_tags(path: Path | str) -> dict[str, str]:
    """All tags of a file, or of the first frame in a folder of frames.

    Args:
        path: PNG, APNG, JPEG, WebP, GIF, MP4, QuickTime, Matroska, WAV, FLAC, OGG or MP3; what it
            is shows in its first bytes, its ending does not count.

    Returns:
        name -> text; empty where there are none. A comment of another program is ``comment``.
        Matroska, FLAC and OGG do not tell capitals from small letters: their names come in small
        ones.

    Raises:
        DataError: the file is missing, of another kind, truncated, or has over 16 MB of metadata.
    """
    path = Path(path)
    if path.is_dir():
        frames = frame_files(path)
        if not frames:
            raise DataError(f"{path}: is a folder without frames; give a finished file")
        path = frames[0]
    with Source(path) as source:
        start = source.take(min(12, source.size))
        source.go(0)
        read = _reader(start)
        if read is None:
            what = "is empty" if not start else "is no picture, film or sound that is known here"
            raise DataError(
                f"{path}: {what}; give a png, jpg, webp, gif, apng, mp4, mov, mkv, wav, flac, ogg "
                "or mp3"
            )
        return read(source)


def _reader(start: bytes) -> Reader | None:
    if start.startswith(b"RIFF"):
        return _RIFF.get(start[8:])
    if start[4:8] in _BOXES:
        return read_iso
    return next((read for begin, read in _BEGINNINGS.items() if start.startswith(begin)), None)
