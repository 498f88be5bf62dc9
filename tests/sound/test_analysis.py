"""What is heard, in sounds of which it is known: clicks, tones, drums and noise at given times."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy
import pytest
import soundfile

from sdcreative.core.timing import positions
from sdcreative.errors import DataError, UsageError
from sdcreative.sound import analysis
from sdcreative.sound.analysis import Heard, hear, sound_seconds
from sdcreative.sound.features import CURVE_RATE, listen, per_frame
from sdcreative.sound.settings import Audio

RATE = 22_050
BANDS = ("bass", "mid", "treble", "loudness")
DRIVES = ("onset", "beat", *BANDS)


def tone(hertz: float, seconds: float, rate: int = RATE) -> numpy.ndarray:
    return 0.3 * numpy.sin(2 * numpy.pi * hertz * numpy.arange(round(seconds * rate)) / rate)


def hits(kind: str, times: list[float], seconds: float, rate: int = RATE) -> numpy.ndarray:
    """Drum-like sounds at times, over soft noise."""
    random = numpy.random.default_rng(3)
    sound = 0.001 * random.standard_normal(round(seconds * rate))
    at = numpy.arange(round(0.15 * rate)) / rate
    for time in times:
        hit = {
            "click": numpy.sin(2 * numpy.pi * 1900 * at) * numpy.exp(-at / 0.001),
            "kick": numpy.sin(2 * numpy.pi * (50 * at + 2 * (1 - numpy.exp(-at / 0.03))))
            * numpy.exp(-at / 0.05),
            "snare": random.standard_normal(len(at)) * numpy.exp(-at / 0.04) / 2,
        }[kind]
        begin = round(time * rate)
        sound[begin : begin + len(hit)] += 0.7 * hit[: len(sound) - begin]
    return sound


def write(folder: Path, samples: numpy.ndarray, rate: int = RATE, **audio: object) -> Audio:
    soundfile.write(folder / "a.wav", samples, rate, subtype="FLOAT")
    return Audio(file=str(folder / "a.wav"), **audio)  # type: ignore[arg-type]


def known_times(seed: int = 0, seconds: float = 20) -> list[float]:
    steps = numpy.random.default_rng(seed).uniform(0.3, 0.7, 200)
    return [float(time) for time in numpy.cumsum(steps) if time < seconds - 0.5]


def away_from_borders(times: list[float], fps: float, margin: float) -> list[float]:
    """Those that are not within a margin, in seconds, of where one frame becomes the next."""
    return [t for t in times if abs((t * fps) % 1 - 0.5) / fps > margin]


@pytest.mark.parametrize("fps", [12, 24, 23.976, 30, 60])
@pytest.mark.parametrize("kind", ["click", "kick", "snare"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_an_onset_falls_on_its_frame(tmp_path: Path, kind: str, fps: float, rate: int) -> None:
    times = known_times()
    heard = hear(write(tmp_path, hits(kind, times, 20, rate), rate), fps, round(20 * fps))
    sure = away_from_borders(times, fps, 0.0045)
    assert len(sure) > 10
    for time in sure:
        frame, near = round(time * fps), math.ceil(0.12 * fps)
        around = heard.onset[frame - near : frame + near + 1]
        assert around.index(max(around)) == near
        assert heard.onset[frame] > 0.4


@pytest.mark.parametrize("kind", ["click", "kick", "snare"])
def test_times_of_onsets_are_right_to_a_few_milliseconds(tmp_path: Path, kind: str) -> None:
    times = known_times()
    curve = listen(write(tmp_path, hits(kind, times, 20)).file, 0, 20).onset
    errors = []
    for time in times:
        begin = round((time - 0.05) * CURVE_RATE)
        errors.append((begin + int(curve[begin : begin + 35].argmax()) + 0.5) / CURVE_RATE - time)
    assert abs(numpy.mean(errors)) < 0.002
    assert numpy.abs(errors).max() < 0.0035


def test_onsets_of_the_same_kind_are_equally_strong_and_nothing_else_is(tmp_path: Path) -> None:
    times = [0.5 * number for number in range(1, 30)]
    heard = hear(write(tmp_path, hits("snare", times, 16)), 24, 384)
    frames = {round(time * 24) for time in times}
    assert all(0.75 < heard.onset[frame] <= 1 for frame in frames)
    others = [value for frame, value in enumerate(heard.onset) if not frames & {frame, frame + 1}]
    assert numpy.mean(others) < 0.02


def test_the_way_is_gone_on_the_beat(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, hits("kick", [1.0, 1.5], 3), pull=1.0), 24, 73)
    path = [place.t for place in positions([0, 72], 73, ["linear"], energy=heard.energy("onset"))]
    steps = numpy.diff(path)
    assert {int(frame) + 1 for frame in numpy.argsort(steps)[-2:]} == {24, 36}
    assert steps[23] + steps[35] > 0.9


def test_energy_is_pulled_from_even_to_the_sound(tmp_path: Path) -> None:
    audio = write(tmp_path, hits("snare", [0.5, 1.2], 2))
    for pull in (0.0, 0.25, 1.0):
        heard = hear(audio.model_copy(update={"pull": pull}), 10, 20)
        for drive in DRIVES:
            feature = getattr(heard, drive)
            mean = sum(feature) / 20
            expected = [(1 - pull) * mean + pull * value for value in feature]
            assert heard.energy(drive) == pytest.approx(expected)
        assert heard.energy("none") == (1.0,) * 20
    assert len(set(hear(audio.model_copy(update={"pull": 0.0}), 10, 20).energy("bass"))) == 1


@pytest.mark.parametrize(("hertz", "band"), [(80, "bass"), (650, "mid"), (5000, "treble")])
def test_a_tone_is_in_its_band_only(tmp_path: Path, hertz: float, band: str) -> None:
    heard = hear(write(tmp_path, tone(hertz, 3)), 24, 72)
    for name in BANDS:
        inside = getattr(heard, name)[3:-3]
        if name in (band, "loudness"):
            assert min(inside) > 0.9
        else:
            assert max(inside) < 0.12


def test_a_sweep_goes_through_the_bands_in_order(tmp_path: Path) -> None:
    at = numpy.arange(8 * RATE) / RATE
    pitch = 40 * (8000 / 40) ** (at / 8)
    heard = hear(
        write(tmp_path, 0.3 * numpy.sin(2 * numpy.pi * numpy.cumsum(pitch) / RATE)), 25, 200
    )
    strongest = [max(BANDS[:3], key=lambda name: getattr(heard, name)[f]) for f in range(2, 198)]
    crossings = [strongest.index(name) + 2 for name in BANDS[:3]]
    # 200 and 2000 Hz, to a twentieth of a second.
    expected = [25 * 8 * math.log(hertz / 40) / math.log(200) for hertz in (200, 2000)]
    assert crossings[1:] == pytest.approx(expected, abs=1.3)
    assert strongest == sorted(strongest, key=BANDS.index)


def test_loudness_is_the_amplitude(tmp_path: Path) -> None:
    sound = tone(500, 4) * numpy.repeat([1.0, 0.5, 0.25, 0.0], RATE)
    heard = hear(write(tmp_path, sound), 20, 80)
    assert [heard.loudness[frame] for frame in (10, 30, 50, 70)] == pytest.approx(
        [1, 0.5, 0.25, 0], abs=0.01
    )


def test_frames_are_means_around_their_times() -> None:
    curve = numpy.arange(1000.0)
    found = per_frame(curve, 1.0, 24, 5)
    middles = (1.0 + numpy.arange(5) / 24) * CURVE_RATE - 0.5
    assert found == pytest.approx(middles, abs=0.02)
    # Frames shorter than a slice, and before and after the curve.
    assert per_frame(numpy.ones(500), 0.5, 1000, 50) == pytest.approx([1] * 50)
    assert per_frame(numpy.ones(500), -5, 10, 3) == pytest.approx([0, 0, 0])
    assert per_frame(numpy.ones(500), 500, 10, 3) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("start", [0.0, 3.21, 17.0])
def test_a_film_may_begin_anywhere_in_the_file(tmp_path: Path, start: float) -> None:
    times = known_times(seconds=25)
    audio = write(tmp_path, hits("snare", times, 25), start=start)
    heard = hear(audio, 24, 120)
    for time in away_from_borders([t - start for t in times], 24, 0.0045):
        if 0.1 < time < 4.8:
            frame = round(time * 24)
            assert heard.onset[frame] == max(heard.onset[frame - 3 : frame + 4])
    assert sound_seconds(audio) == pytest.approx(25 - start, abs=1e-4)


def test_a_film_may_last_longer_than_its_sound(tmp_path: Path) -> None:
    heard = hear(write(tmp_path, hits("snare", [0.5, 1.0, 1.5], 2)), 10, 60)
    assert len(heard.loudness) == 60
    assert max(heard.loudness[25:]) == 0
    assert max(heard.onset[25:]) == 0
    assert heard.at(5)["onset"] == heard.onset[5] > 0
    assert set(heard.at(999).values()) == {0.0}
    assert tuple(heard.at(0)) == DRIVES


def test_silence_is_silent(tmp_path: Path) -> None:
    for sound in (numpy.zeros(RATE * 2), numpy.full(RATE * 2, 1e-7)):
        heard = hear(write(tmp_path, sound), 24, 48)
        assert max(heard.loudness) < 0.01
        assert max(heard.onset) == 0
        assert (heard.beats, heard.tempo) == ((), 0.0)
        # Nothing happens: positions go by time then.
        assert set(heard.energy("onset")) == {0.0}


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000])
def test_rates_and_channels_make_no_difference(tmp_path: Path, rate: int) -> None:
    times = known_times(seconds=6)
    mono = hits("kick", times, 6, rate)
    stereo = hear(write(tmp_path, numpy.stack([mono, mono], 1), rate), 24, 144)
    (tmp_path / "b").mkdir()
    reference = hear(write(tmp_path / "b", hits("kick", times, 6, 44_100), 44_100), 24, 144)
    single = hear(write(tmp_path, mono, rate), 24, 144)
    assert single.bass == pytest.approx(stereo.bass, abs=1e-3)
    assert single.bass == pytest.approx(reference.bass, abs=0.05)


@pytest.mark.parametrize("length", [1, 100, 3000])
def test_very_short_sounds(tmp_path: Path, length: int) -> None:
    heard = hear(write(tmp_path, tone(500, 1)[:length] + 0.01), 24, 1)
    assert len(heard.onset) == 1


def test_faults(tmp_path: Path) -> None:
    audio = write(tmp_path, tone(500, 2))
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    for name, message in {
        "text.wav": "is no sound file that is known here",
        "empty.wav": "is empty",
        "missing.wav": "no such file",
    }.items():
        for look in (sound_seconds, lambda audio: hear(audio, 24, 24)):
            with pytest.raises(DataError, match=rf"{name}: {message}"):
                look(Audio(file=str(tmp_path / name)))
    with pytest.raises(DataError, match="lasts 2 seconds; it cannot start at 2"):
        hear(audio.model_copy(update={"start": 2.0}), 24, 24)
    for fps, frames in ((0, 24), (math.nan, 24), (24, 0), (24, 10**7)):
        with pytest.raises(UsageError, match=r"^fps|frames;"):
            hear(audio, fps, frames)
    broken = tone(500, 2)
    broken[3 * RATE // 2] = math.nan
    with pytest.raises(DataError, match=r"at 1\.500 seconds, is no finite number"):
        hear(write(tmp_path, broken), 24, 24)


def test_a_changed_file_is_heard_again_and_another_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(analysis, "listen", lambda *args: calls.append(args) or listen(*args))
    audio = write(tmp_path, tone(80, 1))
    first = hear(audio, 24, 24)
    assert hear(Audio(file=audio.file), 24, 24) is first
    assert len(calls) == 1
    write(tmp_path, tone(5000, 1))
    os.utime(audio.file, ns=(1, 1))
    assert hear(audio, 24, 24).treble != first.treble
    assert len(calls) == 2


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    block = (1000 * hits("snare", [0.5, 1.0], 2, 8000)).astype(numpy.int16)
    with soundfile.SoundFile(path, "w", 8000, 1) as file:
        for _ in range(900):
            file.write(block)
    hear(Audio(file=str(path)), 24, 48)
    peaks = []
    for start in (2.0, 1700.0):
        tracemalloc.start()
        heard = hear(Audio(file=str(path), start=start), 24, 96)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert heard.tempo > 0
    # Half an hour at 8 kHz is 58 MB of floats.
    assert max(peaks) < 40_000_000


def test_settings_and_names_need_no_libraries() -> None:
    code = (
        "import sys; import sdcreative.sound.settings, sdcreative.core.schedules; "
        "print(sorted({'numpy', 'librosa', 'soundfile', 'torch', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_settings_are_strict() -> None:
    assert Audio(file="a.wav").drive == "onset"
    for wrong in (
        {"start": -1},
        {"pull": 1.1},
        {"bpm": 0},
        {"drive": "drums"},
        {"fade_in": math.nan},
        {"beats_per_bar": 0},
        {"volume": 1},
        {"file": ""},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Audio(**{"file": "a.wav", **wrong})  # type: ignore[arg-type]


def test_heard_is_a_hearing_for_schedules(tmp_path: Path) -> None:
    from sdcreative.core.schedules import parse_schedule

    heard: Heard = hear(write(tmp_path, hits("kick", [0.5], 1)), 10, 10)
    schedule = parse_schedule("0:(2 + 3*bass)")
    assert [schedule.at(frame, 9, 0, heard) for frame in range(10)] == [
        2 + 3 * value for value in heard.bass
    ]
