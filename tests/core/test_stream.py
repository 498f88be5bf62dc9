"""Items made in a thread."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

from sdcreative.core.stream import ahead


def counting(limit: int, made: list[int]) -> Callable[[Callable[[], None]], Iterator[int]]:
    def make(check: Callable[[], None]) -> Iterator[int]:
        for i in range(limit):
            check()
            made.append(i)
            yield i

    return make


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("frames")]


@pytest.mark.parametrize("depth", [1, 3, 50])
def test_all_items_in_order(depth: int) -> None:
    assert list(ahead(counting(20, []), depth)) == list(range(20))
    assert not threads()


def test_no_more_is_made_than_a_few_ahead() -> None:
    made: list[int] = []
    items = ahead(counting(10**9, made), 3)
    assert [next(items) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(made) <= 5 + 3 + 1
    items.close()
    assert not threads()


def test_errors_come_after_the_items_before_them() -> None:
    def make(check: Callable[[], None]) -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    items = ahead(make, 8)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert not threads()


def test_closing_stops_a_thread_between_items() -> None:
    started = threading.Event()

    def make(check: Callable[[], None]) -> Iterator[int]:
        yield 0
        while True:
            started.set()
            check()

    items = ahead(make, 2)
    next(items)
    started.wait()
    items.close()
    assert not threads()


def test_an_iterator_left_open_does_not_keep_the_process() -> None:
    script = """
from itertools import count
from sdcreative.core.stream import ahead
items = ahead(lambda check: count(), 2)
next(items)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)
