"""Loudness and true peaks against pyloudnorm, ffmpeg and the EBU; the limiter by its promises."""

from __future__ import annotations

import re
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy
import pyloudnorm
import pytest
import soundfile

from sdcreative.media.sound_files import BLOCK
from sdcreative.media.video import ffmpeg
from sdcreative.music.limiter import LOOK_AHEAD, MOST, RELEASE, Limiter
from sdcreative.music.loudness import Levelled, Loudness, describe_levels, level, measure
from sdcreative.music.scratch import ScratchSound
from sdcreative.music.true_peak import TruePeak

RATE = 44_100


def noise(seconds: float, rate: int = RATE, channels: int = 2, seed: int = 0) -> numpy.ndarray:
    """Rather low noise that comes and goes, (samples, channels)."""
    random = numpy.random.default_rng(seed)
    white = random.standard_normal((round(seconds * rate), channels))
    soft = numpy.stack([numpy.convolve(each, numpy.hanning(6) / 8, "same") for each in white.T], 1)
    swell = 0.55 + 0.45 * numpy.sin(numpy.arange(len(soft)) / rate * 2 + seed)
    return (soft * swell[:, None] * 0.2).astype(numpy.float32)


def drums(seconds: float, rate: int = RATE, channels: int = 2, seed: int = 0) -> numpy.ndarray:
    """Hits of bass and noise four times a second, (samples, channels)."""
    random = numpy.random.default_rng(seed)
    sound = 0.2 * noise(seconds, rate, channels, seed)
    t = numpy.arange(round(0.3 * rate)) / rate
    for beat in numpy.arange(0.05, seconds - 0.35, 0.25):
        at = round(beat * rate)
        hit = numpy.sin(2 * numpy.pi * random.uniform(50, 400) * t) * random.uniform(0.4, 1)
        hit = hit + 0.5 * noise(0.3, rate, 1, seed + at)[: len(t), 0]
        hit = hit * numpy.exp(-t * random.uniform(8, 30)) * numpy.minimum(1, t * 1000)
        sound[at : at + len(t)] += 0.5 * hit[:, None]
    return sound.astype(numpy.float32)


def cut(sound: numpy.ndarray, size: int) -> Iterator[numpy.ndarray]:
    for start in range(0, len(sound), size):
        yield sound[start : start + size]


def measured(sound: numpy.ndarray, rate: int = RATE, size: int = BLOCK) -> Loudness:
    return measure(cut(sound, size), rate, sound.shape[1])


def scratch_of(folder: Path, sound: numpy.ndarray, rate: int = RATE) -> ScratchSound:
    scratch = ScratchSound(folder, rate, sound.shape[1])
    scratch.append(sound.T)
    return scratch


def all_of(levelled: Levelled) -> numpy.ndarray:
    return numpy.concatenate(list(levelled.blocks()))


def ebur128(path: Path, sound: numpy.ndarray, rate: int = RATE) -> tuple[float, float]:
    """(LUFS, dBTP) as ffmpeg measures them."""
    soundfile.write(path, sound, rate, subtype="FLOAT")
    command = [ffmpeg(), "-nostats", "-i", str(path), "-af", "ebur128=peak=true", "-f", "null", "-"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    said = said[said.rindex("Summary") :]
    found = [re.search(word, said) for word in (r"I:\s+(\S+) LUFS", r"Peak:\s+(\S+) dBFS")]
    return float(found[0][1]), float(found[1][1])  # type: ignore[index]


def sine(amplitude: float, hertz: float, seconds: float, rate: int = RATE) -> numpy.ndarray:
    t = numpy.arange(round(seconds * rate)) / rate
    return numpy.stack([amplitude * numpy.sin(2 * numpy.pi * hertz * t)] * 2, 1)


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("seconds", [0.4, 0.44, 0.47, 3, 9.97, 10.0, 10.34, 10.35, 11.3, 31.27])
def test_the_loudness_is_that_of_pyloudnorm(rate: int, channels: int, seconds: float) -> None:
    for make in (noise, drums):
        sound = make(seconds, rate, channels, round(100 * seconds) + rate)
        expected = pyloudnorm.Meter(rate).integrated_loudness(sound.astype(float))
        assert abs(measured(sound, rate).lufs - expected) < 0.01


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_ffmpeg_measures_the_same(tmp_path: Path, rate: int, channels: int) -> None:
    for make in (noise, drums):
        sound = make(12.3, rate, channels, rate)
        lufs, peak = ebur128(tmp_path / "a.wav", sound, rate)
        found = measured(sound, rate)
        assert abs(found.lufs - lufs) < 0.2
        assert abs(found.true_peak - peak) < 0.3


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("lufs", [-23.0, -33.0])
def test_tones_of_the_ebu_are_as_loud_as_it_says(rate: int, lufs: float) -> None:
    # EBU Tech 3341, cases 1 and 2.
    assert abs(measured(sine(10 ** (lufs / 20), 1000, 20, rate), rate).lufs - lufs) < 0.1


def test_quiet_stretches_are_gated_over_the_whole() -> None:
    # EBU Tech 3341, case 4.
    parts = [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)]
    sound = numpy.concatenate([sine(10 ** (dB / 20), 1000, s, 16_000) for dB, s in parts])
    assert abs(measured(sound, 16_000).lufs + 23) < 0.15


