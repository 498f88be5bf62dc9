"""The pictures to learn from, each looked at once: its size, its content, what it shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sdcreative import DataError, read_picture

from ..emoji import read_emoji
from ..pictures import PICTURE_SUFFIXES, Captions, list_pictures
from .settings import EmojiDrawings
from .store import write_whole

NAMED = 10
"""broken pictures named in a message"""


@dataclass(frozen=True)
class Example:
    """One picture of the data.

    Attributes:
        name: for messages.
        captions: phrasings, of which one is drawn every time.
        size: (width, height) in pixels, upright.
        digest: of its content and background, in hexadecimal digits.
        look: 64 bits that are alike for pictures that look alike.
        open: gives the picture, RGB and upright.
    """

    name: str
    captions: tuple[str, ...]
    size: tuple[int, int]
    digest: str
    look: int
    open: Callable[[], Image.Image]


def read_examples(
    folder: Path,
    captions_file: str | None,
    background: str,
    known: Path,
    *,
    skip_broken: bool = False,
    report: Callable[[str], None],
) -> list[Example]:
    """The pictures of a folder, with captions as ``pictures.read_folder`` takes them.

    Args:
        folder: of PNG, JPEG, WebP and BMP files.
        captions_file: JSONL or CSV in it; else a .txt lies beside each picture.
        background: colour behind transparent pictures.
        known: JSON file of what was found out of pictures, so that each is decoded once.
        skip_broken: leave out what cannot be used, and say so.
        report: prints one line.

    Raises:
        DataError: no pictures, or one that cannot be read or has no caption: all are named.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of pictures with captions")
    captions = Captions(folder, captions_file)
    files = sorted({*list_pictures(folder), *captions.files})
    if not files:
        raise DataError(f"{folder}: no pictures ({', '.join(PICTURE_SUFFIXES)}) in this folder")
    facts = _Facts(known)
    found, faults = [], []
    for path in files:
        try:
            said = captions.of(path)
            digest = _digest(path, background)
            size, look = facts.of(digest, lambda path=path: open_picture(path, background))
        except DataError as error:
            faults.append(str(error))
            continue
        opener = _opener(path, background)
        found.append(Example(path.name, said, size, digest, look, opener))
    facts.keep()
    _tell_faults(faults, len(files), skip_broken or None, report)
    if not found:
        raise DataError(f"{folder}: none of its {len(files)} pictures can be used")
    return found


def _tell_faults(
    faults: Sequence[str], files: int, skip: bool | None, report: Callable[[str], None]
) -> None:
    if not faults:
        return
    for fault in faults[:NAMED]:
        report(f"data: {fault}")
    more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    if skip:
        report(f"data: {len(faults)} of {files} pictures are left out{more and ', named or not'}")
        return
    raise DataError(
        f"{len(faults)} of {files} pictures cannot be used: {'; '.join(faults[:NAMED])}{more}. "
        "Mend or remove them, or set skip_broken: true"
    )


def read_drawings(
    data: EmojiDrawings, cache: Path, size: int, background: str, known: Path
) -> list[Example]:
    """Emoji drawings on a background.

    Raises:
        DataError: they cannot be fetched or rendered, or there is none of the styles.
    """
    drawings = read_emoji(cache, size, data.groups, hold_out_pairs=0)
    styles = sorted({drawing.style for drawing in drawings})
    unknown = [style for style in data.styles or () if style not in styles]
    if unknown:
        raise DataError(f"no drawings of style {unknown[0]!r}; there are {', '.join(styles)}")
    facts = _Facts(known)
    found = []
    for drawing in drawings:
        if data.styles is not None and drawing.style not in data.styles:
            continue
        rgba = np.ascontiguousarray(drawing.rgba)
        digest = hashlib.sha256(f"{rgba.shape}{background}\n".encode() + rgba.tobytes())
        opener = _on_background(rgba, background)
        shape, look = facts.of(digest.hexdigest(), opener)
        name = f"{drawing.name} ({drawing.style})"
        found.append(Example(name, drawing.captions, shape, digest.hexdigest(), look, opener))
    facts.keep()
    return found


def open_picture(path: Path, background: str) -> Image.Image:
    """A picture, upright, RGB, on a background where it is transparent.

    Raises:
        DataError: it cannot be read.
    """
    picture = read_picture(path)
    with Image.open(path) as opened:
        if not opened.has_transparency_data:
            return picture
        return _composed(ImageOps.exif_transpose(opened).convert("RGBA"), background)


def difference_hash(picture: Image.Image) -> int:
    """64 bits: whether each cell of a grid of 9 x 8 is darker than the one on its right.

    The bits hardly change when a picture is scaled, compressed or brightened (Krawetz, "Kind of
    like that", 2013).
    """
    cells = np.asarray(picture.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (cells[:, 1:] > cells[:, :-1]).flatten()
    return int("".join("1" if bit else "0" for bit in bits), 2)


class _Facts:
    """Sizes and looks of pictures by their digests, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            known = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
        self._known: dict[str, list[int]] = known if isinstance(known, dict) else {}
        self._new = False

    def of(self, digest: str, opener: Callable[[], Image.Image]) -> tuple[tuple[int, int], int]:
        row = self._known.get(digest)
        if row is None:
            picture = opener()
            row = self._known[digest] = [*picture.size, difference_hash(picture)]
            self._new = True
        width, height, look = row
        return (width, height), look

    def keep(self) -> None:
        if self._new:
            write_whole(self._path, json.dumps(self._known).encode())


def _digest(path: Path, background: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return hashlib.sha256(f"{background}\n".encode() + content).hexdigest()


def _opener(path: Path, background: str) -> Callable[[], Image.Image]:
    return lambda: open_picture(path, background)


def _on_background(rgba: np.ndarray, background: str) -> Callable[[], Image.Image]:
    return lambda: _composed(Image.fromarray(rgba, "RGBA"), background)


def _composed(rgba: Image.Image, background: str) -> Image.Image:
    ground = Image.new("RGBA", rgba.size, background)
    return Image.alpha_composite(ground, rgba).convert("RGB")
