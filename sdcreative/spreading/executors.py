"""What runs workers: processes, or a cluster."""

from __future__ import annotations

from typing import Protocol

from .messages import Event, Order, Task


class Executor(Protocol):
    """Runs workers in so many places, each named by its number from 0.

    A worker takes tasks in the order in which they are handed in. Of one that is gone, ``Lost`` is
    the last that is heard; its place is then free to be started again.
    """

    @property
    def places(self) -> int:
        """How many workers there can be at a time."""

    @property
    def device(self) -> str:
        """Where they compute, such as ``cuda``: decides the floating-point type of the film."""

    def start(self, place: int, order: Order) -> None:
        """Have a worker load the film; ``Ready`` follows."""

    def submit(self, place: int, task: Task) -> None:
        """Hand a task to a worker; ``Made`` follows for every frame, and ``Done``."""

    def next(self, wait: bool = True) -> tuple[int, Event] | None:
        """What was heard next, and from where; None if nothing, where it need not be waited for."""

    def name(self, place: int) -> str:
        """What a place is, in a few words."""

    def close(self) -> None:
        """End all workers at once; what has arrived can still be asked for."""
