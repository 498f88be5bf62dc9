"""Memory that is kept: counted by the pages that the system clears, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.models.cpu import heap

PROGRAM = """
import ctypes, resource, sys
from sdcreative.models.cpu.heap import keep_memory
kept = sys.argv[1] == "keep" and keep_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    block = ctypes.c_void_p(library.malloc(100_000_000))
    ctypes.memset(block, 1, 100_000_000)
    library.free(block)
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(how: str, **variables: str) -> tuple[bool, int]:
    """Whether memory was kept, and pages that were cleared."""
    environment = {key: value for key, value in os.environ.items() if key not in heap._OWN}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how],
        capture_output=True,
        text=True,
        check=True,
        env=environment | variables,
    )
    kept, pages = done.stdout.split()
    return bool(int(kept)), int(pages)


@pytest.mark.skipif(
    not Path("/lib64/ld-linux-x86-64.so.2").exists(), reason="needs glibc, as on most of Linux"
)
def test_what_is_free_is_used_again() -> None:
    kept, pages = run("keep")
    assert kept
    without, all_pages = run("not")
    assert not without
    assert pages < 0.2 * all_pages


@pytest.mark.parametrize("name", heap._OWN)
def test_the_environment_has_the_last_word(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "")
    heap.keep_memory.cache_clear()
    try:
        assert not heap.keep_memory()
    finally:
        heap.keep_memory.cache_clear()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_left_alone(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in heap._OWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(heap.sys, "platform", platform)
    heap.keep_memory.cache_clear()
    try:
        assert not heap.keep_memory()
    finally:
        heap.keep_memory.cache_clear()
