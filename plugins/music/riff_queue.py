"""Clips are made one at a time; a few requests wait, more are turned away."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, Lock

from .protocol import InferenceInput, Riff, Riffer

_FIRST_GUESS = 10.0
"""seconds that a clip takes, before one was made"""


class Left(Exception):  # noqa: N818 - a signal, not an error
    """Raised in the making of a clip that nobody wants any more."""


class Full(Exception):  # noqa: N818 - as queue.Full is
    """As many requests wait as may.

    Attributes:
        seconds: after which another try may succeed; None where the queue has stopped for good.
    """

    def __init__(self, seconds: int | None) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Job:
    """A clip that somebody waits for.

    Attributes:
        future: it.
        done: set when it is finished, failed, or will not be begun.
    """

    future: Future[Riff]

    def __init__(self) -> None:
        self.done, self._left = Event(), Event()

    def leave(self) -> None:
        """Nobody waits for it any more: it is not begun, or goes no further."""
        self._left.set()
        self.future.cancel()

    def check(self) -> None:
        """Raises Left where nobody waits for it."""
        if self._left.is_set():
            raise Left


class RiffQueue:
    """A thread that makes clips, and those that wait for it.

    Args:
        riffer: makes them.
        most: how many may wait while one is made.
    """

    def __init__(self, riffer: Riffer, most: int) -> None:
        self.most = most
        self._riffer = riffer
        self._worker = ThreadPoolExecutor(1, "riffs")
        self._jobs: set[Job] = set()
        self._lock = Lock()
        self._stopped = False
        self._seconds = _FIRST_GUESS

    def put(self, request: InferenceInput) -> Job:
        """Have a clip made.

        Raises:
            Full: as many wait as may, or the queue has stopped.
        """
        job = Job()
        with self._lock:
            if self._stopped:
                raise Full(None)
            if len(self._jobs) > self.most:
                raise Full(max(1, math.ceil(self._seconds)))
            job.future = self._worker.submit(self._make, job, request)
            self._jobs.add(job)
        job.future.add_done_callback(lambda future: self._forget(job))
        return job

    def counts(self) -> tuple[int, int]:
        """How many are being made (0 or 1), and how many wait."""
        with self._lock:
            making = sum(job.future.running() for job in self._jobs)
            return making, len(self._jobs) - making

    def stop(self) -> None:
        """Give up all clips, and wait until the one that is being made has noticed."""
        with self._lock:
            self._stopped = True
            jobs = list(self._jobs)
        for job in jobs:
            job.leave()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def _make(self, job: Job, request: InferenceInput) -> Riff:
        job.check()
        began = time.monotonic()
        riff = self._riffer.riff(request, job.check)
        self._seconds = time.monotonic() - began
        return riff

    def _forget(self, job: Job) -> None:
        with self._lock:
            self._jobs.discard(job)
        job.done.set()
