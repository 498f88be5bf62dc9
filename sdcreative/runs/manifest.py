"""What a run is, as it stands in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ..errors import DataError
from ..media.output import write_text

FORMAT = 1
FILE = "manifest.json"

Status = Literal["running", "finished", "stopped", "failed", "in shards"]


class Published(BaseModel):
    """A file or folder that a run wrote, so that a later one knows it for its own."""

    model_config = ConfigDict(frozen=True)

    path: str
    size: int
    modified: int
    """nanoseconds, of the file that was written last"""

    @classmethod
    def of(cls, path: Path) -> Published:
        files = [path]
        if path.is_dir():
            files = [file for file in path.iterdir() if not file.name.startswith(".")]
        states = [file.stat() for file in files]
        return cls(
            path=str(path.resolve()),
            size=sum(state.st_size for state in states),
            modified=max((state.st_mtime_ns for state in states), default=0),
        )


class Manifest(BaseModel):
    """A run; keys that a newer version added are left alone when it is read."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    format: int = FORMAT
    id: str
    tool: str
    name: str
    """of the output where the settings give none"""
    settings: dict[str, Any]
    """what the preset and the flags gave, as JSON"""
    folder: str = "."
    """the current folder then, against which paths in the settings are meant"""
    metadata: bool = True
    """whether the output carries its settings"""
    model_name: str
    model: str
    """digest of the model"""
    size: tuple[int, int]
    dtype: str
    device: str
    seed: int
    batch_size: int = 0
    """pictures denoised together at the end"""
    versions: dict[str, str]
    frames: int
    composed: list[list[int]] = []
    """spans of frames that batches are made of, as long as the run is not finished"""
    status: Status = "running"
    fault: str = ""
    began: float
    """seconds since 1970"""
    ended: float | None = None
    seconds: float = 0.0
    """spent, over all times that the run was begun"""
    output: str = ""
    partial: Published | None = None
    """what was encoded of frames that were finished when the run was stopped"""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a run's folder.

    Raises:
        DataError: missing, broken, or of a newer format.
    """
    path = folder / FILE
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise DataError(f"{path}: is broken at {where}: {first['msg']}; remove {folder}") from None
    if manifest.format > FORMAT:
        raise DataError(f"{path}: was written by a newer version; upgrade sdcreative")
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put it in place of the one before, whole or not at all.

    Raises:
        OutputError: the disk is full, or the folder cannot be written.
    """
    write_text(folder / FILE, manifest.model_dump_json(indent=1) + "\n", overwrite=True)
