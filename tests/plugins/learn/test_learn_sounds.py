"""Sounds as what a word is learned from: clips, what is bad, and the timbre that judges them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import load_file

from sdcreative import DataError, ModelFacts, SpectrogramParams, UsageError
from sdcreative.media.spectrogram import mel_spectrogram, spectrogram_to_image
from sdcreative.tools import Job
from sdcreative_plugins.train.inversion.data import Picture
from sdcreative_plugins.train.inversion.hearing import COEFFICIENTS, Hearing, timbre
from sdcreative_plugins.train.inversion.job import run_learn
from sdcreative_plugins.train.inversion.settings import LearnSettings
from sdcreative_plugins.train.inversion.sound_settings import SoundFolder, for_sounds
from sdcreative_plugins.train.inversion.sounds import read_sounds

Settings = Callable[..., LearnSettings]
RATE, COLUMNS, BANDS = 16_000, 64, 48
PARAMS = SpectrogramParams(
    sample_rate=RATE, step_ms=20, window_ms=80, padded_ms=160, bands=BANDS, max_hz=8000, stereo=True
)
FACTS = ModelFacts((COLUMNS, BANDS), 8, PARAMS, 2e6, True)
SECONDS = (COLUMNS - 1) * 0.02


def tone(hertz: float, overtones: float, seconds: float, rate: int = RATE) -> np.ndarray:
    """Overtones whose amplitudes fall by a power of their number: large is dull."""
    time = np.arange(round(seconds * rate)) / rate
    each = np.arange(1, int(7000 / hertz) + 1)[:, None]
    line = (np.sin(2 * np.pi * hertz * each * time) * each ** -float(overtones)).sum(axis=0)
    return 0.5 * line / np.abs(line).max()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three clips: a long one of another rate in stereo, a short one with a caption, another."""
    place = tmp_path / "klänge"
    place.mkdir()
    long = tone(220, 2, 2.5 * SECONDS, 22_050)
    soundfile.write(place / "a.flac", np.stack([long, 0 * long], axis=1), 22_050)
    soundfile.write(place / "b.wav", tone(330, 2, SECONDS / 2), RATE)
    soundfile.write(place / "c.ogg", tone(440, 2, SECONDS), RATE)
    (place / "b.txt").write_text("<my-ball> in a hall")
    (place / "cover.png").write_bytes(b"no sound")
    return place


def read(settings: LearnSettings, folder: Path, **data: Any) -> tuple[list[Picture], list[str]]:
    lines: list[str] = []
    given = SoundFolder(source="sounds", folder=str(folder), **data)
    return read_sounds(settings, given, FACTS, lines.append), lines


def test_sounds_become_pictures_of_the_models_own_size(settings: Settings, folder: Path) -> None:
    found, lines = read(settings(templates=["a {} solo"]), folder)
    assert [one.name for one in found] == [
        *("a.flac at 0.0 s", "a.flac at 1.3 s", "a.flac at 2.5 s"),
        *("b.wav", "c.ogg"),
    ]
    assert {one.size for one in found} == {(COLUMNS, BANDS)}
    assert found[3].captions == ("{} in a hall",) and found[3].captioned
    assert found[0].captions == ("a {} solo",) and not found[0].captioned
    assert lines == ["data: 5 clips of 3 sounds, 1.3 s each"]
    assert len({one.digest for one in found}) == 5
    # The same as the runtime makes of the same samples, loud is black; and half of b is silence.
    line, _ = soundfile.read(folder / "c.ogg", dtype="float32")
    mono = SpectrogramParams(**{**vars(PARAMS), "stereo": False})
    [mel] = mel_spectrogram(line[None, None, : (COLUMNS - 1) * mono.hop_length], mono, "cpu")
    expected = np.asarray(spectrogram_to_image(mel, mono))
    assert np.array_equal(np.asarray(found[4].rgba.convert("RGB")), expected)
    grey = np.asarray(found[3].rgba.convert("L"), int)
    assert grey[:, :24].min() == 0 and grey[:, 40:].min() > 200
    assert len(read(settings(), folder, every=SECONDS / 4)[0]) > 8


