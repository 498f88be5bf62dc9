"""Beats for seed images: to the sample in time, in key, without a seam, and full of sound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sdcreative import UsageError
from sdcreative_plugins.music.beat import PATTERNS, hits, parse_key, render_beat
from sdcreative_plugins.music.beat_patterns import BEATS
from sdcreative_plugins.music.instruments import DRUMS, NOTES
from sdcreative_plugins.music.playing import mix

RATE = 22_050
HOP = 32
MAJOR, MINOR = {0, 2, 4, 5, 7, 9, 11}, {0, 2, 3, 5, 7, 8, 10}
Line = NDArray[np.float32]

# Written out by hand: when something begins, in beats, without bass and chords.
EIGHTHS = [n / 2 for n in range(8)]
ONSETS: dict[str, list[float]] = {
    "four_on_the_floor": EIGHTHS,
    "rock": EIGHTHS,
    "metronome": [0, 1, 2, 3],
    "reggae": [*EIGHTHS],
    "waltz": [0, 0.5, 1, 1.5, 2, 2.5],
    "drum_and_bass": [n / 4 for n in (0, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 14, 15)],
    "funk": [n / 4 + 0.02 * (n % 2) for n in range(16)],
    "hiphop": sorted([*EIGHTHS, 1.75 + 0.06]),
}
KICKS = {
    "four_on_the_floor": (4, {0, 1, 2, 3}),
    "house": (4, {0, 1, 2, 3}),
    "techno": (4, {0, 1, 2, 3}),
    "rock": (4, {0, 2}),
    "reggae": (4, {2}),
    "waltz": (3, {0}),
    "metronome": (4, set()),
}


@lru_cache
def beat(pattern: str, tempo: float = 120, beats: float = 8, **settings: Any) -> Line:
    return render_beat(pattern, tempo=tempo, beats=beats, sample_rate=RATE, **settings)


def spectrum(line: Line) -> tuple[NDArray[Any], NDArray[Any]]:
    """Power, and the frequency it is at."""
    return np.abs(np.fft.rfft(line)) ** 2, np.fft.rfftfreq(len(line), 1 / RATE)


def flux(line: Line) -> NDArray[Any]:
    """How much louder it gets at every ``HOP`` samples, in decibels, summed over frequencies."""
    window = 256
    padded = np.pad(line, (window // 2, window // 2))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(window))) ** 2
    rises: NDArray[Any] = np.diff(10 * np.log10(power + 1e-3), axis=0, prepend=-30)
    return np.maximum(rises, 0).sum(axis=1)


def onsets(line: Line, least: float) -> NDArray[Any]:
    """Seconds at which something begins, no two within 30 ms."""
    strength = flux(line)
    reach = round(0.03 * RATE / HOP)
    padded = np.pad(strength, reach)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)
    found = np.flatnonzero((strength == highest) & (strength > least * strength.max()))
    return found * HOP / RATE


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
def test_beats_are_as_long_as_they_are_to_the_sample(rate: int) -> None:
    for tempo, beats, loop in product((20, 93.75, 127.3, 400), (0.01, 1, 3.7), (True, False)):
        line = render_beat("rock", tempo=tempo, beats=beats, sample_rate=rate, loop=loop)
        assert line.shape == (round(beats * 60 / tempo * rate),)
        assert line.dtype == np.float32


def test_eight_beats_are_512_columns_of_riffusion() -> None:
    line = render_beat("house", tempo=93.75, beats=8, sample_rate=44_100)
    assert len(line) == 512 * 441


@pytest.mark.parametrize("tempo", [60, 93.75, 121.7, 150])
@pytest.mark.parametrize("pattern", ONSETS)
def test_onsets_are_where_they_are_written(pattern: str, tempo: float) -> None:
    bar = BEATS[pattern].bar
    line = beat(pattern, tempo, 2 * bar, loop=False)
    # What is written is there, up to the end of the first bar ...
    found = onsets(line, 0.05)
    written = np.array(ONSETS[pattern]) * 60 / tempo
    assert abs(found[:, None] - written).min(axis=0).max() <= 0.01
    # ... and nothing loud is anywhere else.
    loud = onsets(line, 0.3)
    loud = loud[loud < bar * 60 / tempo - 0.05]
    assert abs(loud[:, None] - written).min(axis=1).max() <= 0.01


@pytest.mark.parametrize("pattern", KICKS)
def test_the_kick_is_on_its_beats(pattern: str) -> None:
    bar, kicks = KICKS[pattern]
    line = beat(pattern, 100, bar)
    power, frequency = spectrum(line)
    low = np.fft.irfft(np.where(frequency < 110, np.fft.rfft(line), 0), len(line))
    each = 60 / 100 * RATE
    energy = [np.sum(low[round(n * each) :][: round(0.1 * RATE)] ** 2) for n in range(bar)]
    assert {n for n in range(bar) if energy[n] > 0.02 * power.sum() / len(line)} == kicks


@pytest.mark.parametrize("tempo", [70, 101.3, 174])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_autocorrelation_finds_the_tempo(pattern: str, tempo: float) -> None:
    form = BEATS[pattern]
    # Clicks are alike: they repeat after any number of beats.
    longest = max(map(len, form.drums.values())) / form.steps
    phrase = 1 if pattern == "metronome" else longest
    strength = flux(beat(pattern, tempo, 4 * longest, key="A minor", loop=False))
    strength -= strength.mean()
    alike = np.fft.irfft(np.abs(np.fft.rfft(strength, 2 * len(strength))) ** 2)[: len(strength)]
    alike /= np.arange(len(alike), 0, -1)
    period = phrase * 60 / tempo * RATE / HOP
    lags = np.arange(round(0.76 * period), round(1.45 * period))
    found = phrase * 60 / (lags[alike[lags].argmax()] * HOP / RATE)
    assert found == pytest.approx(tempo, rel=0.01)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_note_is_in_its_key(pattern: str) -> None:
    for key in ("C", "F# minor", "Bb", "e flat minor"):
        tonic, mode = parse_key(key)
        scale = {(tonic + tone) % 12 for tone in (MAJOR if mode == "major" else MINOR)}
        for seed in range(3):
            played = hits(pattern, 16, key, seed=seed)
            pitches = {hit.pitch for hit in played if hit.pitch is not None}
            assert {pitch % 12 for pitch in pitches} <= scale
            assert bool(pitches) == (pattern != "metronome")
            assert all(33 <= pitch <= 100 for pitch in pitches)


@pytest.mark.parametrize("key", ["C", "F# minor", "Bb", "Am"])
@pytest.mark.parametrize("pattern", ["pulse", "marimba", "motorway", "vibes"])
def test_what_is_heard_is_in_its_key(pattern: str, key: str) -> None:
    tonic, mode = parse_key(key)
    power, frequency = spectrum(beat(pattern, 100, 16, key=key))
    heard = (frequency > 100) & (frequency < 1100)
    near = 69 + 12 * np.log2(frequency[heard] / 440)
    # Between two keys of the piano there is only noise.
    in_tune = abs(near - near.round()) < 0.25
    chroma = np.bincount(
        near.round()[in_tune].astype(int) % 12, power[heard][in_tune], minlength=12
    )
    scale = [(tonic + tone) % 12 for tone in sorted(MAJOR if mode == "major" else MINOR)]
    assert chroma[scale].sum() > 0.8 * chroma.sum()
    # No other key fits as well, but that of a scale with one other tone, which may not be played.
    others = [chroma[[(tone + n) % 12 for tone in scale]].sum() for n in range(12)]
    assert others[0] > 0.98 * max(others)
    assert sum(other > 0.95 * others[0] for other in others) <= 3


@pytest.mark.parametrize("pattern", sorted(set(PATTERNS) - {"metronome", "techno"}))
def test_the_bass_begins_with_the_tonic(pattern: str) -> None:
    played = [hit for hit in hits(pattern, 4, "D minor") if hit.pitch is not None]
    lowest = min(hit.pitch for hit in played if hit.pitch and hit.pitch % 12 == 2)
    assert lowest == 38
    alone = [hit for hit in played if hit.pitch == 38]
    power, frequency = spectrum(mix(alone, RATE * 2, RATE / 2, RATE, 0, True))
    assert frequency[power.argmax()] == pytest.approx(73.42, abs=1.5)


def test_without_a_key_drums_are_alone() -> None:
    for name, pattern in BEATS.items():
        assert any(hit.pitch for hit in hits(name, 8)) == pattern.pitched
    assert hits("vibes", 8, "C", "minor") == hits("vibes", 8, mode="minor")
    assert hits("vibes", 8, "C minor", "major") == hits("vibes", 8, "C", "minor")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_rings_past_the_end_is_heard_at_the_beginning(pattern: str) -> None:
    played = hits(pattern, 3.5, "A minor")
    each, later = 11_024, 0.5
    line = mix(played, 7 * each // 2, each, RATE, 0, True)
    # A circle has no beginning: the same half a beat later is the same, turned.
    moved = [replace(hit, start=(hit.start + later) % 3.5) for hit in played]
    turned = mix(moved, len(line), each, RATE, 0, True)
    assert np.abs(np.roll(line, each // 2) - turned).max() < 1e-5


@pytest.mark.parametrize("beats", [4, 5.5, 8])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_seam_is_no_step(pattern: str, beats: float) -> None:
    line = beat(pattern, 133, beats, key="E")
    usual = np.sqrt(np.mean(np.diff(line, 2) ** 2))
    seam = np.diff(np.concatenate((line[-2:], line[:2])), 2)
    assert np.abs(seam).max() <= 4 * usual
    step = abs(float(line[0] - line[-1]))
    assert step <= np.abs(np.diff(line)).max()


def test_a_loop_shorter_than_its_sounds_wraps_many_times() -> None:
    line = beat("house", 400, 0.5, key="C")
    assert len(line) == round(0.075 * RATE)
    assert np.isfinite(line).all()
    assert np.abs(line).max() == pytest.approx(0.89)


def test_what_is_no_loop_begins_and_ends_in_silence() -> None:
    for pattern in ("rock", "bossa", "marimba", "vibes"):
        line = beat(pattern, 120, 3.25, key="C", loop=False)
        assert np.abs(line[[0, -1]]).max() < 1e-9
        assert np.abs(line[:100]).max() > 0


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_fraction_of_a_bar_is_the_beginning_of_it(pattern: str) -> None:
    long, short = hits(pattern, 12, "G"), hits(pattern, 5.3, "G")
    assert [h.start for h in short] == [h.start for h in long if h.start < 5.3]
    assert all(hit.start + hit.length <= 5.3 + 1e-9 for hit in short)
    same = [hit for hit in short if hit.start + hit.length < 4]
    assert same
    assert set(same) <= set(long)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_twice_and_another_with_another_seed(pattern: str) -> None:
    def again(seed: int) -> bytes:
        line = render_beat(
            pattern, tempo=110, beats=4, sample_rate=8000, key="Dm", seed=seed, loop=True
        )
        return line.tobytes()

    assert again(3) == again(3)
    assert again(3) != again(4)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_octave_sounds_and_nothing_clips(pattern: str) -> None:
    line = beat(pattern, 120, 16, key="C minor")
    assert np.isfinite(line).all()
    assert 0.88 < np.abs(line).max() <= 0.9
    level = 10 * np.log10(np.mean(line**2))
    assert -28 < level < -10
    power, frequency = spectrum(line)
    # A metronome has nothing but its clicks.
    lowest = 480 if pattern == "metronome" else 60
    edges = [60 * 2**n for n in range(7) if 60 * 2**n >= lowest]
    for low in edges:
        band = power[(frequency >= low) & (frequency < min(2 * low, 6000))].sum()
        assert 10 * np.log10(band / power.sum()) > -32, f"{low} Hz"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_is_above_ten_kilohertz(pattern: str) -> None:
    line = render_beat(pattern, tempo=120, beats=8, sample_rate=48_000, key="C")
    power = np.abs(np.fft.rfft(line)) ** 2
    frequency = np.fft.rfftfreq(len(line), 1 / 48_000)
    assert power[frequency > 10_000].sum() < 1e-5 * power.sum()


@pytest.mark.parametrize(
    ("rate", "beats", "patterns"), [(8000, 2, PATTERNS), (192_000, 0.25, ("house", "vibes"))]
)
def test_low_and_high_sample_rates(rate: int, beats: float, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        line = render_beat(pattern, tempo=180, beats=beats, sample_rate=rate, key="B")
        assert np.isfinite(line).all()
        assert np.abs(line).max() == pytest.approx(0.89)


def test_patterns_are_whole_bars_of_instruments_there_are() -> None:
    assert {"four_on_the_floor", "house", "techno", "rock", "funk", "hiphop"} <= set(PATTERNS)
    assert {"reggae", "waltz", "bossa", "drum_and_bass", "metronome"} <= set(PATTERNS)
    assert {"pulse", "marimba", "motorway", "vibes"} <= set(PATTERNS)
    for name, pattern in BEATS.items():
        bar = pattern.bar * pattern.steps
        assert set(pattern.drums) <= set(DRUMS)
        for letters in pattern.drums.values():
            assert len(letters) % bar == 0, name
            assert set(letters) <= set("Xxo.")
        for part, known in (
            (pattern.bass, "R358-."),
            (pattern.chords, "C-."),
            (pattern.arpeggio, "123456-."),
        ):
            if part is not None:
                assert part[0] in NOTES
                assert len(part[1]) % bar == 0, name
                assert set(part[1]) <= set(known)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("C", (0, "major")),
        ("a", (9, "major")),
        ("Am", (9, "minor")),
        ("AM", (9, "major")),
        ("F# minor", (6, "minor")),
        ("F♯m", (6, "minor")),
        ("Bbm", (10, "minor")),
        ("bb", (10, "major")),
        ("b minor", (11, "minor")),
        ("e flat major", (3, "major")),
        ("C-sharp Minor", (1, "minor")),
        ("A:min", (9, "minor")),
        ("  Cb ", (11, "major")),
        ("E#", (5, "major")),
    ],
)
def test_keys(text: str, found: tuple[int, str]) -> None:
    assert parse_key(text) == found


def test_a_key_without_a_mode_is_in_the_mode_given() -> None:
    assert parse_key("a", "minor") == (9, "minor")
    assert parse_key("A major", "minor") == (9, "major")


@pytest.mark.parametrize("text", ["", "H", "C dorian", "C##", "minor", "Cmm", "1", "Do", "C\nm x"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_key(text)
    assert str(caught.value).startswith(f"{text!r} is no key; give one such as C")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pattern": "hose"}, "pattern 'hose': there is none; did you mean house?"),
        ({"pattern": "zzz"}, "give one of four_on_the_floor, house"),
        ({"tempo": 19}, "tempo 19: give 20 to 400"),
        ({"tempo": float("nan")}, "tempo nan: give 20 to 400"),
        ({"beats": 0}, "0 beats at tempo 120 take 0 s; give more than 0"),
        ({"beats": -1}, "-1 beats at tempo 120"),
        ({"beats": float("inf")}, "inf beats at tempo 120"),
        ({"beats": 1e6}, "up to 3600 s"),
        ({"beats": 1e-9}, "are no sample long"),
        ({"sample_rate": 0}, "sample_rate 0: give 8000 to 192000"),
        ({"key": "X"}, "'X' is no key"),
        ({"seed": -1}, "seed -1: give a whole number from 0"),
    ],
)
def test_beats_that_cannot_be_made(changed: dict[str, Any], message: str) -> None:
    settings = {"pattern": "house", "tempo": 120, "beats": 4, "sample_rate": 8000, **changed}
    with pytest.raises(UsageError) as caught:
        render_beat(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
