"""Making items in a thread, a few ahead of who takes them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """Raised in the making thread when nobody wants its items any more."""


def ahead(
    make: Callable[[Callable[[], None]], Iterator[T]], depth: int
) -> Generator[T, None, None]:
    """Yield the items of ``make(check)``, made in a thread up to ``depth`` ahead.

    Closing the iterator stops the thread: ``check``, which ``make`` calls often, then raises
    ``Stopped``. Errors of the thread are raised here, after the items made before them.
    """
    maker = _Maker(make, depth)
    try:
        maker.start()
        while (item := maker.made.get()) is not None:
            yield item
            maker.free.release()
        if maker.error is not None:
            raise maker.error
    finally:
        maker.stop()


class _Maker(Thread, Generic[T]):
    """A daemon, so that an iterator nobody closed does not keep the process from ending."""

    def __init__(self, make: Callable[[Callable[[], None]], Iterator[T]], depth: int) -> None:
        super().__init__(name="frames", daemon=True)
        self.made: SimpleQueue[T | None] = SimpleQueue()
        self.free = Semaphore(depth)
        self.error: BaseException | None = None
        self._make, self._stopped = make, Event()

    def run(self) -> None:
        try:
            for item in self._make(self._check):
                self.made.put(item)
                self.free.acquire()
                self._check()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the taker raises it
            self.error = error
        self.made.put(None)

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Stopped

    def stop(self) -> None:
        """Make the thread end, and wait for it."""
        self._stopped.set()
        self.free.release()
        if self.ident is not None:
            self.join()
