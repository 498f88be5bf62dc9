"""Pictures of spectrograms in and out, with what they were made with in Riffusion's EXIF tags."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError, OutputError
from ..spectral.params import EXIF_TAGS, MAX_VALUE_TAG, SpectrogramParams
from .image import STILL_FORMATS, check, check_side, png_text, read_picture
from .output import StagedFile, estimate_bytes, write_fault
from .picture_tags import riff_chunks
from .spectrogram import MAX_VALUE, image_to_spectrogram, spectrogram_to_image
from .tags import Source, check_tags

WIDEST = 65_535
"""columns in a picture: what JPEG holds and most programs open, 10 min 55 s in steps of 10 ms"""
_WIDEST_WEBP = 16_383
_COLOURED = 16
"""levels by which the colours of grey pictures differ on average, at most"""
_SILENT = 4
_LOUDEST = 1e18
"""a magnitude that no sound has; its fourth power would overflow"""


def longest_seconds(params: SpectrogramParams, path: Path) -> float:
    """How much sound fits into one picture of the format that a path names."""
    widest = _WIDEST_WEBP if path.suffix.lower() == ".webp" else WIDEST
    return params.seconds(widest)


def write_spectrogram(
    mel: NDArray[numpy.float32],
    params: SpectrogramParams,
    path: Path | str,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a spectrogram as PNG, lossless WebP or, in grey, JPEG.

    Args:
        mel: (channels, bands, columns).
        metadata: tags beside those of EXIF, as ``write_picture`` takes; PNG only.

    Raises:
        OutputError: the file exists or cannot be written, another ending, too many columns, stereo
            as JPEG, or metadata in another format than PNG.
        DataError: no spectrogram.
    """
    path = Path(path)
    tags = dict(metadata or {})
    check_tags(tags)
    check_spectrogram(path, params, mel.shape[-1], tags)
    staged = StagedFile(path, overwrite)
    try:
        save_spectrogram(mel, params, staged.path, path, tags)
        staged.publish()
    except OSError as error:
        wanted = estimate_bytes(path.suffix, (mel.shape[-1], params.bands), 1)
        raise write_fault(path, error, wanted) from error
    finally:
        staged.discard()


def check_spectrogram(
    path: Path, params: SpectrogramParams, columns: int, tags: Mapping[str, str] | None = None
) -> None:
    """Refuse a file that cannot hold a spectrogram, before it is made.

    Raises:
        OutputError: another ending, too many columns, stereo as JPEG, or metadata in another
            format than PNG.
    """
    kind = STILL_FORMATS.get(path.suffix.lower())
    if kind is None:
        raise OutputError(f"{path}: ending {path.suffix!r}; use {', '.join(STILL_FORMATS)}")
    if kind == "JPEG" and params.stereo:
        raise OutputError(
            f"{path}: JPEG blurs colours, and with them left and right; use .png or .webp"
        )
    if tags and kind != "PNG":
        raise OutputError(f"{path}: a spectrogram takes metadata beside its EXIF as .png only")
    if columns > WIDEST:
        raise OutputError(f"{path}: {columns} columns; a picture holds up to {WIDEST}")
    check_side(path, (columns, params.bands), kind)


def save_spectrogram(
    mel: NDArray[numpy.float32],
    params: SpectrogramParams,
    file: Path,
    path: Path,
    tags: Mapping[str, str],
) -> None:
    """Write a spectrogram to a file that is not published yet, and read it back.

    Args:
        mel: (channels, bands, columns).
        file: to write.
        path: its name later, whose ending chooses the format.
        tags: beside those of EXIF; PNG only.

    Raises:
        OutputError: it does not read back.
        DataError: no spectrogram.
        OSError: from the disk.
    """
    kind = STILL_FORMATS[path.suffix.lower()]
    picture = spectrogram_to_image(mel, params)
    exif = Image.Exif()
    for tag, value in params.to_exif().items():
        exif[tag] = value
    exif[MAX_VALUE_TAG] = float(mel.max())
    options: dict[str, Any] = {"exif": exif}
    if kind == "PNG":
        options["pnginfo"] = png_text(tags)
    elif kind == "WEBP":
        options |= {"lossless": True, "exact": True}
    else:
        options |= {"quality": 95, "subsampling": "4:4:4"}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    file.write_bytes(buffer.getvalue())
    check(file, picture.size, path)


def read_spectrogram(
    path: Path | str,
) -> tuple[NDArray[numpy.float32], SpectrogramParams, bool]:
    """A spectrogram from a picture.

    Missing tags mean Riffusion's defaults. A picture without any tags is stereo where red is
    empty and another colour is not.

    Returns:
        (channels, bands, columns), how it was made, and whether its loudness is known.

    Raises:
        DataError: the file cannot be read, is no spectrogram, has another height than its tags say,
            or is stereo in a format that blurs colours.
    """
    path = Path(path)
    picture = read_picture(path)
    with Image.open(path) as opened:
        exif, kind = opened.getexif(), opened.format
    try:
        params = SpectrogramParams.from_exif(exif)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if not any(tag in exif for tag in EXIF_TAGS.values()):
        params = _guess(path, picture)
    if params.stereo and _blurs(path, kind):
        raise DataError(
            f"{path}: a stereo spectrogram as JPEG or lossy WebP; these blur colours, and with "
            "them left and right; give the PNG it was made from"
        )
    loudest = _loudest(exif.get(MAX_VALUE_TAG))
    try:
        mel = image_to_spectrogram(picture, params, MAX_VALUE if loudest is None else loudest)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return mel, params, loudest is not None


def _loudest(tag: Any) -> float | None:
    try:
        value = float(tag)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return value if 0 <= value <= _LOUDEST else None


def _guess(path: Path, picture: Image.Image) -> SpectrogramParams:
    params = SpectrogramParams()
    if picture.height != params.bands:
        raise DataError(
            f"{path}: {picture.width}x{picture.height} pixels without EXIF tags; a spectrogram "
            f"without them is {params.bands} pixels high"
        )
    red, green, blue = numpy.asarray(picture, numpy.int16).transpose(2, 0, 1)
    if red.max() <= _SILENT < max(green.max(), blue.max()):
        return SpectrogramParams(stereo=True)
    if max(numpy.abs(red - green).mean(), numpy.abs(red - blue).mean()) > _COLOURED:
        raise DataError(f"{path}: a picture in colours, and no spectrogram by its EXIF tags")
    return params


def _blurs(path: Path, kind: str | None) -> bool:
    """Whether a file keeps colours at half the resolution."""
    if kind != "WEBP":
        return kind == "JPEG"
    with Source(path) as source:
        return any(name == b"VP8 " for name, _ in riff_chunks(source))
