"""Removing runs, and the frames and music that no run has any more."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .home import frames_folder, music_folder, runs_folder
from .manifest import Manifest
from .run import is_active, owned_keys
from .store import FrameStore

LEFT_BEHIND = 3600.0
"""seconds after which an unfinished file is nobody's"""


@dataclass(frozen=True)
class Cleaned:
    """What was removed, or would be.

    Attributes:
        runs: their names.
        frames: number of pictures.
        size: bytes freed.
        busy: names of runs that were left alone, as they are being rendered.
    """

    runs: tuple[str, ...]
    frames: int
    size: int
    busy: tuple[str, ...]


def clean(wanted: Sequence[Manifest], *, dry_run: bool = False) -> Cleaned:
    """Remove runs, and all frames that none of the others has.

    Args:
        wanted: runs to remove; none removes only frames that are no run's.
        dry_run: only say what would go.
    """
    busy = [run.id for run in wanted if is_active(run)]
    going = [run.id for run in wanted if run.id not in busy]
    used = owned_keys(without=going)
    store = FrameStore(frames_folder())
    orphans = [key for key in store if key not in used]
    music = _music(without=going)
    size = sum(file.stat().st_size for file in music)
    if dry_run:
        size += sum(store.path(key).stat().st_size for key in orphans)
    else:
        for file in music:
            file.unlink(missing_ok=True)
        for name in going:
            shutil.rmtree(runs_folder() / name, ignore_errors=True)
        size += sum(store.remove(key) for key in orphans)
        size += store.sweep(LEFT_BEHIND)
    return Cleaned(tuple(going), len(orphans), size, tuple(busy))


def _music(without: Sequence[str]) -> list[Path]:
    """Files with music of films whose runs are gone, or are going."""
    runs, folder = runs_folder(), music_folder()
    return [
        file
        for file in (folder.iterdir() if folder.is_dir() else ())
        if file.is_file() and (file.stem in without or not (runs / file.stem).is_dir())
    ]
