"""What several test folders share."""

from __future__ import annotations

import signal

import pytest

from sdcreative import Studio


@pytest.fixture(scope="session")
def studio() -> Studio:
    """The built-in model on the CPU, in float32."""
    return Studio.load("emoji", device="cpu")


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and finished frames of one test are not found by another, nor left with the user."""
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """Shells start background jobs deaf to Ctrl-C, and children inherit that; tests press it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
