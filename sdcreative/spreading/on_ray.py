"""Workers that are actors of a Ray cluster."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from typing import Any

from ..errors import UsageError
from .messages import Done, Event, Lost, Order, Task

AHEAD = 2
"""calls under way to an actor, so that it does not wait for the way there and back"""


class Actor:
    """A worker, asked for what it has made one call after another.

    A generator would stream its results, but not to a driver outside of the cluster (``ray://``).
    """

    def __init__(self) -> None:
        self._tasks: deque[Task] = deque()
        self._answers: Iterator[Event] = iter(())
        self._worker: Any = None

    def load(self, order: Order) -> Event:
        """Load the film; as ``Worker.load``."""
        from .worker import Worker, failure

        try:
            self._worker = Worker.load(order)
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver says it in one line
            return failure(error)
        ready: Event = self._worker.ready
        return ready

    def take(self, task: Task) -> None:
        """Note a task."""
        self._tasks.append(task)

    def more(self) -> Event | None:
        """What was made next; None where there is no task."""
        from .worker import failure

        try:
            while True:
                if (event := next(self._answers, None)) is not None:
                    return event
                if not self._tasks:
                    return None
                self._answers = self._worker.render(self._tasks.popleft())
        except Exception as error:  # noqa: BLE001 - as above
            return failure(error)


class RayCluster:
    """An actor for each GPU of a cluster, or for each machine if there is none; as ``Executor``.

    Args:
        address: such as ``ray://host:10001``; None starts a cluster on this machine.
        workers: how many instead.

    Raises:
        UsageError: Ray is not installed, does not answer, or has fewer GPUs.
    """

    def __init__(self, address: str | None, workers: int | None) -> None:
        try:
            ray: Any = import_module("ray")
        except ImportError as error:
            raise UsageError(
                "--ray: Ray is not installed; pip install 'sdcreative[ray]'"
            ) from error
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            self._connect(address)
        there = ray.cluster_resources()
        gpus, cores = int(there.get("GPU", 0)), int(there.get("CPU", 1))
        if gpus and workers and workers > gpus:
            self._leave()
            raise UsageError(f"--workers {workers}: this cluster has {gpus} GPUs")
        machines = sum(1 for node in ray.nodes() if node.get("Alive"))
        self._places = workers or gpus or machines
        self._device = "cuda" if gpus else "cpu"
        share = cores / self._places
        needs = {"num_cpus": 1, "num_gpus": 1} if gpus else {"num_cpus": int(share) or share}
        self._actor = ray.remote(Actor).options(**needs, max_restarts=0)
        self._actors: dict[int, Any] = {}
        self._calls: dict[int, deque[Any]] = {}
        self._open: dict[int, int] = {}

    def _connect(self, address: str | None) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address is None:
                self._ray.init(address="local", include_dashboard=False, **quiet)
            else:
                self._ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, TimeoutError, ValueError, ImportError) as error:
            reason = (str(error).splitlines() or [""])[0]
            raise UsageError(
                f"--ray {address or 'local'}: cannot be reached ({reason}); see that the cluster "
                "runs, and that RAY_AUTH_TOKEN is the cluster's where it asks for one"
            ) from error

    @property
    def places(self) -> int:
        return self._places

    @property
    def device(self) -> str:
        return self._device

    def name(self, place: int) -> str:
        return f"Ray worker {place + 1}"

    def start(self, place: int, order: Order) -> None:
        actor = self._actors[place] = self._actor.remote()
        self._open[place] = 0
        self._calls[place] = deque([actor.load.remote(replace(order, device=self._device))])

    def submit(self, place: int, task: Task) -> None:
        self._actors[place].take.remote(task)
        self._open[place] += 1
        self._ask(place)

    def next(self, wait: bool = True) -> tuple[int, Event] | None:
        while oldest := {calls[0]: place for place, calls in self._calls.items() if calls}:
            ready, _ = self._ray.wait(list(oldest), num_returns=1, timeout=None if wait else 0)
            if not ready:
                return None
            place = oldest[ready[0]]
            if (event := self._answer(place)) is not None:
                return place, event
        return None

    def _answer(self, place: int) -> Event | None:
        call = self._calls[place].popleft()
        try:
            event: Event | None = self._ray.get(call)
        except self._ray.exceptions.RayError as error:
            self._calls[place].clear()
            reason = (str(error).splitlines() or [""])[0]
            return Lost(f"{type(error).__name__}: {reason}")
        if isinstance(event, Done):
            self._open[place] -= 1
        self._ask(place)
        return event

    def _ask(self, place: int) -> None:
        while self._open[place] and len(self._calls[place]) < AHEAD:
            self._calls[place].append(self._actors[place].more.remote())

    def close(self) -> None:
        for actor in self._actors.values():
            with suppress(self._ray.exceptions.RayError):
                self._ray.kill(actor)
        self._actors, self._calls, self._open = {}, {}, {}
        self._leave()

    def _leave(self) -> None:
        """End the connection, and with it a cluster that was started for this film."""
        if self._own:
            self._ray.shutdown()
