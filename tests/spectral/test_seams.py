"""How well a loop goes round: steps from sample to sample, jumps from column to column."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from numpy.typing import NDArray

from sdcreative.errors import DataError
from sdcreative.spectral.inversion import invert
from sdcreative.spectral.measures import loop_seam, loop_seam_db
from sdcreative.spectral.mel import mel_magnitudes
from sdcreative.spectral.params import FULL_SCALE, SpectrogramParams

Floats = NDArray[numpy.float32]
PARAMS = SpectrogramParams(bands=128)


def perfect(seconds: float = 2.0) -> Floats:
    """Two channels whose tones and beating go round in a second."""
    t = numpy.arange(round(44_100 * seconds)) / 44_100
    tones = [
        numpy.sin(2 * numpy.pi * f * t + f) * (1 + 0.5 * numpy.sin(4 * numpy.pi * t + f)) / f**0.5
        for f in (220, 331, 441, 1000, 3001)
    ]
    return (numpy.stack([sum(tones), sum(tones[1:4])]) * 2).astype(numpy.float32)


def test_the_step_at_the_seam_is_that_of_its_formula() -> None:
    # Ten teeth that rise by 1 ten times and fall by 10.
    saw = numpy.tile(numpy.arange(11.0), 10)[None]
    within = math.sqrt((100 * 1 + 9 * 100) / 109)
    assert loop_seam(saw) == pytest.approx(10 / within)
    steep = numpy.arange(100.0)[None]
    assert loop_seam(steep) == pytest.approx(99)
    assert loop_seam(steep * 7) == pytest.approx(99)
    # Both channels count: beside silence, step and steps are less by the same.
    assert loop_seam(numpy.concatenate([steep, 0 * steep])) == pytest.approx(99)
    assert loop_seam(numpy.concatenate([steep, saw[:, :100]])) < 60
    assert loop_seam(numpy.zeros((2, 100))) == 0
    noise = numpy.random.default_rng(0).standard_normal((64, 10_000))
    assert loop_seam(noise) == pytest.approx(1, abs=0.2)
    with pytest.raises(DataError, match="1 samples has no steps"):
        loop_seam(numpy.zeros((2, 1)))


def test_a_loop_that_goes_round_has_no_seam_and_one_cut_anywhere_has() -> None:
    loop = perfect()
    assert loop_seam(loop) < 1
    assert abs(loop_seam_db(loop, PARAMS)) < 1.5
    cut = loop[:, : len(loop[0]) - 9_500]
    assert loop_seam(cut) > 3
    assert loop_seam_db(cut, PARAMS) > 10
    # No matter where in the loop it begins.
    turned = numpy.roll(loop, 30_001, -1)
    assert abs(loop_seam_db(turned, PARAMS)) < 1.5


def test_a_circular_decoding_is_near_a_perfect_loop_and_a_line_is_not() -> None:
    source = numpy.roll(perfect()[:1], 20_000, -1)
    whole = mel_magnitudes(torch.from_numpy(source * FULL_SCALE), PARAMS, circular=True).mT.numpy()
    circle = invert(whole, PARAMS, circular=True)
    line = invert(numpy.concatenate([whole, whole[..., :1]], -1), PARAMS)
    assert circle.shape == line.shape
    assert loop_seam(circle) < 2 < 10 < loop_seam(line)
    best = loop_seam_db(source, PARAMS)
    assert loop_seam_db(circle, PARAMS) < best + 3
    assert loop_seam_db(line, PARAMS) > best + 12


def test_silence_and_clicks_in_silence() -> None:
    silence = numpy.zeros((1, 44_100), numpy.float32)
    assert loop_seam_db(silence, PARAMS) == 0
    clicks = silence.copy()
    clicks[0, :10] = 0.5
    assert loop_seam_db(clicks, PARAMS) == math.inf
    with pytest.raises(DataError, match=r"0.200 s; give at least 0.400 s, four windows"):
        loop_seam_db(silence[:, :8820], PARAMS)
