"""Pictures of sound: Riffusion's format to the bit, and the way back."""

from __future__ import annotations

import math
from pathlib import Path

import librosa
import numpy
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from PIL import Image

from inversion_music import music
from sdcreative.errors import DataError, OutputError, UsageError
from sdcreative.media.spectrogram import (
    SpectrogramParams,
    image_to_spectrogram,
    mel_spectrogram,
    spectrogram_to_image,
)
from sdcreative.media.spectrogram_files import read_spectrogram, write_spectrogram
from sdcreative.media.spectrogram_sound import read_sound, write_sound

RIFFUSION = SpectrogramParams()
SMALL = SpectrogramParams(bands=96, step_ms=20)


def sound(seconds: float = 1.0, channels: int = 1, seed: int = 0) -> NDArray[numpy.float32]:
    """Music on the grid of 16 bits, as files hold it."""
    samples = music(seed, max(seconds, 1.0))[:channels, : round(seconds * 44_100)]
    return (numpy.round(samples * 32_768) / 32_768).astype(numpy.float32)


@pytest.mark.parametrize("stereo", [False, True])
@pytest.mark.parametrize("most", [10_000, 20_000])
def test_pictures_are_riffusions(stereo: bool, most: int) -> None:
    """Restated with torch.stft and librosa's filters, as riffusion-hobby says it."""
    samples = sound(channels=1 + stereo)
    params = SpectrogramParams(stereo=stereo, max_hz=most)
    spectrum = torch.stft(
        torch.from_numpy(samples * 32_768),
        17_640,
        441,
        4410,
        torch.hann_window(4410),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    bank = librosa.filters.mel(
        sr=44_100, n_fft=17_640, n_mels=512, fmin=0, fmax=most, htk=True, norm=None
    )
    mel = (torch.from_numpy(bank) @ spectrum.abs()).numpy()
    levels = (255 - numpy.power(mel / mel.max(), 0.25) * 255).astype(numpy.uint8)
    planes = [numpy.zeros_like(levels[0]), *levels] if stereo else [levels[0]] * 3
    wanted = numpy.stack(planes, -1)[::-1].astype(int)
    found = numpy.asarray(spectrogram_to_image(mel_spectrogram(samples, params), params)).astype(
        int
    )
    assert found.shape == wanted.shape == (512, 101, 3)
    # Sums in another order: a magnitude on the edge of a level may fall to either side.
    assert numpy.abs(found - wanted).max() <= 1
    assert (found != wanted).mean() < 2e-4


@pytest.mark.parametrize("params", [RIFFUSION, SMALL, SpectrogramParams(bands=64, step_ms=20)])
def test_sizes(params: SpectrogramParams) -> None:
    clips = numpy.stack([sound(1.01), sound(1.01, seed=1)])
    mel = mel_spectrogram(clips, params)
    assert mel.shape == (2, 1, params.bands, params.columns(clips.shape[-1]))
    assert numpy.allclose(mel[1], mel_spectrogram(clips[1], params), rtol=1e-4, atol=1)
    picture = spectrogram_to_image(mel[0], params)
    assert (picture.mode, picture.size) == ("RGB", (mel.shape[-1], params.bands))


def test_low_tones_are_at_the_bottom_and_loud_is_dark() -> None:
    t = numpy.arange(22_050) / 44_100
    low = numpy.float32(0.5) * numpy.sin(2 * numpy.pi * 100 * t, dtype=numpy.float32)
    levels = numpy.asarray(spectrogram_to_image(mel_spectrogram(low[None], RIFFUSION), RIFFUSION))[
        :, 25, 0
    ]
    assert levels.argmin() == levels.size - 1 - 24  # band 24 of 3.7 Hz each, and growing
    assert levels.min() <= 1


def test_magnitudes_come_back_within_a_level() -> None:
    mel = mel_spectrogram(sound(), RIFFUSION)
    back = image_to_spectrogram(spectrogram_to_image(mel, RIFFUSION), RIFFUSION, mel.max())
    levels = 255 * (mel / mel.max()) ** 0.25
    assert numpy.abs(255 * (back / mel.max()) ** 0.25 - levels).max() < 0.51
    assert abs(20 * math.log10(numpy.linalg.norm(back) / numpy.linalg.norm(mel))) < 0.02


def test_silence_is_white_and_comes_back() -> None:
    mel = mel_spectrogram(numpy.zeros((1, 8820), numpy.float32), RIFFUSION)
    picture = spectrogram_to_image(mel, RIFFUSION)
    assert numpy.asarray(picture).min() == 255
    assert not image_to_spectrogram(picture, RIFFUSION, 0.0).any()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".jpg"])
