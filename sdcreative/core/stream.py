"""Making items in a thread, a few ahead of who takes them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):  # noqa: N818 - a signal, not an error
    """Raised in the making thread when nobody wants its items any more."""


def ahead(make: Callable[[Callable[[], None]], Iterator[T]], depth: int) -> Iterator[T]:
    """Yield the items of ``make(check)``, made in a thread up to ``depth`` ahead.

    Closing the iterator stops the thread: ``check``, which ``make`` calls often, then raises
    ``Stopped``. Errors of the thread are raised here, after the items made before them.
    """
    made: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def work() -> None:
        error: BaseException = StopIteration()
        try:
            for item in make(check):
                made.put((item, None))
                check()
        except BaseException as raised:  # handed to the taking thread, whatever it is
            error = raised
        made.put((None, error))

    thread = threading.Thread(target=work, name="frames", daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        while thread.is_alive():
            try:
                made.get(timeout=0.05)
            except queue.Empty:
                continue
        thread.join()
