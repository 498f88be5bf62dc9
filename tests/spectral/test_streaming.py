"""Sound out of spectrograms that come bit by bit: the same as of the whole, soon, and measured."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
import pytest
from numpy.typing import NDArray

from inversion_music import music
from sdcreative.errors import DataError, UsageError
from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram
from sdcreative.spectral import streaming
from sdcreative.spectral.inversion import invert
from sdcreative.spectral.measures import spectral_convergence
from sdcreative.spectral.streaming import StreamInverter

Floats = NDArray[numpy.float32]
MONO = SpectrogramParams(bands=64, step_ms=20)
STEREO = SpectrogramParams(bands=64, step_ms=20, stereo=True)
WIDE = SpectrogramParams(bands=64, step_ms=20, max_hz=20_000)


@lru_cache
def mel(params: SpectrogramParams) -> Floats:
    return mel_spectrogram(music(0, 6.0)[: params.channels], params)


def streamed(inverter: StreamInverter, whole: Floats, step: int) -> list[Floats]:
    parts = []
    for start in range(0, whole.shape[-1], step):
        bits = whole[..., start : start + step].copy()
        parts.append(inverter.feed(bits))
        bits[:] = 0
    return [*parts, inverter.finish()]


@pytest.mark.parametrize(
    ("params", "step"),
    [(MONO, 1), (STEREO, 50), (WIDE, 1000)],
    ids=["mono", "stereo", "wide"],
)
def test_a_stream_is_the_sound_of_the_whole(
    params: SpectrogramParams, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "TOGETHER", 64)
    inverter = StreamInverter(params, seed=3)
    assert math.isnan(inverter.convergence)
    parts = streamed(inverter, mel(params), step)
    samples = numpy.concatenate(parts, -1)
    whole = invert(mel(params), params, seed=3)
    assert samples.dtype == numpy.float32 and samples.shape == whole.shape
    assert numpy.abs(samples - whole).max() < 1e-4
    reached = spectral_convergence(samples, mel(params), params)
    assert inverter.convergence == pytest.approx(reached, abs=0.01)
    assert reached < -12


def test_a_held_tone_goes_on_from_part_to_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TOGETHER", 64)
    t = numpy.arange(5 * 44_100) / 44_100
    tone = 0.3 * numpy.sin(2 * numpy.pi * 440 * t)[None]
    whole = mel_spectrogram(tone, MONO)
    samples = numpy.concatenate(streamed(StreamInverter(MONO), whole, 100), -1)
    blocks = samples[0, 8_820:-8_820].reshape(-1, 1_260)
    # Without the phases of the part before it would cancel itself out, by 16 dB.
    level = 10 * numpy.log10((blocks**2).mean(1))
    assert level.min() > numpy.median(level) - 4
    # Without a change-over there would be clicks, at -70 dB.
    power = numpy.abs(numpy.fft.rfft(blocks * numpy.hanning(1_260))) ** 2
    clicks = 10 * numpy.log10(power[:, 120:].sum(1) / power.sum(1))
    assert clicks.max() < -90


def test_samples_come_soon_and_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TOGETHER", 64)
    inverter = StreamInverter(MONO)
    heard, late = 0, []
    for column in range(mel(MONO).shape[-1]):
        samples = inverter.feed(mel(MONO)[..., column : column + 1])
        heard += samples.shape[-1]
        late.append(column + 1 - heard / MONO.hop_length)
        if samples.shape[-1] and len(late) > 250:
            assert inverter.convergence < -10
    # A part, the overlaps that it may take over, and 0.1 seconds.
    overlap = 4 * (MONO.window_ms // MONO.step_ms + 1)
    assert max(late) <= 64 + 3 * overlap + 6
    assert heard > 100 * MONO.hop_length


@pytest.mark.parametrize("quality", [False, True])
def test_what_is_short_is_inverted_as_a_whole(quality: bool) -> None:
    inverter = StreamInverter(STEREO, quality=quality)
    short = mel(STEREO)[..., :60]
    *before, rest = streamed(inverter, short, 7)
    assert {part.shape for part in before} == {(2, 0)}
    assert numpy.array_equal(rest, invert(short, STEREO, quality=quality))
    assert inverter.convergence == pytest.approx(spectral_convergence(rest, short, STEREO), 1e-4)


def test_a_loop_comes_as_a_whole_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "TOGETHER", 64)
    inverter = StreamInverter(MONO, circular=True)
    *before, rest = streamed(inverter, mel(MONO), 40)
    assert {part.shape for part in before} == {(1, 0)}
    assert rest.shape[-1] == mel(MONO).shape[-1] * MONO.hop_length
    assert numpy.array_equal(rest, invert(mel(MONO), MONO, circular=True))
    reached = spectral_convergence(rest, mel(MONO), MONO, circular=True)
    assert inverter.convergence == pytest.approx(reached, abs=0.01)


def test_silence_has_no_convergence() -> None:
    inverter = StreamInverter(MONO)
    inverter.feed(numpy.zeros((1, 64, 30), numpy.float32))
    assert not inverter.finish().any()
    assert math.isnan(inverter.convergence)


def test_what_cannot_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    inverter = StreamInverter(MONO)
    with pytest.raises(DataError, match=r"shape \(2, 64, 301\); give \(1, 64, columns\)"):
        inverter.feed(mel(STEREO))
    with pytest.raises(DataError, match=r"shape \(1, 1, 64, 301\)"):
        inverter.feed(mel(MONO)[None])
    with pytest.raises(DataError, match="negative or no finite"):
        inverter.feed(mel(MONO) * numpy.float32(numpy.nan))
    assert inverter.feed(mel(MONO)[..., :0]).shape == (1, 0)
    with pytest.raises(DataError, match="0 columns; give at least 5"):
        inverter.finish()
    loop = StreamInverter(MONO, circular=True)
    zeros = numpy.zeros((1, 64, 8192), numpy.float32)
    loop.feed(zeros)
    loop.feed(zeros)
    with pytest.raises(UsageError, match="16385 columns; a loop is inverted as a whole"):
        loop.feed(zeros[..., :1])