def test_bad_sounds_are_all_named_and_left_out_only_if_asked(
    settings: Settings, folder: Path, tmp_path: Path
) -> None:
    (folder / "torn.wav").write_bytes(b"RIFF torn")
    soundfile.write(folder / "mute.wav", np.zeros(RATE), RATE)
    with pytest.raises(DataError, match=r"2 of 5 sounds cannot be used: .*mute.wav: .*torn.wav"):
        read(settings(), folder)
    found, lines = read(settings(skip_broken=True), folder)
    assert len(found) == 5 and sum("left out" in line for line in lines) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no sounds \(.wav, .flac"):
        read(settings(), tmp_path / "empty")
    with pytest.raises(DataError, match="no such folder"):
        read(settings(), tmp_path / "nowhere")


def test_a_model_of_pictures_and_another_size_are_refused(settings: Settings, folder: Path) -> None:
    given = SoundFolder(source="sounds", folder=str(folder))
    pictures = ModelFacts((64, 64), 8, PARAMS, 2e6, False)
    with pytest.raises(UsageError, match="makes no spectrograms; take riff"):
        read_sounds(settings(), given, pictures, print)
    with pytest.raises(UsageError, match="sounds are learned in the model's own, 64x48"):
        read(settings(size="32x48"), folder)


def test_phrases_suit_sounds_and_sounds_are_not_mirrored() -> None:
    sounds = {"source": "sounds", "folder": "clips"}
    made = for_sounds({"data": sounds, "judge": {"seeds": 3, "scenes": ["{}, jazz"]}})
    assert made["mirror"] is False and "a {} solo" in made["templates"]
    assert made["judge"]["scenes"] == ["{}, jazz"] and made["judge"]["seeds"] == 3
    assert made["judge"]["prompts"] == ["{}", "a {} solo"]
    style = for_sounds({"data": sounds, "kind": "style", "templates": ["{}, 90 bpm"]})
    assert style["templates"] == ["{}, 90 bpm"] and style["judge"]["prompts"][0] == "{} music"
    other = {"data": {"source": "drawn"}, "mirror": True}
    assert for_sounds(other) is other
    for key in ("mirror", "crops"):
        with pytest.raises(ValueError, match="neither mirrored nor cropped"):
            for_sounds({"data": sounds, key: 1})


def picture(hertz: float, overtones: float) -> Image.Image:
    line = tone(hertz, overtones, SECONDS).astype(np.float32)
    mono = SpectrogramParams(**{**vars(PARAMS), "stereo": False})
    [mel] = mel_spectrogram(line[None, None], mono, "cpu")
    return spectrogram_to_image(mel, mono)


DULL, BRIGHT = 3.0, 0.3


def play(texts: Sequence[str]) -> list[Image.Image]:
    kinds = {"dull": DULL, "bright": BRIGHT}
    return [picture(hertz, kinds[text]) for text in texts for hertz in (200, 300)]


def test_timbre_is_heard_whatever_the_notes() -> None:
    hearing = Hearing(play, ["dull", "bright"])
    texts = hearing.texts(["bright", "dull"])
    assert torch.allclose(texts.norm(dim=1), torch.ones(2))
    notes = (190, 230, 270)
    for kind, (own, other) in ((BRIGHT, (0, 1)), (DULL, (1, 0))):
        cosines = hearing.pictures([picture(one, kind) for one in notes]) @ texts.T
        assert (cosines[:, own] - cosines[:, other] > 0.3).all()


def test_the_cepstrum_is_that_of_its_definition() -> None:
    loud = np.random.default_rng(0).integers(0, 256, (12, 5), np.uint8)
    found = timbre(Image.fromarray(255 - loud))
    level = np.sqrt(np.square(loud / 255.0).mean())
    for order in (1, 7):
        angles = np.pi * order * (np.arange(12) + 0.5) / 12
        rows = np.cos(angles) @ (loud / 255) / level / 12
        assert found[order - 1] == pytest.approx(rows.mean())
        assert found[COEFFICIENTS + order - 1] == pytest.approx(rows.std())
    quiet = timbre(Image.fromarray(255 - loud // 2))
    assert np.allclose(quiet, found, atol=0.02)
    assert not timbre(Image.new("RGB", (5, 12), "white")).any()


@pytest.fixture
def tiny_music(tiny: Path, tmp_path: Path) -> Path:
    """The tiny model as one of spectrograms."""
    place = tmp_path / "music"
    place.mkdir()
    for part in tiny.iterdir():
        (place / part.name).symlink_to(part)
    values = {"version": 1, **vars(PARAMS), "bands": 32, "stereo": False, "max_value": 2e6}
    (place / "spectrogram.json").write_text(json.dumps(values))
    return place


def test_a_sound_is_learned_judged_by_its_timbre_and_written(
    settings: Settings, tiny_music: Path, folder: Path, tmp_path: Path
) -> None:
    lines: list[str] = []
    wanted = settings(
        model=str(tiny_music),
        data={"source": "sounds", "folder": str(folder)},
        judge={"seeds": 1, "steps": 1},
    )
    run_learn(wanted, Job(False, False, lines.append))
    assert list(load_file(tmp_path / "ball.safetensors")) == ["<my-ball>"]
    assert "data: 8 clips of 3 sounds, 0.6 s each" in lines
    assert json.loads((tmp_path / "ball/training/settings.json").read_text())["mirror"] is False
    rows = (tmp_path / "ball/training/measured.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [0, 1, 2]
    # The same command again goes on, with nothing left to do.
    run_learn(wanted, Job(False, False, lines.append))
