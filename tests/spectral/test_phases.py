"""Transforms, phases and resampling, against closed forms."""

from __future__ import annotations

import math

import numpy
import pytest
import torch

from sdcreative.spectral.griffin_lim import griffin_lim
from sdcreative.spectral.pghi import integrate_phase
from sdcreative.spectral.resampling import Resampler, resample
from sdcreative.spectral.stft import Grid, hann

GRID = Grid(16_000, 160, 1600, 3200)
BINS = 1601


def noise(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


def centred(samples: torch.Tensor, circular: bool = False) -> torch.Tensor:
    return GRID.analyse(samples, BINS, circular) * GRID.turn(BINS)


def wrapped(angle: torch.Tensor) -> torch.Tensor:
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


@pytest.mark.parametrize("grid", [GRID, Grid(16_000, 150, 1401, 2000)])
def test_analysis_is_that_of_torch(grid: Grid) -> None:
    samples = noise(16_000)
    theirs = torch.stft(
        samples,
        grid.n_fft,
        grid.hop,
        grid.window,
        torch.hann_window(grid.window),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    ).T
    ours = grid.analyse(samples, grid.n_fft // 2 + 1)
    assert ours.shape == theirs.shape
    assert (ours.abs() - theirs.abs()).abs().max() < 1e-3
    # torch counts phases from the first of the zeros.
    turns = torch.arange(ours.shape[1]).double() * (grid.n_fft // 2) / grid.n_fft
    start = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns).to(torch.complex64)
    assert (ours * grid.turn(ours.shape[1]) - theirs * start).abs().max() < 2e-3


@pytest.mark.parametrize("circular", [False, True])
def test_synthesis_undoes_analysis(circular: bool) -> None:
    samples = noise(16_000)
    back = GRID.synthesise(GRID.analyse(samples, BINS, circular), circular)
    assert back.shape == samples.shape
    assert (back - samples).abs().max() < 1e-4


def test_a_circle_shorter_than_the_window_wraps_more_than_once() -> None:
    samples = noise(3 * GRID.hop)
    spectrum = GRID.analyse(samples, BINS, circular=True)
    assert spectrum.shape[-2] == 3
    assert (GRID.synthesise(spectrum, True) - samples).abs().max() < 1e-4


def test_a_circular_analysis_turns_with_the_sound() -> None:
    samples = noise(8_000)
    turned = GRID.analyse(samples.roll(3 * GRID.hop), BINS, circular=True)
    assert (turned - GRID.analyse(samples, BINS, circular=True).roll(3, 0)).abs().max() < 1e-3


def test_integrated_phases_of_a_tone_turn_with_its_frequency() -> None:
    hertz = 1003.7
    magnitude = centred(torch.sin(2 * math.pi * hertz * torch.arange(16_000) / 16_000)).abs()
    inner = magnitude[10:-10].contiguous()
    phase = torch.from_numpy(integrate_phase(inner.numpy(), GRID))
    peak = round(hertz * GRID.n_fft / GRID.sample_rate)
    step = wrapped(phase[:, peak].diff() - 2 * math.pi * hertz * GRID.hop / GRID.sample_rate)
    # A Hann window is no Gaussian: 0.05 of a turn of 63 radians a step.
    assert step.abs().max() < 0.05


def test_integrated_phases_of_a_click_lean_with_its_place() -> None:
    samples = torch.zeros(16_000)
    place = 8_037
    samples[place] = 1
    magnitude = centred(samples).abs()
    phase = torch.from_numpy(integrate_phase(magnitude.numpy(), GRID))
    frame = 51
    lean = -2 * math.pi * (place - frame * GRID.hop) / GRID.n_fft
    apart = wrapped(phase[frame].diff() - lean)[1:-1]
    assert apart.abs().max() < 0.02


def test_integrated_phases_make_a_sound_of_these_magnitudes() -> None:
    t = torch.arange(16_000) / 16_000
    sound = torch.sin(2 * math.pi * (300 * t + 400 * t**2)) + 0.5 * torch.sin(9_000 * t)
    target = centred(sound).abs()
    integrated = torch.from_numpy(integrate_phase(target.numpy(), GRID))
    chance = 2 * math.pi * torch.rand(target.shape, generator=torch.Generator().manual_seed(0))

    def convergence(phase: torch.Tensor, iterations: int) -> float:
        spectrum = torch.polar(target, phase) * GRID.turn(BINS).conj()
        made = griffin_lim(target, spectrum, GRID, iterations)
        return float(20 * torch.log10((centred(made).abs() - target).norm() / target.norm()))

    assert convergence(integrated, 0) < min(-15, convergence(chance, 0) - 8)
    assert convergence(integrated, 8) < convergence(integrated, 0) - 2


def test_phases_go_on_from_those_that_are_known() -> None:
    t = torch.arange(16_000) / 16_000
    spectrum = centred(torch.sin(2 * math.pi * (300 * t + 400 * t**2)))
    known = spectrum[:40].angle().numpy()
    phase = integrate_phase(spectrum.abs().numpy(), GRID, known=known)
    assert numpy.array_equal(phase[:40], known)
    loud = spectrum[45].abs().argmax()
    assert abs(float(wrapped(torch.tensor(phase[45, loud]) - spectrum[45, loud].angle()))) < 0.3


def test_phases_of_silence_are_random_and_repeat_with_the_seed() -> None:
    silence = numpy.zeros((20, BINS), numpy.float32)
    first = integrate_phase(silence, GRID, seed=1)
    assert numpy.array_equal(first, integrate_phase(silence, GRID, seed=1))
    assert not numpy.array_equal(first, integrate_phase(silence, GRID, seed=2))
    assert -math.pi <= first.min() < -3 and 3 < first.max() <= math.pi


def test_resampling_keeps_a_tone_and_a_loop() -> None:
    for circular in (False, True):
        tone = torch.sin(2 * math.pi * 1000 * torch.arange(24_000) / 24_000)
        found = resample(tone, 24_000, 44_100, circular)
        wanted = torch.sin(2 * math.pi * 1000 * torch.arange(44_100) / 44_100)
        assert found.shape == wanted.shape
        edge = 0 if circular else 500
        assert (found - wanted)[edge : 44_100 - edge].abs().max() < 1e-3


@pytest.mark.parametrize("block", [100, 1777, 5_000, 30_000, 48_000])
def test_resampling_in_blocks_is_that_of_the_whole(block: int) -> None:
    t = torch.arange(48_000) / 24_000
    sound = torch.sin(2 * math.pi * (200 * t + 2000 * t**2)).expand(1, 2, -1).clone()
    sound[0, 1] = 0.3 * torch.sin(2 * math.pi * 9_900 * t)
    # Mirrored ends have a bend, whose spectrum reaches half the rate; in silence there is none.
    sound *= torch.hann_window(48_000)
    whole = resample(sound, 24_000, 44_100)
    resampler = Resampler(24_000, 44_100)
    blocks = list(sound.split(block, -1))
    parts = [resampler.feed(part) for part in blocks[:-1]]
    if block < 10_000:
        # A block is late by no more than 0.2 seconds and what is not yet a block.
        made = sum(part.shape[-1] for part in parts)
        fed = 44_100 * block * len(parts) / 24_000
        assert made > fed - 44_100 * (0.2 + block / 24_000)
    parts.append(resampler.finish(blocks[-1]))
    found = torch.cat(parts, -1)
    assert found.shape == whole.shape
    assert (found - whole).abs().max() < 3e-5


def test_the_window_is_that_of_torch() -> None:
    assert torch.equal(hann(100, torch.device("cpu")), torch.hann_window(100))
