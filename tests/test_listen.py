"""The measures of music: on sounds whose tempo, key, levels, seams and joints are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import listen
import listen_measures as measures
from listen_measures import RATE, Asked
from sdcreative import SpectrogramParams, model_facts
from sdcreative.media.metadata import tag_sound
from sdcreative.models.sources import BUILTIN
from sdcreative.provenance.record import TAG, describe_run
from sdcreative_plugins.music.settings import MusicSettings
from sdcreative_plugins.music.timeline import timeline

Sound = np.ndarray


def sine(hertz: float, seconds: float, level: float = 0.5, rate: int = RATE) -> Sound:
    """(1, samples)"""
    at = np.arange(round(seconds * rate)) / rate
    return (level * np.sin(2 * np.pi * hertz * at))[None].astype(np.float32)


def clicks(bpm: float, seconds: float) -> Sound:
    """Short bursts that die away, one a beat; (1, samples)."""
    samples = np.zeros(round(seconds * RATE))
    length = RATE // 50
    burst = np.sin(np.arange(length)) * np.exp(-np.arange(length) / (length / 5))
    for beat in range(int(seconds * bpm / 60)):
        at = round((0.1 + beat * 60 / bpm) * RATE)
        part = samples[at : at + length]
        part += burst[: len(part)]
    return (0.7 * samples)[None].astype(np.float32)


def chord(*semitones: int) -> Sound:
    """Tones above middle C, each with its octave; (samples,)."""
    tones = [sine(261.6256 * 2 ** (k / 12 + octave), 3) for k in semitones for octave in (0, 1)]
    return (sum(tones) / len(tones))[0]


def saved(path: Path, samples: Sound, rate: int = RATE) -> Path:
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return path


def test_clicks_at_120_are_120_and_two_a_second(tmp_path: Path) -> None:
    track = clicks(120, 10)
    assert measures.heard_tempo(saved(tmp_path / "a.wav", track)) == pytest.approx(120, abs=0.5)
    assert measures.onset_rate(track[0]) == pytest.approx(2, abs=0.11)
    assert measures.heard_tempo(saved(tmp_path / "b.wav", 0 * track)) == 0
    assert measures.onset_rate(0 * track[0]) == 0


@pytest.mark.parametrize(
    ("heard", "asked", "text"),
    [
        (120.3, 120, "120.3 of 120"),
        (240.9, 120, "240.9 of 120, double"),
        (60, 120, "60.0 of 120, half"),
        (90, 120, "90.0 of 120, another"),
        (90, None, "90.0"),
        (0, None, "none"),
        (0, 97.5, "none of 97.5"),
    ],
)
def test_a_tempo_is_told_from_twice_half_and_another(
    heard: float, asked: float | None, text: str
) -> None:
    assert measures.against(heard, asked) == text


def test_a_sine_at_a4_is_an_a_and_its_centroid_is_its_frequency() -> None:
    tone = sine(440, 3)[0]
    assert measures.strongest(measures.pitch_classes(tone)) == "A"
    assert measures.centroid(tone) == pytest.approx(440, rel=0.03)
    assert measures.centroid(0 * tone) == 0


def test_chords_are_in_their_keys_and_noise_in_none() -> None:
    major = measures.pitch_classes(chord(0, 4, 7))
    assert set(measures.strongest(major).split()) == {"C", "E", "G"}
    key, clarity = measures.key_of(major)
    assert (key, clarity > 0.7) == ("C major", True)
    assert measures.key_of(measures.pitch_classes(chord(9, 12, 16)))[0] == "A minor"
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert measures.key_of(measures.pitch_classes(noise))[1] < clarity - 0.1
    assert measures.key_of(np.ones(12)) == ("none", 0.0)
    assert measures.strongest(np.zeros(12)) == "none"


def test_silence_is_what_lies_under_60_db() -> None:
    quiet, faint = sine(440, 1, 10 ** (-56 / 20)), sine(440, 1, 10 ** (-67 / 20))
    whole = np.concatenate([sine(440, 1), quiet, faint, np.zeros((1, RATE), np.float32)], 1)
    assert measures.silent_share(whole, RATE) == pytest.approx(0.5, abs=0.02)


def test_samples_at_full_scale_are_clipped() -> None:
    tone = sine(440, 0.1, 1.5)
    expected = int((np.abs(tone) >= 1).sum())
    assert measures.clipped(tone.clip(-1, 1)) == pytest.approx(expected, abs=2)
    assert measures.clipped(tone.clip(-1, 1)) == measures.clipped(tone) > 100
    assert measures.clipped(0.66 * tone) == 0


def test_width_is_the_energy_of_the_sides() -> None:
    tone, other = sine(440, 1), sine(660, 1)
    both = np.concatenate([tone, tone])
    assert measures.side_to_mid(both) == -math.inf
    assert measures.side_to_mid(np.concatenate([tone, -tone])) == math.inf
    assert measures.side_to_mid(np.concatenate([tone, 0 * tone])) == pytest.approx(0, abs=0.01)
    apart = np.concatenate([tone + 0.1 * other, tone - 0.1 * other])
    assert measures.side_to_mid(apart) == pytest.approx(-20, abs=0.01)


def test_a_step_in_level_is_found_at_its_joint_alone() -> None:
    tone = np.concatenate([sine(440, 3, 0.5), sine(440, 3, 0.25)], 1)
    at, elsewhere = measures.level_jumps(tone, RATE, Asked(joints=((3.0, 3.0),)))
    assert at == pytest.approx(20 * math.log10(2), abs=0.05)
    assert elsewhere == pytest.approx(0, abs=0.05)
    # Looked for at another place, it counts as being elsewhere.
    at, elsewhere = measures.level_jumps(tone, RATE, Asked(joints=((1.5, 1.5),)))
    assert at == pytest.approx(0, abs=0.05) and elsewhere > 0.5
    # A crossfade is passed over, and what is faded is left out.
    fade = np.concatenate([sine(440, 2, 0.5), sine(440, 2, 0), sine(440, 2, 0.5)], 1)
    at, _ = measures.level_jumps(fade, RATE, Asked(joints=((2.0, 4.0),)))
    assert at == pytest.approx(0, abs=0.05)
    asked = Asked(joints=((3.0, 3.0),), steady=(0.0, 2.0))
    assert all(math.isnan(x) for x in measures.level_jumps(tone, RATE, asked))
    assert all(math.isnan(x) for x in measures.level_jumps(tone, RATE, Asked()))


def test_a_loop_with_a_step_has_a_seam(tmp_path: Path) -> None:
    # 4 seconds hold whole periods of 440 Hz, and a quarter of one more does not.
    whole = saved(tmp_path / "whole.wav", sine(440, 4))
    cut = saved(tmp_path / "cut.wav", sine(440, 4 + 0.25 / 440))
    steps = []
    for path in (whole, cut):
        seam = listen.level_row(path, Asked(loop=True))[-1]
        step, decibels = seam.removesuffix(" dB").split(", ")
        steps.append((float(step), float(decibels)))
    assert steps[0][0] < 1.5 < 5 < steps[1][0]
    assert steps[1][1] > steps[0][1] + 15
    assert listen.level_row(whole, Asked())[-1] == "–"


@pytest.fixture
def musical(tmp_path: Path) -> str:
    """A model folder with all that can be read without loading: 64x64, a column every 20 ms."""
    folder = tmp_path / "riff"
    folder.mkdir()
    for part in (BUILTIN / "emoji").iterdir():
        (folder / part.name).symlink_to(part)
    params = SpectrogramParams(step_ms=20, window_ms=80, padded_ms=160, bands=64)
    values = {"version": 1, **vars(params), "max_value": 2e6}
    (folder / "spectrogram.json").write_text(json.dumps(values))
    return str(folder)


def test_settings_in_a_file_say_what_was_asked_for(tmp_path: Path, musical: str) -> None:
    path = saved(tmp_path / "a.wav", sine(440, 20, rate=44_100), 44_100)
    assert listen.asked_of(path) == Asked()
    given = {"model": musical, "tempo": 120, "bars": 10, "beat": "techno", "key": "A minor"}
    settings = MusicSettings.model_validate({**given, "prompt": "funk", "fade_out": 2.0})
    tag_sound(path, {TAG: describe_run("music", settings).to_json()})
    asked = listen.asked_of(path)
    assert (asked.tempo, asked.key, asked.loop, asked.steady) == (120, "A minor", False, (0, 18))
    made = timeline(settings)
    assert made.score is not None and len(asked.joints) == made.length - 1 >= 3
    width = model_facts(musical).size[0]
    # Where the first picture ends, as heard.
    assert asked.joints[0][0] == pytest.approx(width * 0.02 * made.score.stretch, abs=0.01)
    assert all(start == end for start, end in asked.joints)


def test_the_whole_command_on_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = np.concatenate([clicks(120, 6), clicks(120, 6)])
    files = [
        saved(tmp_path / "clicks.wav", both),
        saved(tmp_path / "long.wav", sine(440, 20)),
    ]
    table, sheet = tmp_path / "table.md", tmp_path / "sheet.png"
    command = [*map(str, files), "--output", str(table), "--plot", str(sheet)]
    assert listen.main(command) == 0
    text = table.read_text("utf-8")
    assert capsys.readouterr().out == text
    levels, music = text.split("\n\n")
    rows = [line.split(" | ") for line in levels.splitlines() + music.splitlines()]
    assert {len(row) for row in rows if row[0][:3] == "| c"} == {9, 7}
    assert "| clicks | 6.00 |" in levels and "| 0 | -inf |" in levels and "| mono |" in levels
    assert "| long | " in music and "| A | " in music
    with Image.open(sheet) as picture:
        width, height = picture.size
        assert picture.format == "PNG" and width > 2 * 560 > height
    with pytest.raises(SystemExit):
        listen.main([])


def test_every_music_preset_is_measured_and_songs_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[list[str]] = []

    def run(command: list[str], cwd: Path, **_: object) -> object:
        order.append(command)
        if any(name in command[4] for name in ("restyle", "morph", "repaint")):
            assert (cwd / "song.wav").exists()
        saved(Path(command[6]), sine(440, 1))
        return type("Done", (), {"returncode": 0, "stdout": json.dumps(command), "stderr": ""})

    monkeypatch.setattr(listen.subprocess, "run", run)
    made = dict(listen.render_presets(tmp_path / "music", "some/model"))
    assert {"funk_sax", "loop_techno", "music_morph"} < {path.stem for path in made}
    assert all(path.exists() for path in made)
    assert "song_sections" in order[0][4]
    assert all(command[-2:] == ["--model", "some/model"] for command in order)
