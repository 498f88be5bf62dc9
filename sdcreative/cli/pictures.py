"""Pictures that commands draw: whether they can be written is said before anything is rendered."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError


def check_picture(path: Path, overwrite: bool) -> None:
    """Refuse a picture that could not be written at the end.

    Raises:
        OutputError: an ending that is unknown, or a file that is there and must stay.
    """
    from ..media.image import STILL_FORMATS

    if path.suffix.lower() not in STILL_FORMATS:
        raise OutputError(f"{path}: ending {path.suffix!r}; use {', '.join(STILL_FORMATS)}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists; pass --overwrite or choose another name")
