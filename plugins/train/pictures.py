"""Pictures with captions: what every source yields, and how one becomes a training sample."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from PIL import Image, ImageOps

from sdcreative import DataError

from .captions import Captions

BACKGROUNDS: dict[str, tuple[int, int, int]] = {
    "white": (255, 255, 255),
    "black": (24, 24, 26),
    "gray": (150, 152, 156),
    "red": (214, 58, 52),
    "orange": (244, 144, 48),
    "yellow": (250, 214, 70),
    "green": (84, 172, 84),
    "teal": (52, 160, 156),
    "blue": (66, 126, 220),
    "purple": (140, 92, 196),
    "pink": (246, 160, 190),
    "brown": (136, 94, 62),
}
# What Pillow's decoders raise on broken files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError)
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Drawing:
    """One picture of a training set.

    Attributes:
        rgba: uint8 array (height, width, 4); alpha 0 is composited on a background colour.
        captions: phrasings without a background; one is drawn for every sample.
        background_caption: phrasing with ``{background}``, used when the background is named,
            or "" where the picture has no transparency to fill.
        name: the thing drawn, for evaluation, or "" where nobody said.
        style: the drawing style, for evaluation.
        group: the kind of thing, or the folder the picture was in, or "".
        colour: the main colour, or "" where nobody looked.
        avoid: background colours never shown with this thing (held-out compositions).
        mirror: whether a mirrored copy is still described by the captions.
    """

    rgba: np.ndarray
    captions: tuple[str, ...]
    background_caption: str = ""
    name: str = ""
    style: str = ""
    group: str = ""
    colour: str = ""
    avoid: frozenset[str] = field(default_factory=frozenset)
    mirror: bool = True


@dataclass(frozen=True)
class Sample:
    """A composited picture, float32 (3, height, width) in [-1, 1], and its possible captions."""

    pixels: np.ndarray
    captions: tuple[str, ...]


def compose(drawing: Drawing, rng: np.random.Generator, *, white: float = 0.5) -> Sample:
    """Place a drawing on a flat background: mirrored, scaled to 82-100 % and shifted at random.

    Args:
        drawing: the drawing.
        rng: the only source of randomness.
        white: probability of a plain white background, in [0, 1].
    """
    rgba = Image.fromarray(drawing.rgba, "RGBA")
    if drawing.mirror and rng.random() < 0.5:
        rgba = ImageOps.mirror(rgba)
    if not drawing.background_caption:
        return Sample(_to_pixels(rgba.convert("RGB")), drawing.captions)
    colour = "white"
    if rng.random() >= white:
        colour = str(rng.choice([c for c in BACKGROUNDS if c not in drawing.avoid]))
    jitter = 0 if colour == "white" else int(rng.integers(-10, 11))
    fill = tuple(int(np.clip(v + jitter, 0, 255)) for v in BACKGROUNDS[colour])
    canvas = Image.new("RGB", rgba.size, fill)
    scale = rng.uniform(0.82, 1.0)
    width, height = (round(side * scale) for side in rgba.size)
    small = rgba.resize((width, height), Image.Resampling.LANCZOS)
    room = (rgba.width - width, rgba.height - height)
    offset = (int(rng.integers(0, room[0] + 1)), int(rng.integers(0, room[1] + 1)))
    canvas.paste(small, offset, small)
    named = tuple(
        f"{caption}, {drawing.background_caption.format(background=colour)}"
        for caption in drawing.captions
    )
    captions = drawing.captions + named if colour == "white" else named
    return Sample(_to_pixels(canvas), captions)


def _to_pixels(picture: Image.Image) -> np.ndarray:
    array = np.asarray(picture, dtype=np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(array.transpose(2, 0, 1))


def read_folder(
    folder: Path,
    size: int | tuple[int, int],
    captions_file: str | None = None,
    *,
    captioned: bool = True,
    grouped: bool = False,
) -> list[Drawing]:
    """Read a folder of pictures; captions come from a JSONL or CSV file or a .txt beside each one.

    JSONL lines are ``{"file": "a.png", "caption": "..."}``; a CSV has the columns file, caption;
    file_name and text, as in the metadata.jsonl of Hugging Face data sets, are understood too.
    The file may also name pictures in folders below. Lines of a .txt, and several rows of one
    picture, are phrasings of which one is drawn for every sample.

    Args:
        folder: of the pictures.
        size: side, or width and height, in pixels that they are cut to.
        captions_file: name of a JSONL or CSV file in it.
        captioned: whether a picture without a caption is an error.
        grouped: whether pictures in folders below are read too; the folder is their group.

    Raises:
        DataError: no pictures, an unreadable picture, or a picture without a caption.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of pictures with captions")
    captions = Captions(folder, captions_file)
    files = sorted({*list_pictures(folder, deep=grouped), *captions.files})
    if not files:
        raise DataError(f"{folder}: no pictures ({', '.join(PICTURE_SUFFIXES)}) in this folder")
    sides = (size, size) if isinstance(size, int) else size
    return [
        _read_picture(
            path,
            sides,
            captions.of(path, needed=captioned),
            path.parent.relative_to(folder).as_posix().removeprefix("."),
        )
        for path in files
    ]


