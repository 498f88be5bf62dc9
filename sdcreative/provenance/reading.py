"""A finished file to how it was made."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError
from ..media.metadata import read_tags
from ..media.probing import frame_files
from .foreign import ask_sd_parsers, provenance_of
from .parameters import parse_parameters
from .record import TAG, Provenance


def read_provenance(path: Path | str) -> Provenance:
    """How a picture, film, sound or folder of frames was made.

    Our own record counts first; then AUTOMATIC1111's text; then, where the package sd-parsers is
    installed, what other programs write into pictures.

    Raises:
        DataError: no such file, one of an unknown kind, a broken one, or one that says nothing.
    """
    path = Path(path)
    _refuse_pipes(path)
    found = read_tags(path)
    if TAG in found:
        return Provenance.from_json(found[TAG], path)
    for tag in ("parameters", "comment"):
        if parameters := parse_parameters(found.get(tag, "")):
            return provenance_of(parameters)
    if provenance := ask_sd_parsers(path):
        return provenance
    hint = "was it written with --no-metadata, or sent through a service that removes them?"
    if {"prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment"} & set(found):
        hint = "for pictures of ComfyUI, InvokeAI and NovelAI, run 'pip install sd-parsers'"
    raise DataError(f"{path}: holds no settings, neither ours nor AUTOMATIC1111's; {hint}")


def _refuse_pipes(path: Path) -> None:
    """What is neither file nor folder may never come to an end."""
    for one in [path, *(frame_files(path)[:1] if path.is_dir() else ())]:
        if one.exists() and not one.is_file() and not one.is_dir():
            raise DataError(f"{one}: is a pipe or a device, not a file; give a finished file")