def test_files_keep_what_they_were_made_with(tmp_path: Path, suffix: str) -> None:
    params = SpectrogramParams(bands=96, step_ms=20, max_hz=8000, stereo=suffix != ".jpg")
    mel = mel_spectrogram(sound(channels=params.channels), params)
    write_spectrogram(mel, params, tmp_path / f"Bär{suffix}")
    back, found, known = read_spectrogram(tmp_path / f"Bär{suffix}")
    assert (found, known) == (params, True)
    apart = 20 * math.log10(numpy.linalg.norm(back - mel) / numpy.linalg.norm(mel))
    assert apart < (-25 if suffix == ".jpg" else -40)
    exif = Image.open(tmp_path / f"Bär{suffix}").getexif()
    assert exif[11000] == 44_100 and exif[11040] == 96 and exif[11070] == 0.25
    assert exif[11080] == pytest.approx(float(mel.max()))
    with pytest.raises(OutputError, match="--overwrite"):
        write_spectrogram(mel, params, tmp_path / f"Bär{suffix}")


def test_missing_tags_are_riffusions(tmp_path: Path) -> None:
    levels = numpy.full((512, 20, 3), 255, numpy.uint8)
    levels[300] = 40
    Image.fromarray(levels).save(tmp_path / "grey.png")
    mel, params, known = read_spectrogram(tmp_path / "grey.png")
    assert (params, known) == (RIFFUSION, False)
    assert mel.max() == pytest.approx(30e6 * (214.5 / 255) ** 4)
    levels[..., 0] = 0
    Image.fromarray(levels).save(tmp_path / "stereo.png")
    assert read_spectrogram(tmp_path / "stereo.png")[1] == SpectrogramParams(stereo=True)


def test_stereo_in_a_format_that_blurs_colours_is_refused(tmp_path: Path) -> None:
    params = SpectrogramParams(bands=96, step_ms=20, stereo=True)
    mel = mel_spectrogram(sound(channels=2), params)
    with pytest.raises(OutputError, match="JPEG blurs colours"):
        write_spectrogram(mel, params, tmp_path / "clip.jpg")
    exif = Image.Exif()
    for tag, value in params.to_exif().items():
        exif[tag] = value
    picture = spectrogram_to_image(mel, params)
    for name in ("clip.jpg", "clip.webp"):
        picture.save(tmp_path / name, exif=exif, quality=95)
        with pytest.raises(DataError, match="blur colours"):
            read_spectrogram(tmp_path / name)