def list_pictures(folder: Path, *, deep: bool = False) -> list[Path]:
    """Files in a folder whose ending is that of a picture; deep: and in folders below."""
    inside = folder.rglob("*") if deep else folder.iterdir()
    return sorted(p for p in inside if p.suffix.lower() in PICTURE_SUFFIXES)


def _read_picture(
    path: Path, sides: tuple[int, int], captions: tuple[str, ...], group: str
) -> Drawing:
    picture = _open(path)
    rgba = np.array(ImageOps.fit(picture, sides, Image.Resampling.LANCZOS))
    opaque = bool((rgba[..., 3] == 255).all())
    return Drawing(
        rgba=rgba,
        captions=captions,
        background_caption="" if opaque else "on a {background} background",
        group=group,
        mirror=not any(_mentions_side(caption) for caption in captions),
    )


def read_pixels(path: Path) -> np.ndarray:
    """A picture as it is, on white, float32 (3, height, width) in [-1, 1].

    Raises:
        DataError: it cannot be read.
    """
    picture = _open(path)
    white = Image.new("RGBA", picture.size, "white")
    return _to_pixels(Image.alpha_composite(white, picture).convert("RGB"))


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG", "WEBP", "BMP")) as opened:
                return _as_rgba(ImageOps.exif_transpose(opened))
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: not a readable picture ({error})") from error


def _as_rgba(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        grey = (np.asarray(picture).astype(np.int64) + 128) // 257
        picture = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    elif not picture.has_transparency_data:
        picture = picture.convert("RGB")
    return picture.convert("RGBA")


def _mentions_side(caption: str) -> bool:
    return bool({"left", "right"} & set(re.findall(r"[a-z]+", caption.lower())))


class Chosen(Sequence[Drawing]):
    """Some of a sequence of drawings, each made when it is asked for."""

    def __init__(self, drawings: Sequence[Drawing], places: Sequence[int]) -> None:
        self._drawings, self._places = drawings, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Drawing: ...
    @overload
    def __getitem__(self, place: slice) -> Chosen: ...
    def __getitem__(self, place: int | slice) -> Drawing | Chosen:
        if isinstance(place, slice):
            return Chosen(self._drawings, self._places[place])
        return self._drawings[self._places[place]]


def split_held_out(
    drawings: Sequence[Drawing], every: int
) -> tuple[Sequence[Drawing], Sequence[Drawing]]:
    """Split off every n-th drawing (0: none) for measurement; returns (training, held out).

    Of four drawings or more at least one is held out.
    """
    if 4 <= len(drawings) < every:
        every = len(drawings)
    if every == 0 or len(drawings) < every:
        return drawings, []
    kept = [place for place in range(len(drawings)) if (place + 1) % every]
    return Chosen(drawings, kept), Chosen(drawings, range(every - 1, len(drawings), every))
