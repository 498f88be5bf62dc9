"""Each measurement in a process of its own, which has so long and leaves what it found on the way.

Run as a program it is such a process: python benchmarks/gpu_process.py TASK.json
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

Figures = dict[str, Any]

FAULT = "fault"
"""key of the one line that says why figures are missing"""
LONGEST_FAULT = 160
CACHES = {
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "XDG_CACHE_HOME": "cache",
    "SDCREATIVE_HOME": "home",
}
"""variable -> folder; whatever remembers a compilation, and our finished frames"""


class NotThereError(Exception):
    """What is to be measured is not there, such as a setting that this version does not know."""


class Notes:
    """Figures of a running measurement, on disk as soon as they are known."""

    def __init__(self, file: Path) -> None:
        self.file, self.figures = file, Figures()

    def __call__(self, **figures: Any) -> None:
        """Add figures."""
        self.figures |= figures
        beside = self.file.with_suffix(".part")
        beside.write_text(json.dumps(self.figures), encoding="utf-8")
        beside.replace(self.file)


def measured(
    stage: str, task: Mapping[str, Any], folder: Path, caches: Path, limit: float, fork: bool
) -> Figures:
    """The figures of a stage, taken in a fresh process.

    Args:
        stage: module and function, as in "gpu_peers:film"; it is called with the task and Notes.
        task: what it is told; JSON. The seconds at which the process began are added as ``began``.
        folder: for its files.
        caches: folder of everything that is remembered from process to process.
        limit: seconds after which it is stopped.
        fork: take a copy of this process, which has imported everything, for small runs.

    Returns:
        what it noted; with ``FAULT`` if it failed or was stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    figures, log = folder / "figures.json", folder / "log.txt"
    figures.unlink(missing_ok=True)
    given = {
        "stage": stage,
        "figures": str(figures),
        "task": {**task, "folder": str(folder), "began": time.time()},
    }
    environment = {name: str(caches / place) for name, place in CACHES.items()}
    if limit < 1:
        return {FAULT: "not begun: the time is over"}
    run = _forked if fork else _spawned
    code = run(given, log, environment, limit)
    found: Figures = json.loads(figures.read_text("utf-8")) if figures.exists() else {}
    if code is None:
        found[FAULT] = f"stopped after {limit:.0f} s"
    elif code and FAULT not in found:
        found[FAULT] = _last_line(log) or f"ended with code {code}"
    return found


def _spawned(given: Figures, log: Path, environment: Mapping[str, str], limit: float) -> int | None:
    told = log.with_name("task.json")
    told.write_text(json.dumps(given), encoding="utf-8")
    with open(log, "w", encoding="utf-8") as said:
        # A session of its own, so that what it started to compile with ends with it.
        process = subprocess.Popen(
            [sys.executable, __file__, str(told)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _forked(given: Figures, log: Path, environment: Mapping[str, str], limit: float) -> int | None:
    def run() -> None:
        os.environ.update(environment)
        with open(log, "w", encoding="utf-8") as said, redirect_stdout(said), redirect_stderr(said):
            code = perform(given)
        os._exit(code)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    process.join(limit)
    if process.exitcode is None:
        process.kill()
        process.join()
        return None
    return process.exitcode


def perform(given: Figures) -> int:
    """Do one measurement in this process; 0, or 1 with its fault noted."""
    notes = Notes(Path(given["figures"]))
    module, _, function = given["stage"].partition(":")
    try:
        getattr(importlib.import_module(module), function)(given["task"], notes)
    except NotThereError as error:
        notes(**{FAULT: f"not there: {error}"})
    except Exception as error:  # noqa: BLE001 - whatever a contender dies of is a line of the table
        traceback.print_exc()
        notes(**{FAULT: _line(f"{type(error).__name__}: {error}")})
    else:
        return 0
    return 1


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", errors="replace").splitlines() if log.exists() else []
    return _line(next((line for line in reversed(lines) if line.strip()), ""))


def _line(text: str) -> str:
    words = " ".join(text.split()).replace("|", "/")
    return words if len(words) <= LONGEST_FAULT else f"{words[:LONGEST_FAULT]} …"


if __name__ == "__main__":
    # Stages know this module, and its errors, by another name than __main__.
    run = importlib.import_module("gpu_process").perform
    sys.exit(run(json.loads(Path(sys.argv[1]).read_text("utf-8"))))
