"""Single pictures: files to upright 8-bit pictures, and back."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from ..errors import DataError, OutputError
from .output import StagedFile, estimate_bytes, write_fault
from .picture_tags import webp_chunks, with_jpeg_segments
from .tags import check_tags

STILL_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LONGEST_SIDE = {"JPEG": 65_535, "WEBP": 16_383, "GIF": 65_535}

# Named, because Pillow would otherwise also start Ghostscript for PostScript.
_READ_FORMATS = (
    "PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "TGA", "ICO"
)  # fmt: skip
# What Pillow's decoders raise on broken files, beside OSError.
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip


def read_picture(
    path: Path | str, size: tuple[int, int] | None = None, mode: Literal["RGB", "L"] = "RGB"
) -> Image.Image:
    """A picture from a file: upright, opaque, 8 bits a channel; the first frame of an animation.

    EXIF rotation is applied, 16-bit grey is scaled to 8, CMYK and palettes are converted.

    Args:
        path: PNG, JPEG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000, PPM, TGA or ICO.
        size: (width, height) in pixels; the picture is scaled (Lanczos) until it covers this, and
            what juts out is cut off evenly. None keeps its own size.
        mode: "RGB": transparent parts become white. "L", for masks: luminance; transparent parts
            become black, so that white strokes on an empty layer are a mask too.

    Raises:
        DataError: the file is missing, no picture, truncated, or has over 178 million pixels.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give a picture")
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: is a pipe or device; save it as a file first")
    try:
        with warnings.catch_warnings():
            # Pillow warns at half the size that it refuses; photographs do get that large.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_readable()) as opened:
                opened.load()
                picture = _eight_bits(path, ImageOps.exif_transpose(opened))
                picture = flatten(picture, mode)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except PermissionError:
        raise DataError(f"{path}: may not be read; check its permissions") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is no picture{_what_it_is(path)}") from None
    except Image.DecompressionBombError:
        raise DataError(
            f"{path}: has over 178 million pixels; scale it down with another program"
        ) from None
    except _BROKEN as error:
        raise DataError(f"{path}: this picture is broken or truncated: {error}") from error
    if size is not None and picture.size != size:
        picture = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return picture


def _readable() -> list[str]:
    Image.init()
    return [kind for kind in _READ_FORMATS if kind in Image.OPEN]  # AVIF is an option of Pillow


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if not start:
        return ": it is empty"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return ": it looks like a web page or SVG; save it as PNG"
    if start.startswith(b"version https://git-lfs"):
        return ": it is a Git LFS pointer; run git lfs pull"
    return " that is known here; save it as PNG or JPEG"


def _eight_bits(path: Path, picture: Image.Image) -> Image.Image:
    if picture.mode != "I" and not picture.mode.startswith("I;16"):
        if picture.mode == "F":
            raise DataError(f"{path}: holds floating point numbers; save it with 8 or 16 bits")
        return picture
    values = numpy.asarray(picture).astype(numpy.int64)
    if values.size and (values.min() < 0 or values.max() > 65_535):
        raise DataError(f"{path}: has 32 bits a channel; save it with 8 or 16 bits")
    return Image.fromarray(((values + 128) // 257).astype(numpy.uint8))


def flatten(picture: Image.Image, mode: Literal["RGB", "L"] = "RGB") -> Image.Image:
    """A picture without transparency: on white for "RGB", on black for "L"."""
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        ground = Image.new("RGBA", clear.size, "white" if mode == "RGB" else "black")
        picture = Image.alpha_composite(ground, clear)
    return picture if picture.mode == mode else picture.convert(mode)


def write_picture(
    picture: Image.Image,
    path: Path | str,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a PNG, JPEG or WebP: beside the target first, read back, then moved into place.

    Args:
        metadata: tags, names of 1 to 79 Latin-1 characters; ``read_tags`` finds them again.

    Raises:
        OutputError: the file exists, cannot be written, does not read back, or cannot hold the
            metadata.
    """
    path = Path(path)
    if path.suffix.lower() not in STILL_FORMATS:
        raise OutputError(f"{path}: ending {path.suffix!r}; use {', '.join(STILL_FORMATS)}")
    staged = StagedFile(path, overwrite)
    try:
        save(picture, staged.path, path.suffix, metadata)
        check(staged.path, picture.size, path)
        staged.publish()
    except OSError as error:
        wanted = estimate_bytes(path.suffix, picture.size, 1)
        raise write_fault(path, error, wanted) from error
    finally:
        staged.discard()


def save(
    picture: Image.Image, path: Path, suffix: str, metadata: Mapping[str, str] | None = None
) -> None:
    """Encode a picture into a file, in the format that suffix names.

    Raises:
        OutputError: the format cannot hold the picture or the metadata.
        OSError: from the disk.
    """
    kind = STILL_FORMATS[suffix.lower()]
    check_side(path, picture.size, kind)
    tags = metadata or {}
    check_tags(tags)
    options: dict[str, Any] = {"quality": 95}
    if kind == "PNG":
        options = {"pnginfo": png_text(tags)}
        if picture.mode not in ("RGB", "RGBA", "L", "LA", "1", "P", "I;16"):
            picture = flatten(picture)
    elif kind == "JPEG":
        buffer = io.BytesIO()
        flatten(picture).save(buffer, "JPEG", subsampling="4:4:4", **options)
        path.write_bytes(with_jpeg_segments(buffer.getvalue(), tags))
        return
    elif picture.mode != "RGBA":
        picture = flatten(picture)
    if kind == "WEBP":
        chunks = webp_chunks(tags)
        options |= {"exif": chunks.get(b"EXIF", b""), "xmp": chunks.get(b"XMP ", b"")}
    picture.save(path, format=kind, **options)


def png_text(metadata: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    """Metadata as PNG text chunks (PNG specification, 11.3.3)."""
    text = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        text.add_text(key, value)
    return text


def check_side(path: Path, size: tuple[int, int], kind: str) -> None:
    """Refuse a size that a format cannot hold."""
    limit = LONGEST_SIDE.get(kind)
    if limit is not None and max(size) > limit:
        raise OutputError(
            f"{path}: {size[0]}x{size[1]} pixels; {kind} holds up to {limit} a side; use .png"
        )


def check(path: Path, size: tuple[int, int], name: Path) -> None:
    """Read a written picture back.

    Raises:
        OutputError: naming ``name``: it does not decode, or has another size.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                picture.load()
                found = picture.size
    except (*_BROKEN, Image.DecompressionBombError) as error:
        raise OutputError(f"{name}: does not read back after writing: {error}") from error
    if found != size:
        raise OutputError(
            f"{name}: reads back as {found[0]}x{found[1]} pixels instead of {size[0]}x{size[1]}"
        )
