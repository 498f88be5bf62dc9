"""What several test folders share."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forked_commands import Commands
    from sdcreative import Studio

if "PYTEST_XDIST_WORKER" in os.environ:
    # Read when torch is imported, here and in children: more threads than cores only wait.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The built-in model on the CPU, in float32."""
    from sdcreative import Studio

    return Studio.load("emoji", device="cpu")


@pytest.fixture(scope="session")
def commands() -> Iterator[Commands]:
    """Runs commands in processes of their own that have imported all."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    from forked_commands import Commands

    started = Commands()
    yield started
    started.close()


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and finished frames of one test are not found by another, nor left with the user."""
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Shells start background jobs deaf to Ctrl-C, and children inherit that; tests press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
