"""A folder of pictures that clips begin from, looked through once, when the server starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sdcreative import DataError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative.media.spectrogram import SpectrogramParams

ENDINGS = (".png", ".jpg", ".jpeg")
MOST = 256
"""pictures in a folder; they are kept in memory"""


def read_seed_images(folder: Path, params: SpectrogramParams, columns: int) -> dict[str, Image]:
    """The pictures of a folder by name without ending: ``bands`` high, ``columns`` wide at most.

    Their time is brought to the model's by the step in their EXIF tags (10 ms without any), and
    what is longer than the model's pictures is cut off at the end, so that beat 1 stays in place.

    Raises:
        UsageError: no pictures in it, too many, or two of one name.
        DataError: a picture cannot be read.
    """
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    )
    if not files:
        raise UsageError(f"--seed-images {folder}: no {', '.join(ENDINGS)} in this folder")
    if len(files) > MOST:
        raise UsageError(f"--seed-images {folder}: {len(files)} pictures; give up to {MOST}")
    found: dict[str, Image] = {}
    for file in files:
        if file.stem in found:
            raise UsageError(f"--seed-images {folder}: two pictures are named {file.stem!r}")
        found[file.stem] = _read(file, params, columns)
    return found


def _read(file: Path, params: SpectrogramParams, columns: int) -> Image:
    from PIL import Image

    from sdcreative import read_picture
    from sdcreative.media.spectrogram import SpectrogramParams

    picture = read_picture(file)
    with Image.open(file) as opened:
        exif = opened.getexif()
    try:
        step = SpectrogramParams.from_exif(exif).step_ms
    except DataError as error:
        raise DataError(f"{file}: {error}") from error
    size = max(1, round(picture.width * step / params.step_ms)), params.bands
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture.crop((0, 0, min(columns, picture.width), picture.height))
