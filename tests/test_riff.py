"""The built-in model of music: that it plays what it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sdcreative import Studio, model_facts
from sdcreative.media.spectrogram import image_to_spectrogram
from sdcreative.models.sources import builtin_names
from sdcreative.produce import produce
from sdcreative_plugins.music import sdcreative_tools
from sdcreative_plugins.music.settings import MusicSettings

[MUSIC] = sdcreative_tools()


@pytest.fixture(scope="module")
def riff() -> Studio:
    return Studio.load("riff", device="cpu")


def test_it_is_built_in_and_says_how_its_pictures_are_heard() -> None:
    assert "riff" in builtin_names()
    facts = model_facts("riff")
    assert facts.musical
    assert facts.size == (256, 96)
    assert facts.spectrogram.seconds(256) == pytest.approx(5.1)


def loudness(studio: Studio, prompt: str) -> np.ndarray:
    """Mean power of every band over two seeds, (96,), adding up to 1."""
    facts = model_facts("riff")
    mel = [
        image_to_spectrogram(
            studio.picture(prompt, seed=seed, steps=12), facts.spectrogram, facts.max_value
        )
        for seed in (1, 2)
    ]
    power = np.square(np.stack(mel)).mean((0, 1, 3))
    return np.asarray(power / power.sum())


def test_bass_is_lower_than_flute(riff: Studio) -> None:
    bands = np.arange(96)
    centres = [(bands * loudness(riff, f"a {what}")).sum() for what in ("bass line", "flute solo")]
    assert centres[0] + 8 < centres[1]


def test_techno_is_a_beat_and_ambient_is_not(riff: Studio) -> None:
    def changes(prompt: str) -> float:
        picture = riff.picture(prompt, seed=3, steps=12).convert("L")
        return float(np.abs(np.diff(np.asarray(picture, float), axis=1)).mean())

    assert changes("techno beat, 130 bpm") > 3 * changes("ambient with strings")


def test_a_clip_of_it_is_music_at_its_loudness(tmp_path: Path) -> None:
    import pyloudnorm

    path = tmp_path / "clip.wav"
    settings = MusicSettings(prompt="funk with a saxophone solo", steps=8, output=str(path))
    lines: list[str] = []
    produce(MUSIC, settings, default_name="x", overwrite=False, dry_run=False, report=lines.append)
    sound, rate = soundfile.read(path)
    assert rate == 22_050
    assert len(sound) == round(5.1 * rate)
    assert abs(pyloudnorm.Meter(rate).integrated_loudness(sound) + 14) < 2.5
    assert np.abs(sound).max() < 0.95
    assert any("5.10 s" in line for line in lines)
