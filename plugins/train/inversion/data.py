"""The few pictures that a word is learned from, with what is said of them, and their variants."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from sdcreative import DataError, read_picture

from ..captions import Captions
from ..pictures import PICTURE_SUFFIXES, list_pictures
from ..tuning.buckets import Placement
from ..tuning.examples import Example, difference_hash
from .drawings import draw_toy
from .scenes import PLACE, Kind
from .settings import DrawnPictures, LearnSettings

TEMPLATES: dict[Kind, tuple[str, ...]] = {
    "object": ("a picture of a {}", "a {}", "{}", "a picture of one {}"),
    "style": ("a picture, {} style", "a picture in the style of {}", "{} style"),
}
SMALLEST_CROP = 0.7
SHOWN = 5
_ORIENTATION = 0x0112
"""EXIF tag of how a picture is turned"""


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the data.

    Attributes:
        name: for messages.
        captions: with ``{}`` for the word.
        size: (width, height) in pixels, upright.
        digest: of its content, in hexadecimal digits.
        look: 64 bits that are alike for pictures that look alike.
        open: gives the picture, RGBA and upright.
        mask: gives a picture (L), 255 for what is to be learned; None without one.
        is_transparent: whether there is anything to see behind it.
        turned: whether its EXIF tag says so.
        captioned: whether somebody described it.
    """

    name: str
    captions: tuple[str, ...]
    size: tuple[int, int]
    digest: str
    look: int
    open: Callable[[], Image.Image]
    mask: Callable[[], Image.Image] | None = None
    is_transparent: bool = False
    turned: bool = False
    captioned: bool = False

    @property
    def rgba(self) -> Image.Image:
        """The picture itself, opened anew."""
        return self.open()

    def as_example(self, vectors: int) -> Example:
        """The picture as the survey looks at it, with as many words as the new one has vectors."""
        word = " ".join(["a"] * vectors)
        captions = tuple(one.replace(PLACE, word) for one in self.captions)
        return Example(self.name, captions, self.size, self.digest, self.look, self.open)


def read_pictures(
    settings: LearnSettings, folder: Path | None, report: Callable[[str], None]
) -> list[Picture]:
    """All pictures, each looked at once; what is odd about them is said.

    Args:
        settings: which.
        folder: where they are; None for drawn ones.
        report: prints one line.

    Raises:
        DataError: no pictures, or some that cannot be read, all named.
    """
    plain = tuple(settings.templates) or TEMPLATES[settings.kind]
    data = settings.data
    if isinstance(data, DrawnPictures):
        return [
            _picture(f"drawing {number + 1}", plain, one, partial(_same, one))
            for number, one in enumerate(draw_toy(data.count))
        ]
    if folder is None or not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a folder of three to five pictures")
    captions = Captions(folder, getattr(data, "captions", None))
    files = sorted({*list_pictures(folder), *captions.files})
    _tell_others(folder, files, report)
    if not files:
        raise DataError(f"{folder}: no pictures ({', '.join(PICTURE_SUFFIXES)}) in this folder")
    masks = getattr(data, "masks", None)
    found, faults = [], []
    for path in files:
        try:
            said = [one for one in captions.of(path, needed=False) if one]
            mask = None if masks is None else Path(masks).expanduser() / path.name
            found.append(_read(path, said, mask, settings, plain))
        except DataError as error:
            faults.append(str(error))
    tell_faults(faults, len(files), "pictures", folder, settings, report)
    return found


def tell_faults(
    faults: Sequence[str],
    files: int,
    what: str,
    folder: Path,
    settings: LearnSettings,
    report: Callable[[str], None],
) -> None:
    """Say which of the files of a folder are left out.

    Args:
        faults: one line for each file that cannot be used.
        files: how many there are.
        what: they are, in the plural.
        folder: where.
        settings: whether any may be left out.
        report: prints one line.

    Raises:
        DataError: none may be, or all would be.
    """
    if faults and not settings.skip_broken:
        raise DataError(
            f"{len(faults)} of {files} {what} cannot be used: {'; '.join(faults)}. "
            "Mend or remove them, or set skip_broken: true"
        )
    for fault in faults:
        report(f"data: left out: {fault}")
    if len(faults) == files:
        raise DataError(f"{folder}: none of its {files} {what} can be used")


def _read(
    path: Path,
    said: Sequence[str],
    mask: Path | None,
    settings: LearnSettings,
    plain: tuple[str, ...],
) -> Picture:
    rgba = _open(path)
    with Image.open(path) as opened:
        turned = opened.getexif().get(_ORIENTATION, 1) != 1
    if mask is not None and (size := _read_mask(mask).size) != rgba.size:
        raise DataError(
            f"{path}: has {rgba.width}x{rgba.height} pixels, its mask {size[0]}x{size[1]}"
        )
    captions = tuple(with_word(one, settings.token, settings.kind) for one in said) or plain
    found = _picture(path.name, captions, rgba, partial(_open, path))
    opener = None if mask is None else partial(_read_mask, mask)
    return replace(found, mask=opener, turned=turned, captioned=bool(said))