def test_true_peaks_between_samples_are_found() -> None:
    # A quarter of the rate, at 45 degrees: every sample is at 0.707 of the peak.
    t = numpy.arange(RATE)
    tone = (0.5 * numpy.sin(numpy.pi / 2 * t + numpy.pi / 4) * numpy.hanning(RATE))[:, None]
    assert abs(20 * numpy.log10(numpy.abs(tone).max()) + 9.03) < 0.01
    assert abs(measured(tone).true_peak + 6.02) < 0.05


@pytest.mark.parametrize("hertz", [40, 997, 5000, 9_999])
def test_the_true_peak_of_a_tone_is_its_amplitude(hertz: float) -> None:
    tone = sine(0.5, hertz, 1) * numpy.hanning(RATE)[:, None]
    assert abs(measured(tone).true_peak + 6.02) < 0.15


@pytest.mark.parametrize("size", [1_000, 4_411, 100_003, 10**9])
def test_the_size_of_blocks_makes_no_difference(size: int) -> None:
    sound = drums(23.4)
    assert measured(sound, size=size) == measured(sound)


def test_single_samples_are_blocks_too() -> None:
    sound = noise(0.2)
    assert measured(sound, size=1) == measured(sound)


def test_silence_and_nothing_have_no_loudness() -> None:
    nothing = Loudness(-numpy.inf, -numpy.inf)
    assert measured(numpy.zeros((RATE, 2), numpy.float32)) == nothing
    assert measured(numpy.zeros((9, 1), numpy.float32)) == nothing
    assert measure(iter(()), RATE, 2) == nothing


def test_a_short_sound_is_as_loud_as_it_is_when_it_lasts() -> None:
    short = measured(sine(0.1, 1000, 0.2))
    assert abs(short.lufs - measured(sine(0.1, 1000, 2)).lufs) < 0.1


def test_measuring_a_long_sound_takes_no_memory() -> None:
    block = noise(10)

    def peak(count: int) -> int:
        tracemalloc.start()
        measure(iter([block] * count), RATE, 2)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(12) < 1.1 * peak(3) < 100_000_000


