"""Tempo and beats of drums that are known, and of grids."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import soundfile

from sdcreative.errors import UsageError
from sdcreative.sound.analysis import Heard, hear
from sdcreative.sound.beats import mean_tempo
from sdcreative.sound.settings import Audio

RATE = 22_050


def drums(bpm: float, seconds: float, first: float = 0.3) -> numpy.ndarray:
    """Bass drum and snare in turn on the beats, a soft hat between them."""
    random = numpy.random.default_rng(1)
    sound = 0.002 * random.standard_normal(round(seconds * RATE))
    at = numpy.arange(round(0.15 * RATE)) / RATE
    for number in range(round((seconds - first - 0.3) * bpm / 30)):
        noise = random.standard_normal(len(at))
        hit = 0.12 * numpy.gradient(noise) * numpy.exp(-at / 0.02)
        if number % 4 == 0:
            sweep = 50 * at + 4 * (1 - numpy.exp(-at / 0.03))
            hit = 0.8 * numpy.sin(2 * numpy.pi * sweep) * numpy.exp(-at / 0.06)
        elif number % 4 == 2:
            hit = 0.4 * noise * numpy.exp(-at / 0.05)
        begin = round((first + number * 30 / bpm) * RATE)
        sound[begin : begin + len(hit)] += hit[: len(sound) - begin]
    return 0.7 * sound


def write(folder: Path, samples: numpy.ndarray, **audio: object) -> Audio:
    soundfile.write(folder / "a.wav", samples, RATE)
    return Audio(file=str(folder / "a.wav"), **audio)  # type: ignore[arg-type]


@pytest.mark.parametrize("bpm", [80, 85, 93.75, 100, 110, 120, 128, 140, 150])
def test_tempo_and_beats_are_found(tmp_path: Path, bpm: float) -> None:
    heard = hear(write(tmp_path, drums(bpm, 20)), 24, 480)
    assert heard.tempo == pytest.approx(bpm, rel=1e-3)
    true = 0.3 + numpy.arange(len(heard.beats)) * 60 / bpm
    assert abs(numpy.array(heard.beats) - true).max() < 0.008
    assert len(heard.beats) >= (20 - 0.6) * bpm / 60 - 1
    for beat in heard.beats:
        assert heard.beat[round(beat * 24)] == 1


@pytest.mark.parametrize("bpm", [60, 174])
def test_outside_of_usual_tempos_it_may_be_twice_or_half(tmp_path: Path, bpm: float) -> None:
    heard = hear(write(tmp_path, drums(bpm, 20)), 24, 480)
    assert min(abs(heard.tempo / bpm / factor - 1) for factor in (0.5, 1, 2)) < 1e-3


def test_a_short_film_in_a_long_piece_knows_the_tempo(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, drums(93.75, 30), start=12.0), 24, 36)
    assert heard.tempo == pytest.approx(93.75, rel=2e-3)
    true = 0.3 + numpy.arange(60) * 60 / 93.75 - 12
    assert len(heard.beats) == 2
    assert all(abs(true - beat).min() < 0.008 for beat in heard.beats)


def test_a_change_of_tempo_is_followed(tmp_path: Path) -> None:
    sound = numpy.concatenate([drums(100, 60, 0), drums(125, 60, 0)])
    heard = hear(write(tmp_path, sound), 12, 1440)
    steps = numpy.diff(heard.beats)
    assert 60 / numpy.median(steps[5:90]) == pytest.approx(100, rel=0.01)
    assert 60 / numpy.median(steps[-100:-5]) == pytest.approx(125, rel=0.01)


def test_a_known_tempo_is_an_exact_grid(tmp_path: Path) -> None:
    sound = write(tmp_path, drums(120, 4), bpm=90.0, first_beat=0.25)
    heard = hear(sound, 24, 96)
    assert heard.beats == tuple(0.25 + number * 60 / 90 for number in range(6))
    assert heard.tempo == 90
    # Nothing on the grid can be heard, and yet it is there, also in silence.
    silence = hear(write(tmp_path, numpy.zeros(RATE), bpm=90.0, first_beat=0.25), 24, 96)
    assert silence.beats == heard.beats
    assert [frame for frame, value in enumerate(heard.beat) if value == 1] == [
        int(beat * 24 + 0.5) for beat in heard.beats
    ]


def test_a_known_tempo_finds_its_first_beat(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, drums(97, 10, first=0.41), bpm=97.0), 24, 240)
    assert heard.beats[0] == pytest.approx(0.41, abs=0.006)
    assert numpy.diff(heard.beats) == pytest.approx(60 / 97)


def test_the_first_beat_may_be_said(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, drums(120, 10), first_beat=1.32), 24, 240)
    assert heard.beats[0] == pytest.approx(1.3, abs=0.006)
    assert heard.beat_time(5) == pytest.approx(3.3, abs=0.006)


def test_pulses_fall_by_half_in_a_tenth_of_a_second(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, drums(60, 3), bpm=60.0, first_beat=1.0), 20, 60)
    assert heard.beat[:20] == (0.0,) * 20
    for beat in (20, 40):
        expected = [0.5 ** (step / 2) for step in range(20)]
        assert heard.beat[beat : beat + 20] == pytest.approx(expected)


def heard_with(beats: tuple[float, ...], tempo: float = 120.0) -> Heard:
    nothing = (0.0,) * 4
    return Heard(24, tempo, beats, *[nothing] * 6, beats_per_bar=3)


def test_times_of_beats_and_bars() -> None:
    heard = heard_with((0.5, 1.0, 1.6, 2.0))
    assert [heard.beat_time(number) for number in (1, 2, 3, 4)] == [0.5, 1.0, 1.6, 2.0]
    assert heard.beat_time(2.5) == pytest.approx(1.3)
    assert [heard.beat_time(number) for number in (5, 7.5)] == pytest.approx([2.5, 3.75])
    assert [heard.beat_time(number, "bar") for number in (1, 2, 3)] == pytest.approx([0.5, 2, 3.5])
    assert heard.beat_time(4 / 3, "bar") == pytest.approx(1.0)


def test_times_that_are_not_there() -> None:
    for number in (0, 0.99, -3, float("nan"), float("inf")):
        with pytest.raises(UsageError, match=r"there is no beat .*; the first is 1"):
            heard_with((0.5,)).beat_time(number)
    with pytest.raises(UsageError, match="no bar was found; give 'bpm' and 'first_beat'"):
        heard_with(()).beat_time(1, "bar")
    assert heard_with((0.5,), 0.0).beat_time(1) == 0.5
    with pytest.raises(UsageError, match="one beat was found, and no tempo for beat 2"):
        heard_with((0.5,), 0.0).beat_time(2)


def test_gaps_do_not_change_the_tempo() -> None:
    assert mean_tempo([0, 0.5, 1.0, 1.5, 3.0, 3.5, 4.0]) == pytest.approx(120)
    assert mean_tempo([1.0]) == 0
