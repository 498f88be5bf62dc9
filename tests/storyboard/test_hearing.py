"""The sound of a film, over its frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sdcreative import Blend, Noise, RenderSettings, Shot, Timeline
from sdcreative.core.timeline import Sound
from sdcreative.sound.settings import Audio
from sdcreative.storyboard.hearing import sound_plot

RATE, FPS = 22050, 12.0
FILM = Timeline(lambda: [Shot(Blend("a"), Noise(1))] * 48, 48, fps=FPS)


class WithAudio(RenderSettings):
    """As of a tool that listens."""

    audio: Audio | None = None


@pytest.fixture
def clicks(tmp_path: Path) -> str:
    """Four seconds; a click every half second, the first after a quarter."""
    samples = np.random.default_rng(0).normal(0, 1e-3, 4 * RATE)
    for begin in np.arange(0.25, 4, 0.5):
        samples[round(begin * RATE) :][:400] += np.hanning(400)
    path = tmp_path / "clicks.wav"
    soundfile.write(path, samples, RATE)
    return str(path)


def test_a_film_without_sound_has_no_plot() -> None:
    assert sound_plot(FILM, RenderSettings()) is None
    assert sound_plot(FILM, WithAudio()) is None


def test_what_is_heard_with_the_film_is_plotted(clicks: str) -> None:
    plot = sound_plot(replace(FILM, sound=Sound(clicks)), RenderSettings())
    assert plot is not None
    [onsets] = plot.lines
    assert [frame for frame, _ in onsets.points] == list(range(48))
    assert all(0 <= value <= 1 for _, value in onsets.points)
    strong = {frame for frame, value in onsets.points if value > 0.5}
    assert {9, 15, 21, 27, 33} <= strong | {frame - 1 for frame in strong}
    assert plot.marks
    assert all(0 <= mark <= 47 for mark in plot.marks)


def test_a_tempo_that_the_settings_know_is_taken_and_a_muted_sound_is_heard(clicks: str) -> None:
    audio = Audio(file=clicks, bpm=60.0, first_beat=0.25, mute=True)
    plot = sound_plot(FILM, WithAudio(audio=audio))
    assert plot is not None
    assert plot.marks == pytest.approx((3, 15, 27, 39))