@pytest.mark.parametrize("rate", [22_050, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_needs_no_limiting_is_only_scaled(tmp_path: Path, rate: int, channels: int) -> None:
    sound = noise(5, rate, channels)
    levelled = level(scratch_of(tmp_path, sound, rate), -26, -1)
    assert abs(levelled.after.lufs + 26) < 0.05
    assert levelled.limited_db == 0
    gain = numpy.float32(10 ** ((-26 - levelled.before.lufs) / 20))
    assert numpy.array_equal(all_of(levelled), sound * gain)


@pytest.mark.parametrize("make", [noise, drums])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_passes_the_ceiling(tmp_path: Path, make, seed: int, channels: int) -> None:
    sound = make(3.3, RATE, channels, seed)
    before = measured(sound)
    for most in (0.5, 2, 4):
        target = before.lufs - 1 - before.true_peak + most
        levelled = level(scratch_of(tmp_path, sound), target, -1)
        limited = all_of(levelled)
        assert 0 < levelled.limited_db <= MOST
        assert measured(limited) == levelled.after
        assert levelled.after.true_peak <= -0.9
        assert abs(levelled.after.lufs - target) < 0.1 or levelled.limited_db > MOST - 0.001
    assert ebur128(tmp_path / "a.wav", limited)[1] <= -0.8


def test_the_target_is_missed_rather_than_music_squashed(tmp_path: Path) -> None:
    sound = drums(6)
    levelled = level(scratch_of(tmp_path, sound), -3, -1)
    assert levelled.limited_db == pytest.approx(MOST)
    assert levelled.after.lufs < -4
    assert -1.3 < levelled.after.true_peak <= -0.9
    gain = -1 + MOST - levelled.before.true_peak
    turned = all_of(levelled) / (sound * 10 ** (gain / 20) + 1e-12)
    loud = numpy.abs(sound) > 0.01
    assert abs(20 * numpy.log10(turned[loud].min()) + MOST) < 1
    assert turned[loud].max() < 1.0001


def test_only_the_surroundings_of_a_peak_are_changed(tmp_path: Path) -> None:
    sound = numpy.tile(noise(3, RATE, 1) * 0.5, (1, 2))
    sound[RATE : RATE + 40, 1] += 0.9 * numpy.hanning(40).astype(numpy.float32)
    before = measured(sound)
    levelled = level(scratch_of(tmp_path, sound), before.lufs, before.true_peak - 3)
    limited = all_of(levelled)
    factor = limited[1000] / sound[1000]
    changed = numpy.flatnonzero((limited != sound * factor).any(1))
    before_it = round(LOOK_AHEAD * RATE) + 30
    after_it = before_it + 40 + round((levelled.limited_db + 0.2) / RELEASE * RATE)
    assert RATE - before_it < changed.min() < RATE < changed.max() < RATE + after_it
    # Both channels alike, so that nothing moves from side to side.
    there = slice(RATE - 300, RATE + 300)
    assert numpy.allclose(limited[there] * sound[there, ::-1], limited[there, ::-1] * sound[there])


def test_the_gain_is_smooth(tmp_path: Path) -> None:
    sound = numpy.full((RATE, 1), 0.1, numpy.float32)
    sound[RATE // 2 : RATE // 2 + 200] = 0.2
    before = measured(sound)
    limited = all_of(level(scratch_of(tmp_path, sound), before.lufs, before.true_peak - 5))
    gain = limited[:, 0] / sound[:, 0]
    assert numpy.abs(numpy.diff(gain)).max() < 0.02 * gain.max()


def test_a_loop_stays_a_loop(tmp_path: Path) -> None:
    sound = drums(3, seed=5) * 0.5
    sound = numpy.roll(sound, 7000, 0)
    sound[-40:] += 0.8 * numpy.hanning(80)[:40, None].astype(numpy.float32)
    sound[:40] += 0.8 * numpy.hanning(80)[40:, None].astype(numpy.float32)
    sound[50_000:50_080] += 0.8 * numpy.hanning(80)[:, None].astype(numpy.float32)
    before = measured(sound)
    scratch = scratch_of(tmp_path, sound)
    once = numpy.concatenate(
        list(Limiter(scratch, 1, before.true_peak - 4, circular=True).blocks())
    )
    gain = once[:, 0] / sound[:, 0]
    assert gain[0] < 0.7
    assert abs(gain[0] / gain[-1] - 1) < 0.01
    turned = scratch_of(tmp_path, numpy.roll(sound, RATE, 0))
    other = numpy.concatenate(
        list(Limiter(turned, 1, before.true_peak - 4, circular=True).blocks())
    )
    # Where it begins makes no difference, but for what a file has that is cut and played once.
    away = numpy.ones(len(sound), bool)
    for seam in (0, RATE):
        away[(numpy.arange(-RATE // 4, RATE // 4) + seam) % len(sound)] = False
    assert (numpy.abs(other - numpy.roll(sound, RATE, 0))[away] > 0.1).any()
    assert numpy.array_equal(numpy.roll(once, RATE, 0)[away], other[away])
    levelled = level(scratch, before.lufs + 1, before.true_peak - 3, loop=True)
    assert levelled.after.true_peak <= before.true_peak - 2.9
    straight = level(scratch, before.lufs + 1, before.true_peak - 3)
    assert not numpy.array_equal(all_of(straight), all_of(levelled))


@pytest.mark.parametrize("edge", [BLOCK, 2 * BLOCK])
def test_the_gain_rises_again_past_the_end_of_a_block_and_of_a_loop(
    tmp_path: Path, edge: int
) -> None:
    sound = numpy.full((2 * BLOCK, 1), 0.1, numpy.float32)
    sound[edge - 1000 : edge - 900] = 0.4
    limiter = Limiter(scratch_of(tmp_path, sound), 1, -14, circular=True)
    gain = numpy.concatenate(list(limiter.blocks())) / sound
    past = edge % len(sound)
    assert gain[past] < 0.75
    assert numpy.abs(numpy.diff(numpy.roll(gain[:, 0], 4000 - past)[3500:4500])).max() < 1e-3
    assert numpy.diff(20 * numpy.log10(gain[past : past + 1500, 0])).mean() * RATE == (
        pytest.approx(RELEASE, rel=0.05)
    )


@pytest.mark.parametrize("samples", [1, 2, 20, 40, 1000])
@pytest.mark.parametrize("loop", [False, True])
def test_the_shortest_sounds_are_levelled(tmp_path: Path, samples: int, loop: bool) -> None:
    sound = numpy.random.default_rng(0).uniform(-0.5, 0.5, (samples, 2)).astype(numpy.float32)
    levelled = level(scratch_of(tmp_path, sound), 0, -1, loop=loop)
    assert all_of(levelled).shape == sound.shape
    assert levelled.after.true_peak <= -0.9


def test_silence_stays_silence(tmp_path: Path) -> None:
    for sound in (numpy.zeros((RATE, 2), numpy.float32), numpy.zeros((0, 1), numpy.float32)):
        levelled = level(scratch_of(tmp_path, sound), -14, -1)
        assert not any(block.any() for block in levelled.blocks())
        assert describe_levels(levelled) == "silent"


def test_without_a_target_a_sound_is_left_or_turned_down_as_a_whole(tmp_path: Path) -> None:
    quiet, loud = noise(2), 8 * drums(2)
    left = level(scratch_of(tmp_path, quiet), None, -1)
    assert numpy.array_equal(all_of(left), quiet)
    assert left.before == left.after
    turned = level(scratch_of(tmp_path, loud), None, -1)
    assert turned.limited_db == 0
    assert turned.after.true_peak == pytest.approx(-1, abs=0.01)
    factor = all_of(turned)[loud != 0] / loud[loud != 0]
    assert numpy.ptp(factor) < 1e-6


def test_what_is_too_quiet_for_a_loudness_is_not_turned_up(tmp_path: Path) -> None:
    sound = noise(2) * 1e-4
    levelled = level(scratch_of(tmp_path, sound), -14, -1)
    assert numpy.array_equal(all_of(levelled), sound)
    assert describe_levels(levelled).startswith("too quiet for a loudness, true peak -9")


@pytest.mark.parametrize(
    ("after", "limited", "words"),
    [
        (Loudness(-13.98, -1.02), 2.1, "-14.0 LUFS, true peak -1.0 dB, limited by 2.1 dB"),
        (Loudness(-14, -3.25), 0.0, "-14.0 LUFS, true peak -3.2 dB"),
        (Loudness(-0.01, 0.04), 0.01, "0.0 LUFS, true peak 0.0 dB"),
    ],
)
def test_levels_are_said_in_a_line(after: Loudness, limited: float, words: str) -> None:
    levelled = Levelled(lambda: iter(()), Loudness(-20, -3), after, limited)
    assert describe_levels(levelled) == words


def test_a_true_peak_is_found_at_every_edge_of_a_block() -> None:
    tone = numpy.zeros((400, 1), numpy.float32)
    tone[200:202] = 0.5  # what lies between them is higher than both
    whole = TruePeak(1)
    whole.feed(tone)
    expected = whole.finish()
    assert expected > -5
    for size in range(1, 60):
        meter = TruePeak(1)
        for block in cut(tone, size):
            meter.feed(block)
        assert meter.finish() == expected
