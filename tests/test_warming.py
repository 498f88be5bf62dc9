"""Which films are rendered with compiled layers, and that their pictures are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.models import twins


def film(studio: Studio, frames: int = 5) -> np.ndarray:
    shots = [
        Shot(Blend("a bear", "an apple", i / (frames - 1)), Noise(1), guidance_scale=4)
        for i in range(frames)
    ]
    timeline = Timeline(lambda: shots, len(shots), steps=2, sampler="Euler", size=(32, 32))
    pictures = studio.render(timeline, batch_size=2)
    return np.stack([np.asarray(one, dtype=int) for one in pictures])


def test_films_on_a_cpu_are_compiled_only_when_asked_for(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []

    def compiled(layer: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(len(args[0]))
        return layer(*args, **kwargs)

    monkeypatch.setattr(twins, "_compile", lambda: compiled)
    expected = film(studio)
    assert (film(replace(studio, compiling="off")) == expected).all()
    assert not called
    found = film(replace(studio, compiling="on"))
    assert set(called) == {2, 4}, "rows of two pictures, decoded and with their negative prompts"
    assert np.abs(found - expected).max() <= 1
