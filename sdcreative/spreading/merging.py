"""Frames of other machines taken into this one's store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError, OutputError, UsageError
from ..media.output import write_text
from ..runs.home import FRAMES, RUNS, frames_folder, runs_folder
from ..runs.manifest import FILE, Manifest
from ..runs.run import ARCS, KEYS, find_run, run_keys
from ..runs.store import FrameStore, check_writable


@dataclass(frozen=True)
class Merged:
    """What came of it.

    Attributes:
        run: the run, which is on this machine now.
        taken: number of frames that came from elsewhere.
        missing: indexes of frames that are nowhere.
    """

    run: Manifest
    taken: int
    missing: tuple[int, ...]


def merge(name: str, folders: Sequence[Path]) -> Merged:
    """Take the frames of a run from other home folders.

    Args:
        name: of the run, or its beginning.
        folders: what SDCREATIVE_HOME was on other machines, or copies of it.

    Raises:
        UsageError: no such run here or there.
        DataError: the run has other frames elsewhere.
        OutputError: the disk is full.
    """
    for folder in folders:
        if not (folder / RUNS).is_dir():
            raise UsageError(
                f"{folder}: holds no runs; give a folder that SDCREATIVE_HOME named elsewhere"
            )
    run = _bring(name, folders)
    keys = run_keys(run)
    if not keys:
        raise DataError(f"run {run.id}: has no frames; render a shard of it first")
    store = FrameStore(frames_folder())
    check_writable(store.folder)
    wanted = [key for key in dict.fromkeys(keys) if store.read(key) is None]
    found: set[str] = set()
    for folder in folders:
        theirs = run_keys(run, folder / RUNS)
        if theirs and theirs != keys:
            raise DataError(
                f"run {run.id}: has other frames in {folder}; its shards were not rendered in the "
                "same version, or the path of a retimed film was measured on other hardware"
            )
        other = FrameStore(folder / FRAMES)
        for key in wanted:
            if key not in found and other.read(key) is not None:
                store.put(key, other.path(key).read_bytes())
                found.add(key)
    lacking = set(wanted) - found
    missing = tuple(index for index, key in enumerate(keys) if key in lacking)
    return Merged(run, len(found), missing)


def _bring(name: str, folders: Sequence[Path]) -> Manifest:
    """The run, its folder copied here where it is only elsewhere."""
    missing: UsageError | None = None
    for folder in (None, *(folder / RUNS for folder in folders)):
        try:
            run = find_run(name, folder)
        except UsageError as error:
            missing = missing or error
            continue
        if folder is not None:
            _copy(folder / run.id, runs_folder() / run.id)
        return run
    raise missing or UsageError(f"there is no run {name!r}")


def _copy(source: Path, target: Path) -> None:
    try:
        target.mkdir(parents=True, exist_ok=True)
        for file in (KEYS, ARCS, FILE):
            if (source / file).is_file():
                write_text(target / file, (source / file).read_text("utf-8"), overwrite=True)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error
