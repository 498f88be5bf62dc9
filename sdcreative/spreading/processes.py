"""Workers that are processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import Empty, Queue
from threading import Thread
from typing import IO

from .messages import Event, Lost, Order, Task, receive, send

COMMAND = (sys.executable, "-m", "sdcreative.spreading.process")
THREADS = "OMP_NUM_THREADS"


def launch(log: IO[bytes], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a worker that is told by one pipe and answers by another; what it prints is logged."""
    pipe = subprocess.PIPE
    return subprocess.Popen(COMMAND, stdin=pipe, stdout=pipe, stderr=log, env=environment)


@dataclass(frozen=True)
class _Running:
    process: subprocess.Popen[bytes]
    orders: IO[bytes]
    listener: Thread


class Processes:
    """One process for each of some devices; as ``Executor``.

    Args:
        devices: such as ``("cuda:0", "cuda:1")``, or ``("cpu", "cpu")``.
    """

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(devices)
        self._running: dict[int, _Running] = {}
        self._heard: Queue[tuple[int, Event]] = Queue()

    @property
    def places(self) -> int:
        return len(self._devices)

    @property
    def device(self) -> str:
        return self._devices[0]

    def name(self, place: int) -> str:
        return f"worker {place + 1} on {self._devices[place]}"

    def start(self, place: int, order: Order) -> None:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        process = launch(log, self._environment())
        orders, answers = process.stdin, process.stdout
        if orders is None or answers is None:
            raise RuntimeError("a process without pipes")
        listener = Thread(target=self._listen, args=(place, process, answers, log), daemon=True)
        self._running[place] = _Running(process, orders, listener)
        listener.start()
        self._tell(place, replace(order, device=self._devices[place]))

    def submit(self, place: int, task: Task) -> None:
        self._tell(place, task)

    def next(self, wait: bool = True) -> tuple[int, Event] | None:
        while True:
            try:
                # A wait without an end could not be broken by Ctrl-C on Windows.
                return self._heard.get(wait, timeout=1)
            except Empty:
                if not wait:
                    return None

    def close(self) -> None:
        for one in self._running.values():
            one.process.kill()
        for one in self._running.values():
            one.process.wait()
            one.listener.join()
            with suppress(OSError):  # what it was not told any more
                one.orders.close()
        self._running = {}

    def _tell(self, place: int, message: Order | Task) -> None:
        with suppress(OSError):  # it is gone, which its listener says
            send(self._running[place].orders, message)

    def _listen(
        self,
        place: int,
        process: subprocess.Popen[bytes],
        answers: IO[bytes],
        log: IO[bytes],
    ) -> None:
        while (event := receive(answers)) is not None:
            self._heard.put((place, event))
        code = process.wait()
        log.seek(0)
        said = log.read().decode(errors="replace").strip().splitlines()
        log.close()
        reason = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._heard.put((place, Lost(": ".join([reason, *said[-1:]]))))

    def _environment(self) -> dict[str, str]:
        """Processes that compute on the CPU share its cores: more threads than these only wait."""
        there = dict(os.environ)
        on_cpu = self._devices.count("cpu")
        if on_cpu:
            there.setdefault(THREADS, str(max(1, (os.cpu_count() or 1) // on_cpu)))
        return there
