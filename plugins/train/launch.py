"""One training by several processes of this machine, each on a GPU or on some of the CPU's cores.

They find each other through the environment variables that accelerate reads, as if `accelerate
launch` had started them. Imports no torch until it has to count GPUs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sdcreative import DataError, SdcreativeError, UsageError

if TYPE_CHECKING:
    from sdcreative import Job

    from .settings import TrainSettings

PATIENCE = 60.0
"""seconds that the first process has to save a checkpoint after Ctrl-C"""
GRACE = 1.0
"""seconds in which the others end by themselves, if they do"""


def is_launched() -> bool:
    """Whether this process is one of several already, by `accelerate launch` or by this module."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def run_in_processes(settings: TrainSettings, job: Job) -> None:
    """Train with ``settings.processes`` processes; what the first one reports is reported here.

    Raises:
        UsageError: more processes than GPUs.
        SdcreativeError: what a process failed with.
        KeyboardInterrupt: once all have stopped.
    """
    cpu = _on_cpu(settings)
    with tempfile.TemporaryDirectory() as folder:
        plan, fault = Path(folder) / "plan.json", Path(folder) / "fault.json"
        said = {
            # What was left out stays so: some of it is then the model's that was started from.
            "settings": settings.model_dump(mode="json", exclude_unset=True),
            "overwrite": job.overwrite,
            "fault": str(fault),
        }
        plan.write_text(json.dumps(said), encoding="utf-8")
        command = [sys.executable, "-m", "sdcreative_plugins.train.launched", str(plan)]
        codes = run_all(command, settings.processes, job.report, cpu=cpu)
        if any(codes):
            raise _fault(fault, codes)


def _on_cpu(settings: TrainSettings) -> bool:
    import torch

    if settings.device == "cpu" or not torch.cuda.is_available():
        return True
    count = torch.cuda.device_count()
    if settings.processes > count:
        raise UsageError(
            f"processes: {settings.processes}, but there are {count} GPUs; use as many or fewer, "
            "or device: cpu"
        )
    return False


def run_all(
    command: Sequence[str], count: int, report: Callable[[str], None], *, cpu: bool
) -> list[int]:
    """Run a command in so many processes that find each other; returns their exit codes.

    What the first one prints is reported line by line. When one fails, the others, which would
    wait for it for ever, are ended. Ctrl-C reaches the first, which saves what has been done while
    the others still answer it, and is raised once it has.
    """
    port = _free_port()
    processes = [
        subprocess.Popen(
            command,
            env=_environment(rank, count, port, cpu),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            # Ctrl-C in a terminal would reach them all; it is passed on to the first alone.
            start_new_session=True,
        )
        for rank in range(count)
    ]
    reader = threading.Thread(target=_read, args=(processes[0].stdout, report), daemon=True)
    reader.start()
    try:
        while any(process.poll() is None for process in processes):
            if any(process.poll() for process in processes):
                break
            time.sleep(0.05)
    except KeyboardInterrupt:
        if processes[0].poll() is None:
            processes[0].send_signal(signal.SIGINT)
        _wait(processes[:1], PATIENCE)
        raise
    finally:
        _wait(processes, GRACE)
        for process in processes:
            if process.poll() is None:
                process.kill()
        reader.join(5)
    return [process.wait() for process in processes]


def _environment(rank: int, count: int, port: int, cpu: bool) -> dict[str, str]:
    environment = {
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    if cpu:
        environment["ACCELERATE_USE_CPU"] = "true"
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
    return environment


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read(lines: object, report: Callable[[str], None]) -> None:
    for line in lines:  # type: ignore[attr-defined]
        report(line.rstrip("\n"))


def _wait(processes: Sequence[subprocess.Popen[str]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        time.sleep(0.05)


def _fault(fault: Path, codes: Sequence[int]) -> SdcreativeError:
    """What the processes left, as the error it was; the kinds are those of errors.py."""
    import sdcreative

    try:
        said = json.loads(fault.read_text("utf-8"))
        kind = getattr(sdcreative, said["kind"])
        if issubclass(kind, SdcreativeError):
            error: SdcreativeError = kind(said["message"])
            return error
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        pass
    code = next(code for code in codes if code)
    return DataError(
        f"processes: one of {len(codes)} ended with {code}; see what it printed above, or run "
        "with processes: 1"
    )
