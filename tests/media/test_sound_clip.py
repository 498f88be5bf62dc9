"""Sound in films: as long as the pictures, in step with them, and every way of failing."""

from __future__ import annotations

import re
import subprocess
from fractions import Fraction
from pathlib import Path

import numpy
import pytest
import soundfile
from PIL import Image

from sdcreative.errors import DataError, OutputError
from sdcreative.media import muxing
from sdcreative.media.metadata import read_tags
from sdcreative.media.sound_clip import SoundClip, clip_blocks, clip_format
from sdcreative.media.sound_files import BLOCK, read_blocks, resampled, sound_info
from sdcreative.media.video import ffmpeg, probe_sound
from sdcreative.media.writers import holds_sound, open_writer, probe

FILMS = [".mp4", ".mov", ".mkv"]
NTSC = 24000 / 1001


def noise(seconds: float, rate: int, channels: int = 2) -> numpy.ndarray:
    """Noise that AAC keeps: rather low, every channel another."""
    random = numpy.random.default_rng(0)
    white = random.standard_normal((round(seconds * rate), channels))
    return numpy.stack([numpy.convolve(each, numpy.ones(8) / 40, "same") for each in white.T], 1)


def write(path: Path, samples: numpy.ndarray, rate: int) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def film(path: Path, frames: int, fps: float, clip: SoundClip, **options: object) -> Path:
    with open_writer(path, fps, (16, 16), sound=clip, **options) as writer:  # type: ignore[arg-type]
        for number in range(frames):
            writer.add(Image.new("RGB", (16, 16), (number * 3 % 256, 0, 90)))
    return path


def heard(path: Path, channels: int = 2) -> numpy.ndarray:
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-map", "0:a", "-f", "f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return numpy.frombuffer(raw, "<f4").reshape(-1, channels)


def samples_of(clip: SoundClip, seconds: Fraction) -> numpy.ndarray:
    return numpy.concatenate(list(clip_blocks(clip, seconds)))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("rate", [44_100, 48_000, 8_000, 96_000])
@pytest.mark.parametrize("suffix", FILMS)
def test_sound_is_in_step_and_as_long_as_the_film(tmp_path: Path, suffix: str, rate: int) -> None:
    original = noise(4, rate)
    sound = write(tmp_path / "a.wav", original, rate)
    path = film(tmp_path / f"a{suffix}", 47, NTSC, SoundClip(sound, start=0.5), length=47)
    info = probe(path)
    assert (info.frames, info.fps) == (47, pytest.approx(NTSC, rel=1e-3))
    found = heard(path)
    wanted = round(Fraction(47 * 1001, 24000) * rate)
    # Matroska does not say where the last AAC frame of 1024 samples ends.
    assert wanted <= len(found) <= wanted + (1024 if suffix == ".mkv" else 0)
    for channel in (0, 1):
        shift = delay(original[rate // 2 :, channel], found[:wanted, channel])
        assert abs(shift) / rate < 0.001
        part = original[rate // 2 : rate // 2 + wanted, channel]
        assert numpy.corrcoef(part, found[:wanted, channel])[0, 1] > 0.95
    said = subprocess.run([ffmpeg(), "-i", str(path)], capture_output=True, check=False).stderr
    hours, minutes, seconds = re.search(rb"Duration: (\d+):(\d+):([\d.]+)", said).groups()  # type: ignore[union-attr]
    length = 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    assert length == pytest.approx(47 / NTSC, abs=0.015 + (1280 / rate if suffix == ".mkv" else 0))


def delay(original: numpy.ndarray, found: numpy.ndarray) -> int:
    """Samples by which one is later than the other: where their correlation is largest."""
    size = 2 * len(original)
    spectrum = numpy.fft.rfft(found, size) * numpy.fft.rfft(original, size).conj()
    shift = int(numpy.fft.irfft(spectrum, size).argmax())
    return shift - size if shift > size // 2 else shift


@pytest.mark.parametrize("suffix", FILMS)
def test_pictures_are_those_of_the_silent_film(tmp_path: Path, suffix: str) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(2, 44_100), 44_100))
    loud = film(tmp_path / f"loud{suffix}", 20, 12, clip)
    with open_writer(tmp_path / f"silent{suffix}", 12, (16, 16)) as writer:
        for number in range(20):
            writer.add(Image.new("RGB", (16, 16), (number * 3 % 256, 0, 90)))

    def decoded(path: Path) -> list[bytes]:
        command = [ffmpeg(), "-v", "error", "-i", str(path), "-map", "0:v", "-f", "framecrc", "-"]
        return subprocess.run(command, capture_output=True, check=True).stdout.splitlines()

    assert decoded(loud) == decoded(tmp_path / f"silent{suffix}")


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_the_same_pictures_and_sound_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(1, 44_100), 44_100))
    films = [film(tmp_path / f"{name}{suffix}", 12, 12, clip) for name in "ab"]
    assert films[0].read_bytes() == films[1].read_bytes()


