"""A few pictures from which a tiny model learns a word in a second."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from few_pictures import draw_few
from sdcreative import load_pair
from sdcreative_plugins.train.inversion import job
from sdcreative_plugins.train.inversion.settings import LearnSettings


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures, square and wide; one is turned by its EXIF tag, one transparent."""
    return draw_few(tmp_path / "Bilder é")


@cache
def _pair(name: str, device: str, offline: bool) -> Any:
    return load_pair(name, device=device, offline=offline)


@pytest.fixture(autouse=True)
def _pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair that judges is loaded for all tests once; nothing changes it."""

    def known(name: str, *, device: str, offline: bool = False) -> Any:
        return _pair(name, device, offline)

    monkeypatch.setattr(job, "load_pair", known)


@pytest.fixture
def settings(tiny: Path, pictures: Path, tmp_path: Path) -> Callable[..., LearnSettings]:
    """Settings of a tiny training, with changes."""

    def make(**changes: Any) -> LearnSettings:
        values: dict[str, Any] = {
            "model": str(tiny),
            "data": {"source": "folder", "folder": str(pictures)},
            "token": "<my-ball>",
            "initial": "red apple",
            "output": str(tmp_path / "ball.safetensors"),
            "cache": str(tmp_path / "cache"),
            "schedule": {"steps": 2, "batch": 2, "log_every": 1},
            "look_every": 1,
            "judge": {"seeds": 1, "steps": 1, "scenes": ["a {}, on a blue background"]},
            **changes,
        }
        for key in [key for key, value in values.items() if value is None]:
            del values[key]
        return LearnSettings.model_validate(values)

    return make
