"""A run's folder: opened by whoever renders, one at a time."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..core.retiming import ArcLength
from ..errors import DataError, OutputError, UsageError
from ..media.output import write_text
from .home import frames_folder, locks_folder, runs_folder
from .kept import KeptFrames, spans, unspan
from .manifest import (
    FILE,
    Manifest,
    Published,
    Status,
    read_manifest,
    write_manifest,
)
from .store import FrameStore, check_writable

KEYS, PROBES, ARCS, LOG, LOCK = "frames.txt", "probes.txt", "arcs.json", "log.txt", ".lock"
SHARDS = "in shards"

Report = Callable[[str], None]


def run_id(tool: str, name: str, settings: dict[str, Any], model: str, size: Sequence[int]) -> str:
    """Name of a run's folder: the same preset with the same model is the same run."""
    text = json.dumps([tool, settings, model, list(size)], sort_keys=True)
    word = re.sub(r"\W+", "-", name)[:40].strip("-") or tool
    return f"{word}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Run:
    """A run that is being rendered: its folder is locked until it is left.

    Attributes:
        manifest: as it stands in the folder.
        store: where finished frames are.
    """

    def __init__(self, manifest: Manifest, report: Report, shard: str = "") -> None:
        """
        Args:
            manifest: what the run is.
            report: prints a line.
            shard: such as "1-of-4", which other shards are rendered beside.
        """
        if shard:
            manifest = manifest.model_copy(update={"status": SHARDS})
        self.manifest, self.report, self.shard = manifest, report, shard
        self.folder = runs_folder() / manifest.id
        self.store = FrameStore(frames_folder())
        self._began = time.monotonic()
        self._leaving = ExitStack()

    def __enter__(self) -> Run:
        """Lock the folder, and go on from what an earlier render left in it.

        Raises:
            OutputError: the folder cannot be written.
        """
        check_writable(self.store.folder)
        check_writable(self.folder)
        lock = f"{LOCK}-{self.shard}" if self.shard else LOCK
        self._lock(self.folder / lock, f"run {self.manifest.id}")
        try:
            before = read_manifest(self.folder) if (self.folder / FILE).is_file() else None
        except DataError:
            before = None  # broken: the frames are in the store, and it is written anew
        if before is not None:
            kept = ("composed", "partial", "seconds", "batch_size")
            self.manifest = self.manifest.model_copy(
                update={name: getattr(before, name) for name in kept}
            )
        return self

    def reserve(self, output: str) -> None:
        """Wait until no other run writes that output."""
        place = str(Path(output).resolve())
        name = hashlib.sha256(place.encode()).hexdigest()[:24]
        self._lock(locks_folder() / f"{name}.lock", output)

    def _lock(self, path: Path, what: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.report(f"{what} is being written by another process; waiting for it (Ctrl-C ends)")
            lock.acquire(poll_interval=0.2)
        except OSError as error:
            raise OutputError(f"{path}: cannot be locked: {error.strerror or error}") from error
        self._leaving.callback(lock.release)

    def frames(self, keys: Sequence[str]) -> KeptFrames:
        """Record the frames of this run, and find those that are finished."""
        file = self.folder / KEYS
        text = "".join(f"{key}\n" for key in keys)
        same = file.is_file() and file.read_text("utf-8") == text
        composed = unspan(self.manifest.composed) if same else None
        if self.shard:
            composed = self._composed_by_all(keys)
        kept = KeptFrames(self.store, keys, composed)
        if not same:
            write_text(file, text, overwrite=True)
        return kept

    def _composed_by_all(self, keys: Sequence[str]) -> set[int]:
        """What every shard composes, whatever it has in its store.

        As on one machine, these are all frames but those that have measured the path before.
        """
        measured = set(_words(self.folder / PROBES))
        first = {key: index for index, key in reversed([*enumerate(keys)])}
        return {index for key, index in first.items() if key not in measured}

    def note_arcs(self, arcs: Sequence[ArcLength]) -> None:
        """Keep what was measured of the path."""
        stored = [{"times": arc.times, "distances": arc.distances} for arc in arcs]
        write_text(self.folder / ARCS, json.dumps(stored) + "\n", overwrite=True)

    def add_probes(self, keys: Sequence[str]) -> None:
        """Have frames that only measured the path count as this run's."""
        with (self.folder / PROBES).open("a", encoding="utf-8") as probes:
            probes.writelines(f"{key}\n" for key in keys)

    def begin(self) -> None:
        """Say in the folder that this run is on its way."""
        self._write()

    def compose(self, kept: KeptFrames) -> None:
        """Note what batches are made of, so that whoever goes on makes the same."""
        self._write(frames=len(kept.keys), composed=spans(kept.composed))
        self.log(f"began; {kept.there} of {len(kept.keys)} frames are there")

    def end(
        self, status: Status, *, output: str = "", fault: str = "", batch_size: int = 0
    ) -> None:
        """Say how it ended, and what was written. A shard's end is not that of the run.

        Raises:
            OutputError: it finished, and the folder cannot be written. Of a run that ended
                otherwise there is a reason to tell already.
        """
        path = Path(output)
        changes: dict[str, Any] = {
            "status": SHARDS if self.shard else status,
            "fault": fault,
            "ended": time.time(),
            "seconds": self.manifest.seconds + time.monotonic() - self._began,
            "batch_size": batch_size or self.manifest.batch_size,
        }
        if status == "finished" and not self.shard:
            changes |= {"composed": [], "partial": None}
        elif output and path.exists():
            changes["partial"] = Published.of(path)
        with nullcontext() if status == "finished" else suppress(OutputError, OSError):
            self._write(**changes)
            self.log(status + (f": {fault}" if fault else f": {output}" if output else ""))

    def _write(self, **changes: Any) -> None:
        self.manifest = self.manifest.model_copy(update=changes)
        write_manifest(self.folder, self.manifest)

    def log(self, line: str) -> None:
        """Add a line, with the time, to the run's log."""
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        shard = f"shard {self.shard}: " if self.shard else ""
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(f"{now} {shard}{line}\n")

    def owns(self, output: str) -> bool:
        """Whether the output is what this run itself encoded when it was stopped."""
        path = Path(output)
        return (
            self.manifest.partial is not None
            and path.exists()
            and Published.of(path) == self.manifest.partial
        )

    def __exit__(self, *details: object) -> None:
        self._leaving.close()


def list_runs(folder: Path | None = None) -> list[Manifest]:
    """All runs that can be read, the latest first; those of this machine where none is named."""
    found = []
    folder = folder or runs_folder()
    for path in folder.iterdir() if folder.is_dir() else ():
        if (path / FILE).is_file():
            try:
                found.append(read_manifest(path))
            except DataError:
                continue
    return sorted(found, key=lambda manifest: manifest.began, reverse=True)


def find_run(name: str, folder: Path | None = None) -> Manifest:
    """The run of that name, or whose name begins so; "last" is the latest.

    Args:
        name: as the user gave it.
        folder: of runs; this machine's if None.

    Raises:
        UsageError: there is none, or more than one.
        DataError: it cannot be read.
    """
    folder = folder or runs_folder()
    exact = folder / name
    if re.fullmatch(r"[\w-]+", name) and (exact / FILE).is_file():
        return read_manifest(exact)
    runs = list_runs(folder)
    if name == "last" and runs:
        return runs[0]
    matching = [run for run in runs if run.id.startswith(name)]
    if len(matching) == 1:
        return matching[0]
    if matching:
        some = ", ".join(run.id for run in matching[:4])
        raise UsageError(f"run {name!r} could be {some}; write more of its name")
    raise UsageError(f"there is no run {name!r} in {folder}; see 'sdcreative runs'")


def run_keys(run: Manifest, folder: Path | None = None) -> list[str]:
    """Keys of a run's frames, in order; none if it never came to that."""
    return _words((folder or runs_folder()) / run.id / KEYS)


def run_arcs(run: Manifest, segments: int) -> list[ArcLength]:
    """What an earlier render of a run measured of its path; nothing if it did not."""
    try:
        stored = json.loads((runs_folder() / run.id / ARCS).read_text("utf-8"))
        arcs = [ArcLength(tuple(arc["times"]), tuple(arc["distances"])) for arc in stored]
    except (OSError, ValueError, TypeError, KeyError, UsageError):
        return []
    return arcs if len(arcs) == segments else []


def owned_keys(without: Sequence[str]) -> set[str]:
    """Keys of all that runs have in the store, what measured their paths too.

    Runs whose manifest is broken, or of a newer version, have theirs as well.

    Args:
        without: names of runs that do not count.
    """
    folder = runs_folder()
    found: set[str] = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in without:
            found.update(_words(path / KEYS), _words(path / PROBES))
    return found


def _words(file: Path) -> list[str]:
    return file.read_text("utf-8").split() if file.is_file() else []


def is_active(run: Manifest) -> bool:
    """Whether a process is rendering it now, or a shard of it."""
    locks = (runs_folder() / run.id).glob(f"{LOCK}*")
    return any(map(_is_locked, locks))


def _is_locked(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False
