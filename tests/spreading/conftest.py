from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
import torch

from forked_workers import ForkedProcess, frames, pictures, render
from sdcreative import Studio
from sdcreative.spreading import processes

Made = tuple[dict[str, bytes], list[bytes]]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[ForkedProcess]:
    """Workers that were started, in order."""
    found: list[ForkedProcess] = []

    def launch(log: IO[bytes], environment: Mapping[str, str]) -> ForkedProcess:
        found.append(ForkedProcess(log))
        return found[-1]

    monkeypatch.setattr(processes, "launch", launch)
    return found


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> Iterator[None]:
    """One thread: a forked process has no other, and bits depend on how many there are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **options: studio)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def rendered() -> dict[str, Made]:
    """Films that one process has made, by what is special in them."""
    return {}


@pytest.fixture
def alone(home: Any, rendered: dict[str, Made]) -> Callable[..., Made]:
    """Finished frames and pictures of a film as one process makes it; then a fresh home."""

    def make(**changes: Any) -> Made:
        if str(changes) not in rendered:
            home("alone")
            render("alone/", **changes)
            rendered[str(changes)] = frames(), pictures("alone")
        home("spread")
        return rendered[str(changes)]

    return make


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Goes to another home folder."""

    def go(name: str) -> Path:
        folder = tmp_path / f"home_{name}"
        monkeypatch.setenv("SDCREATIVE_HOME", str(folder))
        return folder

    return go
