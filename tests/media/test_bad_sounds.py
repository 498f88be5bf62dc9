"""Sounds and pictures as they come: the right result, or one line that says what is wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import soundfile
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from sdcreative.cli.spectrogram import spectrogram_group
from sdcreative.errors import DataError
from sdcreative.media.sound_files import LOUDEST, read_blocks, sound_info
from sdcreative.media.sound_mixing import mix
from sdcreative.media.sound_pictures import SoundPictures
from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram
from sdcreative.media.spectrogram_files import read_spectrogram
from sdcreative.media.spectrogram_sound import read_sound
from sdcreative.media.video import ffmpeg

SMALL = SpectrogramParams(bands=96, step_ms=20)
RATE = 44_100


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0) -> NDArray[numpy.float64]:
    return 0.5 * numpy.sin(2 * numpy.pi * hertz * numpy.arange(round(seconds * rate)) / rate)


def read_whole(path: Path) -> None:
    read_sound(path, RATE)


def as_pictures(path: Path) -> None:
    pictures = SoundPictures(path, SMALL)
    pictures.picture(0, pictures.columns)


def encode(path: Path) -> None:
    words = ["encode", str(path), "--bands", "96", "--step", "20", "-o", f"{path}.png"]
    CliRunner().invoke(spectrogram_group(), words, catch_exceptions=False)


WAYS = [read_whole, as_pictures, encode]


def refused(way: Callable[[Path], None], path: Path, text: str) -> None:
    with pytest.raises(DataError, match=text) as caught:
        way(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not Path(f"{path}.png").exists()


def whole(folder: Path, name: str) -> Path:
    """Twenty seconds, so that every format has many pages or frames."""
    path = folder / name
    with soundfile.SoundFile(path, "w", RATE, 1) as file:
        file.write(tone(20) + 0.01 * numpy.random.default_rng(0).standard_normal(20 * RATE))
    return path


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_sound(tmp_path: Path, way: Callable[[Path], None]) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("no sound\n" * 500)
    Image.new("RGB", (64, 64), "red").save(tmp_path / "red.png")
    (tmp_path / "red.png").rename(tmp_path / "picture.wav")
    (tmp_path / "start.flac").write_bytes(b"fLaC" + bytes(20))
    soundfile.write(tmp_path / "none.wav", numpy.zeros(0), RATE)
    soundfile.write(tmp_path / "many.wav", numpy.zeros((9000, 9)), RATE)
    for name, text in [
        ("empty.wav", "is empty; give a sound file"),
        ("text.wav", "is no sound file that is known here"),
        ("picture.wav", "is no sound file that is known here"),
        ("start.flac", "is no sound file that is known here"),
        ("none.wav", "holds no sound"),
        ("many.wav", "has 9 channels"),
        ("missing.wav", "no such file"),
    ]:
        refused(way, tmp_path / name, text)


def test_folders_pipes_and_devices(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for way in WAYS:
        refused(way, tmp_path / "pipe.wav", "is a pipe or device; save it as a file first")
    for way in (read_whole, as_pictures):
        refused(way, tmp_path, "is a folder; give a sound file")
        refused(way, Path("/dev/null"), "is a pipe or device")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
@pytest.mark.parametrize("way", WAYS)
def test_what_may_not_be_read(tmp_path: Path, way: Callable[[Path], None]) -> None:
    path = whole(tmp_path, "a.wav")
    path.chmod(0)
    refused(way, path, "may not be read; check its permissions")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.wav", r"is truncated; \d+\.\d\d of 20\.00 seconds are there"),
        ("a.aiff", r"is truncated; \d+\.\d\d of 20\.00 seconds are there"),
        ("a.mp3", r"is truncated; \d+\.\d\d of 20\.00 seconds are there"),
        ("a.flac", r"does not decode after sample \d+; it is broken or truncated"),
    ],
)
def test_truncated_files(tmp_path: Path, way: Callable[[Path], None], name: str, text: str) -> None:
    path = whole(tmp_path, name)
    complete = path.read_bytes()
    path.write_bytes(complete[: len(complete) // 2])
    refused(way, path, text)
    # A part of what is left is read.
    assert read_sound(path, RATE, start=2, seconds=5).shape == (1, 5 * RATE)
    path.write_bytes(complete[:20])
    refused(way, path, "is no sound file that is known here|holds no sound")


def test_truncated_ogg_is_what_is_left_of_it(tmp_path: Path) -> None:
    """Streams that were recorded end so, too."""
    path = whole(tmp_path, "a.ogg")
    samples = read_sound(path, RATE)
    complete = path.read_bytes()
    path.write_bytes(complete[: len(complete) // 2])
    found = read_sound(path, RATE)
    assert 5 * RATE < found.shape[1] < 15 * RATE
    assert numpy.abs(found - samples[:, : found.shape[1]])[:, :-4096].max() < 1e-4
    path.write_bytes(complete[:200])
    refused(read_whole, path, "is no sound file that is known here")


def test_a_wav_that_a_pipe_was_fed_with_is_whole(tmp_path: Path) -> None:
    """Its header cannot know the length, and tells the largest."""
    path = whole(tmp_path, "a.wav")
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-f", "wav", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stdout
    assert b"data\xff\xff\xff\xff" in said
    (tmp_path / "piped.wav").write_bytes(said)
    assert (read_sound(tmp_path / "piped.wav", RATE) == read_sound(path, RATE)).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (numpy.nan, "is no finite number"),
        (-numpy.inf, "is no finite number"),
        (1e30, r"is 1e\+30 times full scale"),
    ],
)
def test_samples_that_are_no_sound(
    tmp_path: Path, way: Callable[[Path], None], bad: float, text: str
) -> None:
    samples = tone(3)
    samples[66_150] = bad
    soundfile.write(tmp_path / "a.wav", samples, RATE, "FLOAT")
    refused(way, tmp_path / "a.wav", rf"sample 66150, at 1\.500 seconds, {text}")


@pytest.mark.parametrize("factor", [100.0, LOUDEST])
def test_floats_over_full_scale_keep_their_shape(tmp_path: Path, factor: float) -> None:
    soundfile.write(tmp_path / "loud.wav", factor * tone(1), RATE, "FLOAT")
    soundfile.write(tmp_path / "plain.wav", tone(1), RATE, "FLOAT")
    loud, plain = (SoundPictures(tmp_path / f"{name}.wav", SMALL) for name in ("loud", "plain"))
    assert loud.max_value == pytest.approx(factor * plain.max_value, rel=1e-4)
    apart = numpy.subtract(loud.picture(0, 51), plain.picture(0, 51), dtype=numpy.int16)
    assert numpy.abs(apart).max() <= 1
    assert numpy.abs(read_sound(tmp_path / "loud.wav", RATE)).max() == pytest.approx(factor / 2)


def test_direct_current_is_in_the_lowest_band_only(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", numpy.full(RATE, 0.5), RATE, "FLOAT")
    levels = numpy.asarray(SoundPictures(tmp_path / "a.wav", SMALL).picture(0, 51))[..., 0]
    assert (levels[-1] == 0).all()
    assert levels[:-5].min() > 209  # 60 dB less: 255 - 255 * 0.001 ** 0.25


@pytest.mark.parametrize("rate", [8_000, 44_100, 192_000])
def test_one_sample_is_too_short(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", numpy.full(1, 0.5), rate)
    assert read_sound(tmp_path / "a.wav", rate).tolist() == [[0.5]]
    for way in (as_pictures, encode):
        refused(way, tmp_path / "a.wav", r"0\.000 s of sound; give at least 0\.050 s")


def test_eight_kilohertz_have_nothing_above_four(tmp_path: Path) -> None:
    noise = numpy.random.default_rng(0).standard_normal(16_000) / 8
    soundfile.write(tmp_path / "a.wav", noise, 8_000)
    samples = read_sound(tmp_path / "a.wav", RATE)
    assert samples.shape == (1, 2 * RATE)
    mel = mel_spectrogram(samples, SMALL)[0].mean(axis=1)
    tops = numpy.array(SMALL.corners()[1:-1])
    assert mel[tops > 4400].max() < 1e-3 * mel[(tops > 1000) & (tops < 3500)].min()
    power = float((samples**2).mean())
    assert 10 * numpy.log10(power / (noise**2).mean()) == pytest.approx(0, abs=0.3)


HERTZ = (300, 500, 700, 900, 1100, 1300)
"""left, right, centre, low frequencies, surround left and right"""


@pytest.mark.parametrize("coding", ["pcm_s16le", "flac", "libvorbis", "libopus"])
def test_surround_sound_is_folded(tmp_path: Path, coding: str) -> None:
    """As ITU-R BS.775-3 says; FFmpeg gives every format its channels in its own order."""
    rate = 48_000 if coding.startswith("lib") else 96_000
    samples = numpy.stack([0.5 * tone(2, rate, hertz) for hertz in HERTZ], 1)
    soundfile.write(tmp_path / "six.wav", samples, rate)
    ending = {"pcm_s16le": "wav", "flac": "flac"}.get(coding, "ogg")
    path = tmp_path / f"a.{ending}"
    command = [ffmpeg(), "-v", "error", "-channel_layout", "5.1", "-i", str(tmp_path / "six.wav")]
    subprocess.run([*command, "-c:a", coding, str(path)], check=True)
    assert sound_info(path).channels == 6

    def shares(channel: NDArray[numpy.float32]) -> list[float]:
        """How much of every tone is in it, of 0.25 that went in."""
        middle = channel[RATE // 2 : RATE // 2 + RATE]  # a second: bins of 1 Hz
        return [float(abs(numpy.fft.rfft(middle)[hertz])) / (RATE / 2) / 0.25 for hertz in HERTZ]

    left, right = read_sound(path, RATE, 2)
    half = 0.5**0.5
    assert shares(left) == pytest.approx([1, 0, half, 0, half, 0], abs=0.02)
    assert shares(right) == pytest.approx([0, 1, half, 0, 0, half], abs=0.02)
    (mono,) = read_sound(path, RATE)
    assert numpy.abs(mono - (left + right) / 2).max() < 1e-5
    assert SoundPictures(path, SpectrogramParams(bands=96, step_ms=20, stereo=True)).voices == 2


def test_every_number_of_channels_is_mixed() -> None:
    random = numpy.random.default_rng(0)
    for channels in range(1, 9):
        block = random.standard_normal((50, channels)).astype(numpy.float32)
        for name in ("WAV PCM_16", "OGG VORBIS"):
            two, one = mix(block, 2, name), mix(block, 1, name)
            assert two.shape == (50, 2) and one.shape == (50, 1)
            assert numpy.allclose(one[:, 0], two.mean(axis=1), atol=1e-6)
            # Left and right are as loud as they were.
            if channels > 1:
                alone = numpy.zeros((1, channels), numpy.float32)
                alone[0, 0] = 1
                assert mix(alone, 2, name).tolist() == [[1, 0]]
    mono = numpy.array([[0.5], [-0.25]], numpy.float32)
    assert mix(mono, 2).tolist() == [[0.5, 0.5], [-0.25, -0.25]]


def test_damage_inside_is_found_where_it_is(tmp_path: Path) -> None:
    path = whole(tmp_path, "a.flac")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 5000] = bytes(5000)
    path.write_bytes(data)
    refused(read_whole, path, "does not decode after sample")
    assert sum(len(block) for block in read_blocks(path, 0, 3 * RATE)) == 3 * RATE


def line() -> NDArray[numpy.uint8]:
    levels = numpy.full((512, 40), 255, numpy.uint8)
    levels[300] = 40
    return levels


def test_pictures_of_other_kinds_give_the_same_sound(tmp_path: Path) -> None:
    grey = Image.fromarray(line())
    grey.save(tmp_path / "grey.png")
    Image.fromarray(line().astype(numpy.uint16) * 257).save(tmp_path / "sixteen.png")
    shade = Image.merge("LA", (Image.new("L", grey.size, 0), Image.fromarray(255 - line())))
    shade.save(tmp_path / "clear.png")
    more = [Image.fromarray(255 - line())] * 3
    for name in ("moving.gif", "moving.png"):
        grey.save(tmp_path / name, save_all=True, append_images=more)
    wanted = read_spectrogram(tmp_path / "grey.png")[0]
    assert wanted.shape == (1, 512, 40) and wanted.any()
    for name in ("sixteen.png", "clear.png", "moving.gif", "moving.png"):
        found, params, known = read_spectrogram(tmp_path / name)
        assert numpy.array_equal(found, wanted)
        assert params == SpectrogramParams() and not known


def test_pictures_that_are_no_spectrograms(tmp_path: Path) -> None:
    across, down = numpy.meshgrid(numpy.arange(700), numpy.arange(512))
    photo = numpy.stack([across * 255 // 700, down // 2, (across + down) % 256], -1)
    Image.fromarray(photo.astype(numpy.uint8)).save(tmp_path / "photo.jpg")
    Image.fromarray(line()[:100]).save(tmp_path / "low.png")
    Image.fromarray(line().astype(numpy.float32)).save(tmp_path / "floats.tiff")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "sound.png").write_bytes(whole(tmp_path, "a.wav").read_bytes())
    for name, text in [
        ("photo.jpg", "a picture in colours"),
        ("low.png", "40x100 pixels without EXIF tags"),
        ("floats.tiff", "floating point"),
        ("bomb.png", "over 178 million pixels"),
        ("empty.png", "is empty"),
        ("sound.png", "is no picture that is known here"),
    ]:
        with pytest.raises(DataError, match=text) as caught:
            read_spectrogram(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_picture_one_pixel_wide_is_read(tmp_path: Path) -> None:
    Image.fromarray(line()[:, :1]).save(tmp_path / "narrow.png")
    assert read_spectrogram(tmp_path / "narrow.png")[0].shape == (1, 512, 1)