def _picture(
    name: str, captions: tuple[str, ...], rgba: Image.Image, opener: Callable[[], Image.Image]
) -> Picture:
    """What there is to know of a picture, so that it need not be held."""
    digest = hashlib.sha256(f"{rgba.size}\n".encode() + rgba.tobytes()).hexdigest()
    look = difference_hash(rgba.convert("RGB"))
    clear = bool((np.asarray(rgba.getchannel("A")) < 255).any())
    return Picture(name, captions, rgba.size, digest, look, opener, is_transparent=clear)


def _open(path: Path) -> Image.Image:
    """A picture, RGBA and upright.

    Raises:
        DataError: it cannot be read.
    """
    picture = read_picture(path)
    with Image.open(path) as opened:
        if not opened.has_transparency_data:
            return picture.convert("RGBA")
        return ImageOps.exif_transpose(opened).convert("RGBA")


def _same(picture: Image.Image) -> Image.Image:
    return picture


def _read_mask(path: Path) -> Image.Image:
    """As its picture, upright; a mask may have any of the endings of pictures."""
    for suffix in (path.suffix, *PICTURE_SUFFIXES):
        if path.with_suffix(suffix).is_file():
            return read_picture(path.with_suffix(suffix)).convert("L")
    raise DataError(f"{path}: there is no mask of this name")


def with_word(caption: str, token: str, kind: Kind) -> str:
    """A caption with ``{}`` for the word; where it lacks the word, that is put to it.

    >>> with_word("a <toy> on a table", "<toy>", "object")
    'a {} on a table'
    >>> with_word("a house by the sea", "<ink>", "style")
    'a house by the sea, {} style'
    """
    if PLACE in caption:
        return caption
    pattern = re.compile(re.escape(token), re.IGNORECASE)
    if pattern.search(caption):
        return pattern.sub(PLACE, caption)
    return f"{PLACE}, {caption}" if kind == "object" else f"{caption}, {PLACE} style"


def _tell_others(folder: Path, files: Sequence[Path], report: Callable[[str], None]) -> None:
    beside = {".txt", ".jsonl", ".csv"}
    others = [
        one.name
        for one in sorted(folder.iterdir())
        if one.is_file() and one not in files and one.suffix.lower() not in beside
    ]
    if others:
        more = ", …" if len(others) > SHOWN else ""
        report(f"data: {len(others)} files are no pictures: {', '.join(others[:SHOWN])}{more}")


def may_mirror(captions: Sequence[str]) -> bool:
    """Whether captions are true of the mirrored picture."""
    words = {word for one in captions for word in re.findall(r"[a-z]+", one.lower())}
    return not words & {"left", "right"}


@dataclass(frozen=True, eq=False)
class Variant:
    """A picture as it is learned from: on a background, perhaps mirrored, and a piece of it.

    Attributes:
        example: opens it.
        placement: how it fills its bucket.
        mask: opens what counts in full; None where all of it does.
    """

    example: Example
    placement: Placement
    mask: Callable[[], Image.Image] | None


def variants(
    picture: Picture, number: int, placement: Placement, settings: LearnSettings
) -> list[Variant]:
    """All that is made of one picture; the first is the picture as it is.

    Args:
        picture: it.
        number: its place, for crops, which are the same every time.
        placement: of the whole picture.
        settings: which variants.
    """
    rng = np.random.default_rng([settings.schedule.seed, number])
    placements = [placement, *(_crop(placement, rng) for _ in range(settings.crops))]
    mirrored = [False, True] if settings.mirror and may_mirror(picture.captions) else [False]
    colours = settings.backgrounds if picture.is_transparent else settings.backgrounds[:1]
    said = picture.is_transparent and len(colours) > 1
    return [
        _variant(picture, one, mirror, colour, said, settings.loss.outside < 1)
        for one in placements
        for mirror in mirrored
        for colour in colours
    ]


def _variant(
    picture: Picture, placement: Placement, mirror: bool, colour: str, said: bool, masked: bool
) -> Variant:
    def turned(image: Image.Image) -> Image.Image:
        return ImageOps.mirror(image) if mirror else image

    def opened() -> Image.Image:
        ground = Image.new("RGBA", picture.size, colour)
        return turned(Image.alpha_composite(ground, picture.open()).convert("RGB"))

    def mask() -> Image.Image:
        return turned(picture.open().getchannel("A") if picture.mask is None else picture.mask())

    captions = picture.captions
    if said:
        captions = tuple(f"{one}, on a {colour} background" for one in captions)
    made = f"{picture.digest} {mirror} {colour} {placement}"
    digest = hashlib.sha256(made.encode()).hexdigest()
    example = Example(picture.name, captions, picture.size, digest, picture.look, opened)
    has_mask = masked and (picture.mask is not None or picture.is_transparent)
    return Variant(example, placement, mask if has_mask else None)


def _crop(whole: Placement, rng: np.random.Generator) -> Placement:
    """A piece of a picture, as a placement that scales it more."""
    share = rng.uniform(SMALLEST_CROP, 1)
    width, height = (
        max(a, round(b / share)) for a, b in zip(whole.bucket, whole.scaled, strict=True)
    )
    left = int(rng.integers(0, width - whole.bucket[0] + 1))
    top = int(rng.integers(0, height - whole.bucket[1] + 1))
    return Placement(whole.original, (width, height), left, top, whole.bucket)