def test_tags_go_into_films_with_sound(tmp_path: Path) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(1, 44_100), 44_100))
    path = film(tmp_path / "a.mp4", 3, 12, clip, metadata={"sdcreative": "熊 = ;"})
    assert read_tags(path) == {"sdcreative": "熊 = ;"}
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_an_interrupt_cuts_the_sound_to_the_frames_that_exist(tmp_path: Path) -> None:
    rate = 44_100
    clip = SoundClip(write(tmp_path / "a.wav", noise(9, rate), rate), fade_out=0.5)
    path = tmp_path / "a.mp4"
    with (
        pytest.raises(KeyboardInterrupt),
        open_writer(path, 12, (16, 16), length=100, sound=clip) as writer,
    ):
        for _ in range(18):
            writer.add(Image.new("RGB", (16, 16)))
        raise KeyboardInterrupt
    found = heard(path)
    assert probe(path).frames == 18
    assert len(found) == 1.5 * rate == pytest.approx(probe_sound(path) * rate)
    # Faded out where the film now ends.
    assert abs(found[-400:]).max() < 0.1 * abs(found[rate // 2 : rate]).max()
    assert names(tmp_path) == ["a.mp4", "a.wav"]


@pytest.mark.parametrize("seconds", [Fraction(1, 24), Fraction(1001, 24000), Fraction(5, 2)])
def test_a_clip_has_its_samples_exactly(tmp_path: Path, seconds: Fraction) -> None:
    original = noise(3, 44_100)
    path = write(tmp_path / "a.wav", original, 44_100)
    found = samples_of(SoundClip(path, start=0.25), seconds)
    begin, count = 11_025, round(seconds * 44_100)
    assert (found == original[begin : begin + count].astype(numpy.float32)).all()


def test_after_the_end_it_is_silent(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(1, 8000, 1), 8000)
    found = samples_of(SoundClip(path), Fraction(20))
    assert found.shape == (160_000, 1)
    assert abs(found[:8000]).max() > 0
    assert not found[8000:].any()


def test_fades_are_half_a_cosine(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", numpy.ones((30_000, 2)), 10_000)
    # 10 kHz is no rate of AAC; the clip is made at 48 kHz.
    assert clip_format(SoundClip(path)) == (48_000, 2)
    found = samples_of(SoundClip(path, 0.5, fade_in=0.5, fade_out=1.0), Fraction(2))[:, 1]
    assert len(found) == 96_000
    assert found[[0, -1]] == pytest.approx([0, 0])
    times = numpy.array([0.125, 0.25, 0.375])
    shape = 0.5 - 0.5 * numpy.cos(numpy.pi * times / 0.5)
    assert found[(times * 48_000).astype(int)] == pytest.approx(shape, abs=2e-3)
    assert found[24_000:48_000] == pytest.approx(1, abs=2e-3)
    assert found[95_999 - 24_000] == pytest.approx(0.5, abs=2e-3)


def test_another_rate_keeps_pitch_time_and_length(tmp_path: Path) -> None:
    seconds = numpy.arange(96_000 * 2) / 96_000
    tone = numpy.sin(2 * numpy.pi * 440 * seconds)[:, None].astype(numpy.float32)
    blocks = (tone[at : at + 5000] for at in range(0, len(tone), 5000))
    found = numpy.concatenate(list(resampled(blocks, 1, 96_000, 22_050)))[:, 0]
    assert len(found) == 44_100
    expected = numpy.sin(2 * numpy.pi * 440 * numpy.arange(44_100) / 22_050)
    assert found[500:-500] == pytest.approx(expected[500:-500], abs=1e-3)


@pytest.mark.parametrize(("name", "channels"), [("a.flac", 1), ("a.ogg", 2), ("a.mp3", 2)])
def test_formats(tmp_path: Path, name: str, channels: int) -> None:
    soundfile.write(tmp_path / name, noise(2, 44_100, channels), 44_100)
    path = film(tmp_path / "a.mp4", 12, 12, SoundClip(tmp_path / name))
    assert len(heard(path, channels)) == 44_100


def test_six_channels_become_two(tmp_path: Path) -> None:
    path = film(
        tmp_path / "a.mp4", 6, 12, SoundClip(write(tmp_path / "a.wav", noise(1, 48_000, 6), 48_000))
    )
    assert abs(heard(path, 2)).max() > 0.05
    assert len(heard(path, 2)) == 24_000


def test_which_outputs_hold_sound(tmp_path: Path) -> None:
    assert [holds_sound(f"a{suffix}") for suffix in FILMS] == [True] * 3
    for name in ("a.gif", "a.webp", "a.apng", "a.png", "frames/", "frames", "a.mp4/"):
        assert not holds_sound(name)
    (tmp_path / "x.mp4").mkdir()
    assert not holds_sound(tmp_path / "x.mp4")


def test_sound_for_a_format_without_is_refused(tmp_path: Path) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(1, 8000), 8000))
    for name in ("a.gif", "a.png", "frames/"):
        with pytest.raises(OutputError, match=r"holds no sound; use \.mp4, \.mov, \.mkv"):
            open_writer(f"{tmp_path}/{name}", 12, (8, 8), sound=clip)
    assert names(tmp_path) == ["a.wav"]


def broken_files(folder: Path) -> dict[str, str]:
    """Name -> what is said of it."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "page.mp3").write_text("<html>")
    (folder / "a.raw").write_bytes(b"123456")
    soundfile.write(folder / "none.wav", numpy.zeros((0, 1)), 8000)
    soundfile.write(folder / "many.wav", numpy.zeros((80, 9)), 8000)
    soundfile.write(folder / "short.wav", numpy.zeros(4000), 8000)
    return {
        "empty.wav": "is empty; give a sound file",
        "page.mp3": "is no sound file that is known here; give a wav, flac, ogg or mp3",
        "a.raw": "is no sound file",
        "none.wav": "holds no sound",
        "many.wav": "has 9 channels",
        "short.wav": "lasts 0.5 seconds; it cannot start at 2",
        "missing.wav": "no such file",
        ".": "is a folder",
    }


def test_broken_sound_is_found_before_anything_is_rendered(tmp_path: Path) -> None:
    for name, message in broken_files(tmp_path).items():
        with pytest.raises(DataError) as error:
            open_writer(tmp_path / "a.mp4", 12, (8, 8), sound=SoundClip(tmp_path / name, 2.0))
        assert message in str(error.value)
        assert str(tmp_path / name) in str(error.value)
    assert not [name for name in names(tmp_path) if ".mp4" in name]


@pytest.mark.parametrize("bad", [numpy.nan, numpy.inf])
def test_samples_that_are_no_numbers_leave_nothing(tmp_path: Path, bad: float) -> None:
    samples = noise(2, 8000)
    samples[12_000, 1] = bad
    clip = SoundClip(write(tmp_path / "a.wav", samples, 8000))
    with pytest.raises(DataError, match=r"sample 12000, at 1\.500 seconds, is no finite number"):
        film(tmp_path / "a.mp4", 24, 12, clip)
    assert names(tmp_path) == ["a.wav"]
    film(tmp_path / "b.mp4", 12, 12, clip)  # ends before it


def test_a_failing_mixer_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(1, 8000), 8000))
    monkeypatch.setattr(muxing, "BIT_RATE", "much")
    with pytest.raises(OutputError, match=r"a\.mp4: the encoder failed with exit code .*much"):
        film(tmp_path / "a.mp4", 12, 12, clip)
    assert names(tmp_path) == ["a.wav"]


def test_sound_of_another_length_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(4, 44_100), 44_100))
    monkeypatch.setattr(
        muxing, "clip_blocks", lambda sound, seconds: clip_blocks(sound, seconds / 2)
    )
    with pytest.raises(OutputError, match=r"2\.000 seconds of sound were written, .* holds 1\.000"):
        film(tmp_path / "a.mp4", 24, 12, clip)
    assert names(tmp_path) == ["a.wav"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    clip = SoundClip(write(tmp_path / "a.wav", noise(1, 8000), 8000))
    with (
        pytest.raises(ZeroDivisionError),
        open_writer(tmp_path / "a.mp4", 12, (8, 8), sound=clip) as writer,
    ):
        writer.add(Image.new("RGB", (8, 8)))
        raise ZeroDivisionError
    assert names(tmp_path) == ["a.wav"]


def test_a_long_file_is_read_in_blocks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(30, 8000, 1), 8000)
    assert sound_info(path).seconds == 30
    sizes = [len(block) for block in read_blocks(path, 1000, 10**9)]
    assert max(sizes) == BLOCK
    assert sum(sizes) == 239_000
    with pytest.raises(DataError, match="holds no sound that decodes"):
        probe_sound(path.with_name("b.wav"))
