"""Long sounds as pictures: every piece is what the picture of the whole holds there."""

from __future__ import annotations

import subprocess
import tracemalloc
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy
import pytest
import soundfile
from numpy.typing import NDArray

from inversion_music import music
from sdcreative.errors import DataError, UsageError
from sdcreative.media import sound_parts, sound_pictures
from sdcreative.media.sound_files import read_blocks
from sdcreative.media.sound_parts import part_blocks, sound_part
from sdcreative.media.sound_pictures import SoundPictures
from sdcreative.media.spectrogram import SpectrogramParams, levels_of, mel_spectrogram
from sdcreative.media.spectrogram_sound import read_sound
from sdcreative.media.video import ffmpeg

SMALL = SpectrogramParams(bands=96, step_ms=20)
STEREO = SpectrogramParams(bands=96, step_ms=20, stereo=True)


@lru_cache
def bars(seed: int) -> NDArray[numpy.float32]:
    return music(seed, 3)


def write(path: Path, rate: int, seconds: float, channels: int = 2) -> Path:
    """Music as if it were of another rate, every channel another, and getting louder."""
    parts = numpy.concatenate([bars(seed) for seed in range(-(-channels // 2))])[:channels]
    count = round(seconds * rate)
    samples = numpy.tile(parts, -(-count // parts.shape[1]))[:, :count]
    soundfile.write(path, (samples * numpy.linspace(0.2, 1, count)).T, rate)
    return path


def levels(pictures: SoundPictures, first: int, width: int, voice: int = 0) -> NDArray[numpy.int16]:
    picture = pictures.picture(first, width, voice)
    assert (picture.mode, picture.size) == ("RGB", (width, pictures.params.bands))
    found = numpy.asarray(picture, numpy.int16)
    assert (found == found[..., :1]).all()
    return found[..., 0]


def whole(path: Path, params: SpectrogramParams, **part: float) -> NDArray[numpy.float32]:
    samples = read_sound(path, params.sample_rate, params.channels, **part)  # type: ignore[arg-type]
    return mel_spectrogram(samples, params)


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [
        ("a.wav", 44_100, 2),
        ("a.wav", 8_000, 1),
        ("a.wav", 48_000, 2),
        ("a.flac", 96_000, 6),
        ("a.wav", 44_101, 1),
        ("a.ogg", 44_100, 2),
        ("a.mp3", 48_000, 2),
    ],
)
def test_pieces_are_those_of_the_whole(
    tmp_path: Path, name: str, rate: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound_pictures, "_SLAB", 64)
    path = write(tmp_path / name, rate, 4, channels)
    params = STEREO if channels > 1 else SMALL
    parts: list[dict[str, float]] = [{}, {"start": 1.2345, "seconds": 2.21}]
    for part in parts:
        mel = whole(path, params, **part)
        pictures = SoundPictures(path, params, **part)  # type: ignore[arg-type]
        assert (pictures.voices, pictures.columns) == mel.shape[::2]
        assert pictures.seconds == pytest.approx(part.get("seconds", 4), abs=1e-4)
        assert pictures.max_value == pytest.approx(float(mel.max()), rel=1e-4)
        wanted = levels_of(mel, params.power, float(mel.max()))[:, ::-1].astype(numpy.int16)
        last = pictures.columns
        places = [(0, 1), (0, 90), (3, 40), (last - 1, 1), (last - 70, 70), (0, last)]
        random = numpy.random.default_rng(0)
        places += [(int(first), 50) for first in random.integers(0, last - 50, 2)]
        for voice in range(pictures.voices):
            for first, width in places:
                there = wanted[voice, :, first : first + width]
                apart = numpy.abs(levels(pictures, first, width, voice) - there)
                assert apart.max() <= 1
                # Bands above half the file's rate hold nothing but rounding.
                assert (apart[there < 245] > 0).mean() < 3e-3


def test_riffusions_bands(tmp_path: Path) -> None:
    params = SpectrogramParams()
    path = write(tmp_path / "a.wav", 44_100, 3)
    mel = whole(path, params)[0]
    wanted = levels_of(mel, params.power, float(mel.max()))[::-1].astype(numpy.int16)
    pictures = SoundPictures(path, params)
    assert numpy.abs(levels(pictures, 130, 100) - wanted[:, 130:230]).max() <= 1


def test_beyond_the_end_is_silence(tmp_path: Path) -> None:
    pictures = SoundPictures(write(tmp_path / "a.wav", 44_100, 2), SMALL)
    assert pictures.columns == 101
    across = levels(pictures, 60, 80)
    assert (across[:, :41] == levels(pictures, 60, 41)).all() and across[:, 40].min() < 255
    assert (across[:, 41:] == 255).all()
    assert (levels(pictures, 5000, 3) == 255).all()


def test_black_is_the_loudest_of_all_or_what_is_asked_for(tmp_path: Path) -> None:
    t = numpy.arange(5 * 44_100) / 44_100
    tone = numpy.sin(2 * numpy.pi * 1000 * t)
    tone[: 3 * 44_100] *= 0.1
    soundfile.write(tmp_path / "a.wav", numpy.stack([0.1 * tone, 0.8 * tone], 1), 44_100)
    own = SoundPictures(tmp_path / "a.wav", STEREO)
    assert levels(own, 0, own.columns, 1).min() == 0

    def share(pictures: SoundPictures, voice: int) -> float:
        """Of what black stands for, in the loudest band of the steady tone."""
        return ((254.5 - float(levels(pictures, 200, 20, voice).min())) / 255) ** 4

    assert share(own, 1) / share(own, 0) == pytest.approx(8, rel=0.05)
    given = SoundPictures(tmp_path / "a.wav", STEREO, max_value=own.max_value * 16)
    assert given.max_value == own.max_value * 16
    assert share(own, 1) / share(given, 1) == pytest.approx(16, rel=0.05)
    # What is louder than black is black, not white again.
    loud = SoundPictures(tmp_path / "a.wav", STEREO, max_value=own.max_value / 16)
    assert (levels(loud, 200, 20, 1) == 0).any()
    quiet, full = levels(loud, 200, 20, 1), levels(own, 200, 20, 1)
    assert (quiet <= full).all()


def test_it_listens_once_and_remembers_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = SoundPictures(write(tmp_path / "a.wav", 44_100, 3), STEREO)
    reads = []
    read = SoundPictures._read

    def counted(self: SoundPictures, begin: int, end: int) -> NDArray[numpy.float32]:
        reads.append((begin, end))
        return read(self, begin, end)

    monkeypatch.setattr(SoundPictures, "_read", counted)
    first = pictures.picture(0, 40)
    assert len(reads) == 2  # all of it for the loudest, and what is shown
    assert pictures.picture(0, 40) is first
    assert pictures.picture(0, 40, 1) is pictures.picture(0, 40, 1) is not first
    assert len(reads) == 2
    assert pictures.max_value > 0 and len(reads) == 2
    for place in range(1, 8):
        pictures.picture(place, 40)
    assert pictures.picture(0, 40) is first
    for place in range(11, 19):
        pictures.picture(place, 40)
    again = pictures.picture(0, 40)
    assert again is not first and again.tobytes() == first.tobytes()


@pytest.mark.parametrize("rate", [44_100, 8_000])
def test_samples_of_a_stretch(tmp_path: Path, rate: int) -> None:
    path = write(tmp_path / "a.wav", rate, 4)
    pictures = SoundPictures(path, STEREO, start=0.5)
    wanted = read_sound(path, 44_100, 2, start=0.5)
    hop = STEREO.hop_length
    for first, count in ((0, 10), (17, 30), (150, 24)):
        found = pictures.samples(first, count)
        assert found.shape == (2, count * hop)
        assert numpy.abs(found - wanted[:, first * hop :][:, : count * hop]).max() < 2e-6
    beyond = pictures.samples(170, 20)
    assert numpy.abs(beyond[:, : 5 * hop] - wanted[:, -5 * hop :]).max() < 2e-6
    assert beyond.shape == (2, 20 * hop) and not beyond[:, 5 * hop :].any()
    assert not pictures.samples(900, 2).any()


@pytest.mark.parametrize("coding", ["libvorbis", "libopus", "libmp3lame"])
def test_seeking_in_compressed_files_is_exact(tmp_path: Path, coding: str) -> None:
    """Near the end of Vorbis files, libsndfile by itself comes out elsewhere."""
    rate = 48_000 if coding == "libopus" else 44_100
    source = write(tmp_path / "a.wav", rate, 8)
    path = tmp_path / {"libmp3lame": "a.mp3"}.get(coding, "a.ogg")
    subprocess.run(
        [ffmpeg(), "-v", "error", "-i", str(source), "-c:a", coding, str(path)], check=True
    )
    all_of_it = soundfile.read(path, dtype="float32")[0]
    part = sound_part(path)
    random = numpy.random.default_rng(0)
    for begin in [
        *random.integers(0, part.count, 60),
        *range(part.count - 40_000, part.count, 4999),
    ]:
        found = numpy.concatenate(list(part_blocks(part, rate, 2, int(begin), int(begin) + 3000)))
        wanted = all_of_it[begin : begin + 3000]
        assert found.shape == wanted.shape
        assert numpy.abs(found - wanted).max() < 1e-5


def ten_hours(path: Path) -> Path:
    """16 bits at 8 kHz: silent, but for a tone of 1 kHz from 9:00:00 to 9:00:03."""
    rate, hours = 8_000, 10
    soundfile.write(path, numpy.zeros(0), rate, "PCM_16")
    header = bytearray(path.read_bytes())
    size = 2 * rate * 3600 * hours
    header[4:8] = (len(header) - 8 + size).to_bytes(4, "little")
    header[-4:] = size.to_bytes(4, "little")
    tone = 16_000 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(3 * rate) / rate)
    with path.open("wb") as file:
        file.write(header)
        file.seek(len(header) + 2 * rate * 3600 * 9)
        file.write(tone.astype("<i2").tobytes())
        file.truncate(len(header) + size)
    return path


def test_ten_hours_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ten_hours(tmp_path / "long.wav")
    read = 0

    def counted(path: Path, start: int, count: int) -> Iterator[NDArray[numpy.float32]]:
        nonlocal read
        read += count
        return read_blocks(path, start, count)

    monkeypatch.setattr(sound_parts, "read_blocks", counted)
    tracemalloc.start()
    try:
        pictures = SoundPictures(path, SMALL, max_value=1e8)
        assert (pictures.columns, pictures.seconds) == (1_800_001, 36_000)
        picture = levels(pictures, 9 * 3600 * 50 - 50, 250)
        assert levels(pictures, 1_799_990, 20).min() == 255
        assert read < 10 * 8_000  # samples: what is shown, and little beside it
        part = SoundPictures(path, SMALL, start=9 * 3600 - 60, seconds=120)
        mel = whole(path, SMALL, start=9 * 3600 - 1, seconds=5)
        assert part.max_value == pytest.approx(float(mel.max()), rel=1e-4)
        assert part.samples(3000, 50).any() and not part.samples(2900, 50).any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20
    heard = numpy.flatnonzero((picture < 128).any(axis=0))
    # From column 50 to 200; windows of 100 ms reach two columns and a half beyond.
    assert 48 <= heard.min() <= 50 and 200 <= heard.max() <= 202


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"start": -1}, "start is -1"),
        ({"start": float("nan")}, "start is nan"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": float("inf")}, "seconds is inf"),
        ({"max_value": 0}, "max_value is 0"),
        ({"max_value": float("nan")}, "max_value is nan"),
    ],
)
def test_what_cannot_be_asked_for(tmp_path: Path, options: dict[str, float], text: str) -> None:
    path = write(tmp_path / "a.wav", 8_000, 1, 1)
    with pytest.raises(UsageError, match=text):
        SoundPictures(path, SMALL, **options)  # type: ignore[arg-type]


def test_columns_and_voices_that_cannot_be(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 8_000, 1, 1)
    pictures = SoundPictures(path, STEREO)
    assert pictures.voices == 1 and not pictures.params.stereo
    for first, width in ((-1, 5), (0, 0)):
        with pytest.raises(UsageError, match="columns from"):
            pictures.picture(first, width)
        with pytest.raises(UsageError, match="steps from"):
            pictures.samples(first, width)
    for voice in (-1, 1):
        with pytest.raises(UsageError, match=f"voice {voice}; this sound has 1"):
            pictures.picture(0, 5, voice)
    with pytest.raises(DataError, match="cannot start at 3"):
        SoundPictures(path, SMALL, start=3)
    with pytest.raises(DataError, match=r"a\.wav: 0\.020 s of sound; give at least 0\.050 s"):
        SoundPictures(path, SMALL, seconds=0.02)


def test_silence_is_white(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", numpy.zeros(8000), 8000)
    pictures = SoundPictures(tmp_path / "a.wav", SMALL)
    assert pictures.max_value == 0
    assert (levels(pictures, 0, 60) == 255).all()
