"""Films that go by a sound: keyframes on its beats, progress and schedules that follow it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sdcreative import Audio, Blend, DataError, SettingError, Shot, Sound, Studio, Timeline, hear
from sdcreative_plugins.animate.settings import AnimateSettings
from sdcreative_plugins.animate.timeline import timeline

RATE = 22_050
# At no steady pace, so that only one lag fits.
IRREGULAR = (0.31, 0.74, 0.98, 1.66, 1.83, 2.57, 3.08, 3.49, 4.36, 4.6, 5.17)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def clicks(times: Sequence[float], seconds: float, name: str = "clicks.wav") -> dict[str, Any]:
    """A file of short clicks, as a preset names it."""
    samples = np.zeros(round(seconds * RATE))
    click = np.sin(2 * math.pi * 1000 * np.arange(400) / RATE) * np.exp(-np.arange(400) / 80)
    for time in times:
        start = round(time * RATE)
        samples[start : start + 400] += click[: len(samples) - start]
    soundfile.write(name, samples, RATE)
    return {"file": name}


def film(*keyframes: Any, **settings: Any) -> Timeline:
    return timeline(AnimateSettings(keyframes=list(keyframes), **({"coherence": 0} | settings)))


def shots(made: Timeline) -> list[Shot]:
    return [frame for frame in made if isinstance(frame, Shot)]


def places(made: Timeline) -> np.ndarray:
    """How far along the path of the prompts a, b, c, ... every frame is."""
    return np.array([ord(shot.prompt.start) - ord("a") + shot.prompt.t for shot in shots(made)])


def lag(heard: Sequence[float], change: Sequence[float]) -> int:
    """By how many frames what is seen comes after what is heard."""
    left, right = (np.asarray(values) - np.mean(values) for values in (heard, change))
    return int(np.correlate(right, left, mode="full").argmax()) - (len(left) - 1)


def test_a_film_is_as_long_as_its_sound() -> None:
    audio = clicks([0.3], 2.1) | {"drive": "none"}
    found = shots(film("a", "b", "c", audio=audio, fps=10))
    assert len(found) == 21
    assert [found[i].prompt for i in (0, 10, 20)] == [Blend("a"), Blend("b"), Blend("c")]
    later = film("a", "b", "c", audio=audio | {"start": 1.0}, fps=10)
    assert len(later) == 11
    assert len(film("a", "b", audio=audio, fps=10, seconds=1)) == 10
    assert len(film("a", "b", "c", audio=audio, fps=10, loop=True)) == 21


def test_holds_are_taken_from_the_sound() -> None:
    audio = clicks([0.3], 1.0) | {"drive": "none"}
    found = places(film({"prompt": "a", "hold": 0.4}, "b", audio=audio, fps=10))
    assert len(found) == 10
    assert list(found[:5]) == [0] * 5
    with pytest.raises(
        SettingError, match=r"^the keyframes are held for 20 of 9 frames; hold them for less"
    ):
        film({"prompt": "a", "hold": 2}, "b", audio=audio, fps=10)


def test_a_film_holds_its_sound_unless_it_is_mute() -> None:
    audio = clicks([0.3], 2.0) | {"start": 0.5, "fade_in": 0.1, "fade_out": 0.2}
    assert film("a", "b", audio=audio).sound == Sound("clicks.wav", 0.5, 0.1, 0.2)
    assert film("a", "b", audio=audio, timing="perceptual").sound is not None
    assert film("a", "b", audio=audio | {"mute": True}).sound is None
    assert film("a", "b").sound is None


def test_keyframes_lie_on_known_beats() -> None:
    audio = clicks([0.3], 6.0) | {"bpm": 60, "first_beat": 0.5, "beats_per_bar": 3, "drive": "none"}
    keyframes = ["a", {"prompt": "b", "at": "beat 2"}, {"prompt": "c", "at": "bar 2"}]
    found = shots(film(*keyframes, audio=audio, fps=10))
    assert len(found) == 36
    assert [found[i].prompt for i in (0, 15, 35)] == [Blend("a"), Blend("b"), Blend("c")]


def test_keyframes_lie_on_beats_that_are_heard() -> None:
    times = [0.5 + i / 2 for i in range(16)]
    keyframes = ["a", {"prompt": "b", "at": "beat 3"}, {"prompt": "c", "at": "bar 3"}]
    found = places(film(*keyframes, audio=clicks(times, 8.5) | {"drive": "none"}, fps=24))
    for place, time in ((1, times[2]), (2, times[8])):
        assert abs(np.interp(place, found, np.arange(len(found))) - time * 24) <= 1.5
    assert abs(len(found) - 1 - times[8] * 24) <= 1.5


def test_beats_go_on_after_the_sound() -> None:
    audio = clicks([0.3], 2.0) | {"bpm": 60, "first_beat": 0.0}
    found = film("a", {"prompt": "b", "at": "beat 5"}, audio=audio, fps=10)
    assert len(found) == 41


@pytest.mark.parametrize("drive", ["onset", "loudness"])
def test_a_film_moves_when_something_is_heard(drive: str) -> None:
    audio = clicks(IRREGULAR, 6.0) | {"drive": drive}
    made = film("a", "b", "c", audio=audio, fps=24)
    heard = hear(Audio(**audio), 24, len(made))
    change = np.diff(places(made), prepend=0)
    assert (change >= 0).all()
    assert abs(lag(heard.onset, change)) <= 1
    struck = np.zeros(len(made))
    struck[[round(time * 24) for time in IRREGULAR]] = 1
    assert abs(lag(struck, change)) <= 1


def test_the_pull_of_the_sound_may_be_weaker_or_none() -> None:
    audio = clicks(IRREGULAR, 6.0)

    def largest(**more: Any) -> float:
        return float(np.diff(places(film("a", "b", audio=audio | more, fps=10))).max())

    assert largest(pull=1.0) > largest(pull=0.5) > largest(pull=0.0)
    assert largest(pull=0.0) == pytest.approx(1 / 59) == largest(drive="none")


def test_a_circle_of_noise_follows_the_sound() -> None:
    audio = clicks(IRREGULAR, 6.0)
    made = film("a", audio=audio, fps=24, loop=True, noise="circle", noise_radius=0.5)
    points = [dict(shot.noise.terms) for shot in shots(made)]  # type: ignore[union-attr]
    angles = np.unwrap([math.atan2(one.get(2, 0.0), one.get(1, 0.0)) for one in points])
    heard = hear(Audio(**audio), 24, len(made))
    assert abs(lag(heard.onset, np.diff(angles, prepend=0))) <= 1


def test_schedules_hear() -> None:
    audio = clicks(IRREGULAR, 3.0)
    made = film(
        "a", "b", audio=audio, fps=12, guidance_scale="2 + 3*onset", variation_seed=9,
        variation="0.5*loudness",
    )  # fmt: skip
    heard = hear(Audio(**audio), 12, len(made))
    found = shots(made)
    assert [shot.guidance_scale for shot in found] == [2 + 3 * value for value in heard.onset]
    assert max(shot.guidance_scale for shot in found) > 4 > found[0].guidance_scale
    assert [shot.noise.t for shot in found] == [0.5 * value for value in heard.loudness]  # type: ignore[union-attr]


@pytest.mark.parametrize("drive", ["none", "onset"])
def test_schedules_that_leave_their_range_are_found(drive: str) -> None:
    audio = clicks(IRREGULAR, 3.0) | {"drive": drive}
    with pytest.raises(SettingError, match=r"^1\d\d\.?\d* at frame \d+; keep"):
        film("a", "b", audio=audio, guidance_scale="200*onset")
    with pytest.raises(SettingError, match=r"^102 at frame 34; keep it within"):
        film("a", "b", audio=audio, guidance_scale="3*t")


def test_nothing_is_heard_before_the_film_is_made() -> None:
    keyframes = ["a", {"prompt": "b", "at": "beat 5"}]
    settings = AnimateSettings(keyframes=keyframes, audio={"file": "none.wav"})
    with pytest.raises(DataError, match=r"^none.wav"):
        timeline(settings)
    AnimateSettings(keyframes=["a", "b"], audio={"file": "none.wav"}, guidance_scale="5*bass")


def test_what_is_strong_is_measured_in_the_film_alone() -> None:
    """The first half of the sound is soft, and the film ends with it."""
    times = [0.5 + i / 2 for i in range(16)]
    audio = clicks(times, 8.5) | {"drive": "none"}
    samples, rate = soundfile.read(audio["file"])
    samples[: round(4.25 * rate)] *= 0.05
    soundfile.write(audio["file"], samples, rate, subtype="FLOAT")
    made = film(
        "a", {"prompt": "b", "at": "beat 7"}, audio=audio, fps=12, guidance_scale="loudness"
    )
    scales = [shot.guidance_scale for shot in shots(made)]
    assert len(scales) == 43
    assert scales == list(hear(Audio(**audio), 12, len(scales)).loudness)
    assert max(scales) == 1


def test_beats_that_are_not_found_are_told_where_they_are_wanted() -> None:
    audio = clicks([], 2.0)
    with pytest.raises(SettingError, match=r"^no beat was found; give 'bpm'") as error:
        film("a", {"prompt": "b", "at": "beat 5"}, audio=audio)
    assert error.value.path == ("keyframes", 1, "at")


def test_times_that_the_beats_turn_out_not_to_fit_are_told() -> None:
    audio = clicks([0.3], 6.0) | {"bpm": 60, "first_beat": 0.5}
    keyframes = ["a", {"prompt": "b", "at": "beat 3"}, {"prompt": "c", "at": 2.0}]
    with pytest.raises(SettingError, match=r"^not later than the keyframe before it"):
        film(*keyframes, audio=audio)


def test_what_is_heard_gives_the_share_and_arcs_give_the_place() -> None:
    class Square:
        length = 1.0

        def at(self, share: float) -> float:
            return math.sqrt(share)

    made = film("a", "b", audio=clicks(IRREGULAR, 3.0), fps=12, timing="perceptual")
    retiming = made.retiming
    assert retiming is not None
    placed = retiming.timeline([Square()])
    assert places(placed)[:-1] == pytest.approx(np.sqrt(places(made)[:-1]))
    assert np.ptp(np.diff(places(made))) > 0.05


def test_pictures_change_when_something_is_heard(studio: Studio) -> None:
    audio = clicks(IRREGULAR[:6], 2.75)
    keyframes = [{"prompt": "a", "seed": 1}, {"prompt": "b", "seed": 2}]
    made = film(*keyframes, audio=audio, fps=12, steps=2, device="cpu")
    film_pixels = np.stack([np.asarray(picture, dtype=int) for picture in studio.render(made)])
    change = np.abs(np.diff(film_pixels, axis=0)).mean(axis=(1, 2, 3))
    heard = hear(Audio(**audio), 12, len(made))
    assert abs(lag(heard.onset, [0.0, *change])) <= 1
    struck = [round(time * 12) - 1 for time in IRREGULAR[:6]]
    assert change[struck].mean() > 3 * np.delete(change, struck).mean()
