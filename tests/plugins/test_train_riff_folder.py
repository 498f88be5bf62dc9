"""One's own music as a source of training: cut into clips, encoded once, with captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from sdcreative import DataError
from sdcreative.spectral.params import SpectrogramParams
from sdcreative_plugins.train import music_folder
from sdcreative_plugins.train.clips import ClipPictures
from sdcreative_plugins.train.music.encode import encode, samples_of
from sdcreative_plugins.train.music_folder import cut, list_music, read_music_folder
from sdcreative_plugins.train.settings import MusicFolderData, TrainSettings
from sdcreative_plugins.train.sources import describe_data

PARAMS = SpectrogramParams(
    sample_rate=8000, step_ms=40, window_ms=100, padded_ms=200, bands=32, max_hz=4000
)
COLUMNS = 26
LENGTH = samples_of(PARAMS, COLUMNS)


def tone(path: Path, seconds: float, hz: float = 440, rate: int = 8000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    line = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.repeat(line[:, None], channels, axis=1), rate)
    return path


def read(folder: Path, lines: list[str] | None = None, **changes: object) -> ClipPictures:
    data = MusicFolderData.model_validate(
        {"source": "music_folder", "folder": str(folder), **changes}
    )
    report = ([] if lines is None else lines).append
    return read_music_folder(data, PARAMS, COLUMNS, folder / "cache", report)


def test_a_clip_is_a_second_here() -> None:
    assert LENGTH == 8000


@pytest.mark.parametrize(
    ("length", "apart", "starts"),
    [
        (40, 10, (0, 10, 20, 30)),
        (44, 10, (0, 10, 20, 30)),
        (45, 10, (0, 10, 20, 30, 40)),
        (25, 5, (0, 5, 10, 15, 20)),
        (35, 20, (0, 20)),
        (3, 10, (0,)),
    ],
)
def test_music_is_cut_into_clips(length: int, apart: int, starts: tuple[int, ...]) -> None:
    line = np.arange(1, length + 1, dtype=np.float32)
    clips = cut(line, 10, apart)
    assert [int(clip[0]) - 1 for clip in clips] == list(starts)
    for clip, start in zip(clips, starts, strict=True):
        piece = line[start : start + 10]
        assert np.array_equal(clip, np.pad(piece, (0, 10 - len(piece))))


def test_silent_clips_are_left_out() -> None:
    line = np.zeros(40, np.float32)
    line[25] = 0.5
    assert cut(line, 10, 10)[:, 5].tolist() == [0.5]


def test_captions_stand_beside_the_music_or_in_one_file(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 2)
    tone(tmp_path / "b.flac", 1)
    (tmp_path / "a.txt").write_text("a hum\na low hum\n")
    (tmp_path / "b.txt").write_text("another")
    clips = read(tmp_path)
    assert [d.captions for d in clips] == [("a hum", "a low hum")] * 2 + [("another",)]
    tone(tmp_path / "sub" / "c.ogg", 1)
    (tmp_path / "c.csv").write_text("file,caption\nsub/c.ogg,a third\na.wav,said here\n")
    clips = read(tmp_path, captions="c.csv")
    assert [d.captions[0] for d in clips] == ["said here", "said here", "another", "a third"]


def test_clips_are_those_of_the_encoder(tmp_path: Path) -> None:
    samples, _ = soundfile.read(tone(tmp_path / "a.wav", 2.5), dtype="float32")
    (tmp_path / "a.txt").write_text("a hum")
    clips = read(tmp_path, every=0.5)
    assert len(clips) == 5
    expected, loudest = encode(samples[None, 4000:12000], PARAMS)
    assert np.array_equal(clips.grey(1), expected[0]) and clips.facts[1].loudest == loudest[0]


def test_other_rates_and_channels_sound_the_same(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1)
    tone(tmp_path / "b.wav", 1, rate=16000, channels=2)
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text("a hum")
    one, two = read(tmp_path)
    middle = slice(3, -3)
    difference = one.rgba[:, middle, 0].astype(int) - two.rgba[:, middle, 0]
    loud = one.rgba[:, middle, 0] < 128
    assert loud.any() and np.abs(difference[loud]).max() <= 2


def test_music_is_encoded_once_and_again_when_it_changed(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 1)
    (tmp_path / "a.txt").write_text("a hum")
    lines: list[str] = []
    read(tmp_path, lines)
    read(tmp_path, lines)
    assert lines == ["music: 1 clips of a.wav"]
    (tmp_path / "a.txt").write_text("a buzz")
    assert read(tmp_path, lines)[0].captions == ("a buzz",)
    tone(tmp_path / "a.wav", 2)
    assert len(read(tmp_path, lines)) == 2 and len(lines) == 3


def test_broken_music_is_named_in_one_line(tmp_path: Path) -> None:
    def complaint(**changes: object) -> str:
        with pytest.raises(DataError) as caught:
            read(tmp_path, **changes)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "no music" in complaint()
    tone(tmp_path / "a.wav", 1)
    assert "a.wav: no caption" in complaint()
    (tmp_path / "a.txt").write_text("a hum")
    (tmp_path / "c.csv").write_text("file,caption\nb.wav,there is none\n")
    assert "names b.wav" in complaint(captions="c.csv")
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    assert "a.wav: not readable as sound" in complaint()
    soundfile.write(tmp_path / "a.wav", np.zeros(8000), 8000)
    assert "only silence" in complaint()
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 8000)
    assert "holds no sound" in complaint()
    with pytest.raises(DataError, match="no such folder"):
        list_music(tmp_path / "nowhere")


def test_a_dry_run_counts_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(music_folder, "read_sound", None)
    tone(tmp_path / "a.wav", 1)
    values = {
        "data": {"source": "music_folder", "folder": str(tmp_path)},
        "size": "256x96",
        "output": str(tmp_path / "out"),
        "autoencoder": {"channels": [8, 16], "schedule": {"steps": 1}},
    }
    lines: list[str] = []
    describe_data(TrainSettings.model_validate(values), lines.append)
    assert lines == [f"1 files in {tmp_path}, cut into clips of 5.10 s"]