def test_pictures_that_are_no_spectrograms(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(tmp_path / "small.png")
    with pytest.raises(DataError, match="64x64 pixels without EXIF tags"):
        read_spectrogram(tmp_path / "small.png")
    Image.new("RGB", (64, 512), "red").save(tmp_path / "red.png")
    with pytest.raises(DataError, match=r"red\.png: a picture in colours"):
        read_spectrogram(tmp_path / "red.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(DataError, match=r"empty\.png.*empty"):
        read_spectrogram(tmp_path / "empty.png")
    exif = Image.Exif()
    exif[11040] = 96
    Image.new("RGB", (64, 512), "white").save(tmp_path / "tags.png", exif=exif)
    with pytest.raises(DataError, match="a spectrogram of 96 bands is 96 pixels high"):
        read_spectrogram(tmp_path / "tags.png")
    exif[11040] = 0
    Image.new("RGB", (64, 512), "white").save(tmp_path / "none.png", exif=exif)
    with pytest.raises(DataError, match="bands is 0"):
        read_spectrogram(tmp_path / "none.png")


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"bands": 0}, "bands is 0"),
        ({"bands": 2000}, "narrower than the transform resolves"),
        ({"max_hz": 30_000}, "half the sample rate, 22050"),
        ({"step_ms": 200}, "none may be longer"),
        ({"power": 0}, "power is 0"),
        ({"step_ms": 1.5}, "step_ms is 1.5"),
    ],
)
def test_params_out_of_range(wrong: dict[str, float], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        SpectrogramParams(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("samples", "text"),
    [
        (numpy.zeros((1, 0), numpy.float32), "at least 0.050 s"),
        (numpy.zeros((1, 2000), numpy.float32), "0.045 s of sound"),
        (numpy.zeros((2, 44_100), numpy.float32), "with 1 channel"),
        (numpy.zeros(44_100, numpy.float32), "give \\(channels, samples\\)"),
        (numpy.full((1, 44_100), numpy.nan, numpy.float32), "no finite numbers"),
    ],
)
def test_samples_that_cannot_be_encoded(samples: NDArray[numpy.float32], text: str) -> None:
    with pytest.raises(DataError, match=text):
        mel_spectrogram(samples, RIFFUSION)


def test_other_rates_and_channels_are_converted(tmp_path: Path) -> None:
    for rate, channels in ((8_000, 1), (96_000, 2), (48_000, 2)):
        t = numpy.arange(rate) / rate
        tone = 0.5 * numpy.sin(2 * numpy.pi * 1000 * t)
        soundfile.write(tmp_path / "tone.wav", numpy.stack([tone] * channels, 1), rate, "FLOAT")
        for wanted in (1, 2):
            found = read_sound(tmp_path / "tone.wav", 44_100, wanted)
            exact = 0.5 * numpy.sin(2 * numpy.pi * 1000 * numpy.arange(44_100) / 44_100)
            assert found.shape == (wanted, 44_100)
            assert numpy.abs(found - exact)[:, 2000:-2000].max() < 1e-3


def test_parts_of_sounds(tmp_path: Path) -> None:
    write_sound(sound(), tmp_path / "whole.wav", 44_100)
    part = read_sound(tmp_path / "whole.wav", 44_100, start=0.5, seconds=0.25)
    assert numpy.abs(part - sound()[:, 22_050:33_075]).max() < 1e-4
    assert read_sound(tmp_path / "whole.wav", 44_100, start=0.9, seconds=5).shape == (1, 4410)
    with pytest.raises(DataError, match="lasts 1 seconds; it cannot start at 2"):
        read_sound(tmp_path / "whole.wav", 44_100, start=2)
    with pytest.raises(DataError, match="choose a part with --start"):
        read_sound(tmp_path / "whole.wav", 44_100, longest=0.5)


def test_minutes_of_vorbis_are_written(tmp_path: Path) -> None:
    """Given to libsndfile at once, they end the program."""
    seconds = 60
    samples = numpy.tile(sound(channels=2), seconds)
    write_sound(samples, tmp_path / "long.ogg", 44_100)
    assert soundfile.info(tmp_path / "long.ogg").frames == seconds * 44_100


def test_what_is_too_loud_is_turned_down_and_not_clipped(tmp_path: Path) -> None:
    loud = 2 * sound() / numpy.abs(sound()).max()
    assert write_sound(loud, tmp_path / "loud.wav", 44_100) == pytest.approx(6.02, abs=0.01)
    back = read_sound(tmp_path / "loud.wav", 44_100)
    assert numpy.abs(back - loud / 2).max() < 1e-3
    assert write_sound(loud / 4, tmp_path / "quiet.flac", 44_100) == 0
    with pytest.raises(OutputError, match=r"use \.wav, \.flac, \.ogg"):
        write_sound(loud, tmp_path / "loud.mp3", 44_100)
    with pytest.raises(DataError, match="no finite numbers"):
        write_sound(loud + numpy.inf, tmp_path / "infinite.wav", 44_100)
