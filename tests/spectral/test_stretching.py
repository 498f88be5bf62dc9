"""Spectrograms slower or faster: what is interpolated, how many columns, bit by bit."""

from __future__ import annotations

import numpy
import pytest
from numpy.typing import NDArray

from inversion_music import music
from sdcreative.errors import DataError, UsageError
from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram
from sdcreative.spectral.stretching import ColumnStretcher, stretch_columns

Floats = NDArray[numpy.float32]
PARAMS = SpectrogramParams(bands=64)


def noise(columns: int, seed: int = 0) -> Floats:
    rng = numpy.random.default_rng(seed)
    return (rng.random((2, 8, columns)) ** 8 * 1e7).astype(numpy.float32)


def streamed(stretcher: ColumnStretcher, mel: Floats, step: int) -> Floats:
    parts = [
        stretcher.feed(mel[..., start : start + step]) for start in range(0, mel.shape[-1], step)
    ]
    return numpy.concatenate([*parts, stretcher.finish()], -1)


@pytest.mark.parametrize("circular", [False, True])
def test_as_many_columns_are_the_same_columns(circular: bool) -> None:
    mel = noise(100)
    assert numpy.array_equal(stretch_columns(mel, 100, circular=circular), mel)
    assert numpy.array_equal(streamed(ColumnStretcher(1, circular), mel, 7), mel)


def test_a_parabola_of_roots_is_met_exactly() -> None:
    # Cubic convolution is exact up to the second degree.
    t = numpy.arange(50)
    mel = ((0.3 * t**2 + t + 5) ** 4)[None].astype(numpy.float32)
    found = stretch_columns(mel, 55)
    place = numpy.arange(55) * 50 / 55
    wanted = (0.3 * place**2 + place + 5) ** 4
    inner = (place > 1) & (place < 48)
    assert found.shape == (1, 55)
    assert numpy.allclose(found[0, inner], wanted[inner], rtol=1e-4)
    # Where places meet columns, they are the very same.
    assert numpy.array_equal(found[0, ::11], mel[0, ::10])


def test_columns_between_are_those_of_the_sound_between() -> None:
    clip = music(0, 3.0)[:1]
    columns = mel_spectrogram(clip, PARAMS)
    between = mel_spectrogram(clip[:, PARAMS.hop_length // 2 :], PARAMS)
    count = between.shape[-1] - 20
    twice = stretch_columns(columns, 2 * columns.shape[-1])
    inner = slice(10, count)

    def apart(found: Floats) -> float:
        truth = between[..., inner] ** 0.25
        return float(((found[..., inner] ** 0.25 - truth) ** 2).mean() / (truth**2).mean())

    linear = ((columns[..., :-1] ** 0.25 + columns[..., 1:] ** 0.25) / 2) ** 4
    assert apart(twice[..., 1::2]) < 0.01**2
    assert apart(twice[..., 1::2]) < 0.5 * apart(linear)


def test_nothing_is_negative_and_loudness_stays() -> None:
    for factor in (0.93, 1.04):
        mel = noise(200)
        found = stretch_columns(mel, round(200 * factor))
        assert found.min() >= 0 and found.dtype == numpy.float32
        smooth = mel_spectrogram(music(1, 2.0)[:1], PARAMS)
        slower = stretch_columns(smooth, round(smooth.shape[-1] * factor))
        assert slower.mean() == pytest.approx(smooth.mean(), rel=0.02)


def test_a_circle_turns_with_its_columns() -> None:
    t = numpy.arange(64) / 64
    mel = ((2 + numpy.sin(2 * numpy.pi * t)) ** 4)[None].astype(numpy.float32)
    place = numpy.arange(68) / 68
    found = stretch_columns(mel, 68, circular=True)
    assert numpy.allclose(found**0.25, 2 + numpy.sin(2 * numpy.pi * place), atol=1e-4)
    mel = noise(64)
    found = stretch_columns(mel, 68, circular=True)
    turned = stretch_columns(numpy.roll(mel, 16, -1), 68, circular=True)
    assert numpy.allclose(turned, numpy.roll(found, 17, -1), rtol=1e-4, atol=1)
    line = stretch_columns(mel, 68)
    assert numpy.allclose(found[..., 2:-3], line[..., 2:-3], rtol=1e-4, atol=1)
    assert not numpy.allclose(found[..., -1], line[..., -1], rtol=1e-2)


@pytest.mark.parametrize("factor", [0.5, 0.93, 0.9999, 1, 1.0213, 1.25, 2])
@pytest.mark.parametrize("step", [1, 2, 37, 1000])
def test_a_stream_is_the_whole(factor: float, step: int) -> None:
    for count in (1, 2, 3, 250, 333):
        mel = noise(count, seed=count)
        found = streamed(ColumnStretcher(factor), mel, step)
        assert found.shape == (2, 8, round(count * factor))
        assert numpy.allclose(
            found, stretch_columns(mel, found.shape[-1], factor=factor), rtol=1e-5
        )
        if found.shape[-1] == count * factor:
            assert numpy.allclose(found, stretch_columns(mel, found.shape[-1]), rtol=1e-3, atol=1)


def test_a_streamed_loop_is_the_whole_loop() -> None:
    mel = noise(333)
    stretcher = ColumnStretcher(1.0213, circular=True)
    assert stretcher.feed(mel[..., :300]).shape == (2, 8, 0)
    stretcher.feed(mel[..., 300:])
    assert numpy.array_equal(stretcher.finish(), stretch_columns(mel, 340, circular=True))


def test_a_stream_comes_soon() -> None:
    stretcher = ColumnStretcher(1.03)
    made = 0
    for column in range(500):
        made += stretcher.feed(noise(1)).shape[-1]
        assert made >= int((column - 1) * 1.03)


def test_what_cannot_be_stretched() -> None:
    with pytest.raises(UsageError, match=r"to 2\.5 times as many; give 0\.5 to 2"):
        stretch_columns(noise(10), 25)
    with pytest.raises(UsageError, match="stretched to 0 times"):
        stretch_columns(noise(10), 0)
    with pytest.raises(UsageError, match="nan times"):
        ColumnStretcher(float("nan"))
    with pytest.raises(DataError, match="without columns"):
        stretch_columns(noise(0), 5)
    with pytest.raises(DataError, match="without columns"):
        ColumnStretcher(1.1).finish()
    with pytest.raises(DataError, match="negative or no finite"):
        ColumnStretcher(1.1).feed(-noise(3))
    with pytest.raises(UsageError, match="a loop of 16385 columns"):
        ColumnStretcher(1.1, circular=True).feed(numpy.zeros((1, 1, 16_385), numpy.float32))
