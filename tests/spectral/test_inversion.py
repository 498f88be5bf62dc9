"""Sound out of spectrograms: how near, how loud, where, and without a seam."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
import pytest
import torch
from numpy.typing import NDArray

from inversion_music import music
from sdcreative.errors import DataError, UsageError
from sdcreative.media.spectrogram import (
    SpectrogramParams,
    image_to_spectrogram,
    mel_spectrogram,
    spectrogram_to_image,
)
from sdcreative.spectral import streaming
from sdcreative.spectral.inversion import invert
from sdcreative.spectral.lifting import inversion_grid
from sdcreative.spectral.measures import (
    channel_phase_error,
    mel_cepstral_distortion,
    spectral_convergence,
)
from sdcreative.spectral.mel import mel_magnitudes
from sdcreative.spectral.stft import Grid

RIFFUSION = SpectrogramParams()
SMALL = SpectrogramParams(bands=128, step_ms=20)
STEREO = SpectrogramParams(stereo=True)


@lru_cache
def clip(channels: int = 1, seconds: float = 2.0) -> NDArray[numpy.float32]:
    return music(0, seconds)[:channels]


@lru_cache
def mel(params: SpectrogramParams = RIFFUSION) -> NDArray[numpy.float32]:
    return mel_spectrogram(clip(params.channels), params)


def loudness(samples: NDArray[numpy.float32]) -> float:
    return 10 * math.log10(float((samples**2).mean()))


def test_riffusions_pictures_are_inverted_at_24_khz() -> None:
    assert inversion_grid(RIFFUSION) == Grid(24_000, 240, 2400, 9600)
    assert inversion_grid(RIFFUSION, fine=False) == Grid(24_000, 240, 2400, 4800)
    wide = SpectrogramParams(min_hz=10, max_hz=20_000)
    assert inversion_grid(wide) == Grid(44_100, 441, 4410, 17_640)
    # 15 ms are no whole number of samples at 44.1 kHz: a lower rate would drift.
    assert inversion_grid(SpectrogramParams(step_ms=15)).sample_rate == 44_100


@pytest.mark.parametrize(("params", "least"), [(RIFFUSION, -26), (SMALL, -19)])
def test_a_sound_comes_back(params: SpectrogramParams, least: float) -> None:
    samples = invert(mel(params), params)
    assert samples.shape == (1, (mel(params).shape[-1] - 1) * params.hop_length)
    assert spectral_convergence(samples, mel(params), params) < least
    # Through the picture too, and as loud as it was, below what the bands leave out.
    picture = spectrogram_to_image(mel(params), params)
    back = image_to_spectrogram(picture, params, float(mel(params).max()))
    again = invert(back, params)
    assert spectral_convergence(again, mel(params), params) < least
    assert abs(loudness(again) - loudness(clip()[:, : again.shape[1]])) < 0.5


def test_pghi_beats_more_rounds_from_random_phases_and_quality_beats_both() -> None:
    found = {
        name: invert(mel(), RIFFUSION, **options)  # type: ignore[arg-type]
        for name, options in {
            "chance": {"method": "griffin-lim"},
            "pghi": {},
            "quality": {"quality": True},
        }.items()
    }
    near = {n: spectral_convergence(s, mel(), RIFFUSION) for n, s in found.items()}
    like = {n: mel_cepstral_distortion(s, clip(), 44_100) for n, s in found.items()}
    assert near["pghi"] < near["chance"] - 4
    assert near["quality"] < near["pghi"] - 3
    assert like["quality"] < like["pghi"] < like["chance"]
    assert like["quality"] < 0.7 * like["chance"]


@pytest.mark.parametrize("params", [RIFFUSION, SMALL])
def test_a_loop_has_no_seam(params: SpectrogramParams) -> None:
    count = clip().shape[1] // params.hop_length * params.hop_length
    source = torch.from_numpy(clip()[:, :count] * 32_768)
    whole = mel_magnitudes(source, params, circular=True).mT.numpy()
    loop = invert(whole, params, circular=True)[0]
    assert len(loop) == whole.shape[-1] * params.hop_length
    steps = numpy.diff(loop)
    # The seam is no larger than the steps around it; a loop may well turn in a steep place.
    around = numpy.concatenate([steps[-100:], steps[:100]])
    assert abs(loop[0] - loop[-1]) < 1.2 * numpy.abs(around).max()
    assert abs(loop[0] - loop[-1]) < 2 * math.sqrt((steps**2).mean())
    # Turned by a quarter, the picture gives the same loop of bands: the seam is nowhere.
    quarter = whole.shape[-1] // 4
    turned = invert(numpy.roll(whole, quarter, -1), params, circular=True)
    here = spectral_convergence(loop[None], whole, params, circular=True)
    there = spectral_convergence(turned, numpy.roll(whole, quarter, -1), params, circular=True)
    assert here == pytest.approx(there, abs=1.5)
    line = invert(numpy.concatenate([whole, whole[..., :1]], -1), params)
    assert spectral_convergence(line, whole, params, circular=True) > here + 1


def test_channels_keep_their_loudness_and_stay_together() -> None:
    left = clip()[0]
    panned = numpy.stack([left, 0.5 * left])
    samples = invert(mel_spectrogram(panned, STEREO), STEREO)
    assert loudness(samples[:1]) - loudness(samples[1:]) == pytest.approx(6.02, abs=0.2)
    assert channel_phase_error(samples, panned, STEREO) < 0.05
    apart = invert(mel(), RIFFUSION, seed=1, method="griffin-lim")
    other = invert(mel(), RIFFUSION, seed=2, method="griffin-lim")
    assert channel_phase_error(numpy.concatenate([apart, other]), panned, STEREO) > 0.5


def test_clips_of_a_batch_are_those_of_one_at_a_time() -> None:
    clips = numpy.stack([mel(SMALL), mel(SMALL)[..., ::-1]])
    together = invert(clips, SMALL, iterations=2)
    assert together.shape[:2] == (2, 1)
    alone = invert(clips[1], SMALL, iterations=2, seed=1)
    assert numpy.abs(together[1] - alone).max() < 1e-3


def test_long_sounds_in_parts_are_as_near(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = invert(mel(SMALL), SMALL)
    monkeypatch.setattr(streaming, "TOGETHER", 64)
    parts = invert(mel(SMALL), SMALL)
    assert parts.shape == whole.shape
    near = [spectral_convergence(samples, mel(SMALL), SMALL) for samples in (whole, parts)]
    assert near[1] < near[0] + 1.5
    steps = numpy.abs(numpy.diff(parts[0]))
    assert steps.max() < 1.5 * numpy.abs(numpy.diff(whole[0])).max()


def test_the_same_seed_gives_the_same_sound_and_silence_gives_silence() -> None:
    first = invert(mel(SMALL), SMALL, iterations=1)
    assert numpy.array_equal(first, invert(mel(SMALL), SMALL, iterations=1))
    silent = invert(numpy.zeros((1, 128, 20), numpy.float32), SMALL)
    assert numpy.abs(silent).max() < 1e-6


def test_what_cannot_be_inverted() -> None:
    with pytest.raises(DataError, match="of shape"):
        invert(mel(SMALL), RIFFUSION)
    with pytest.raises(DataError, match="negative"):
        invert(-mel(SMALL), SMALL)
    with pytest.raises(DataError, match="at least"):
        invert(mel(SMALL)[..., :2], SMALL)
    with pytest.raises(DataError, match="silent spectrogram"):
        spectral_convergence(clip(), numpy.zeros_like(mel()), RIFFUSION)
    with pytest.raises(UsageError, match="pghi or griffin-lim"):
        invert(mel(SMALL), SMALL, method="sgd")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="iterations is -1"):
        invert(mel(SMALL), SMALL, iterations=-1)
    with pytest.raises(UsageError, match="16384"):
        invert(numpy.zeros((1, 128, 16_385), numpy.float32), SMALL, circular=True)
