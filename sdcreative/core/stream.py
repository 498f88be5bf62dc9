"""Making items in a thread, a few ahead of who takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event, Semaphore
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """Raised in the making thread when nobody wants its items any more."""


def ahead(make: Callable[[Callable[[], None]], Iterator[T]], depth: int) -> Iterator[T]:
    """Yield the items of ``make(check)``, made in a thread up to ``depth`` ahead.

    Closing the iterator stops the thread: ``check``, which ``make`` calls often, then raises
    ``Stopped``. Errors of the thread are raised here, after the items made before them.
    """
    made: SimpleQueue[T | None] = SimpleQueue()
    free = Semaphore(depth)
    stop = Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def work() -> None:
        for item in make(check):
            made.put(item)
            free.acquire()
            check()

    with ThreadPoolExecutor(1, thread_name_prefix="frames") as pool:
        working = pool.submit(work)
        working.add_done_callback(lambda _: made.put(None))
        try:
            while (item := made.get()) is not None:
                yield item
                free.release()
            working.result()
        finally:
            stop.set()
            free.release()
