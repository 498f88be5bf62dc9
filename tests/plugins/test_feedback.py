"""The `feedback` tool: settings, what each frame follows, and films of the built-in model."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from sdcreative import Blend, Follow, Motion, Noise, PresetError, SettingError, Shot, Studio, hear
from sdcreative.core.motion import followed, move
from sdcreative.media.writers import count_frames
from sdcreative.presets import bundled_presets, load_preset, validate
from sdcreative.produce import produce
from sdcreative_plugins.feedback import sdcreative_tools
from sdcreative_plugins.feedback.settings import FeedbackSettings
from sdcreative_plugins.feedback.timeline import timeline

RATE = 22_050


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> FeedbackSettings:
    """Settings of a preset; its text begins on line 2."""
    Path("film.yaml").write_text(f"plugin: feedback\n{text}\n", encoding="utf-8")
    return validate(load_preset("film.yaml"), FeedbackSettings)


def settings(**changes: Any) -> FeedbackSettings:
    given = {"prompts": "a bear", "frames": 6, "steps": 2, "device": "cpu"}
    return FeedbackSettings.model_validate(given | changes)


def shots(**changes: Any) -> list[Shot]:
    film = timeline(settings(**changes))
    found = [frame for frame in film if isinstance(frame, Shot)]
    assert len(found) == film.length
    return found


def follows(**changes: Any) -> list[Follow]:
    """What the second frame and those after it begin with."""
    return [shot.image for shot in shots(**changes)[1:] if isinstance(shot.image, Follow)]


def clicks(path: str = "clicks.wav", seconds: float = 4.0) -> str:
    """A short burst of noise at every full second, and silence in between."""
    samples = np.zeros(int(seconds * RATE), np.float32)
    burst = np.random.default_rng(1).normal(0, 0.3, RATE // 20)
    for second in range(int(seconds)):
        samples[second * RATE :][: len(burst)] += burst
    soundfile.write(path, samples, RATE)
    return path


def array(picture: Image.Image) -> np.ndarray[Any, Any]:
    return np.asarray(picture).astype(float)


def test_every_frame_but_the_first_follows_the_one_before() -> None:
    found = shots()
    assert (found[0].image, found[0].strength) == (None, 1.0)
    assert [shot.image for shot in found[1:]] == [
        Follow(colours="lab", seed=seed) for seed in range(1, 6)
    ]
    assert {shot.strength for shot in found[1:]} == {0.4}


def test_what_a_frame_is_made_of_is_said_by_schedules() -> None:
    found = follows(
        zoom="1 + t/100", angle={0: 0, 5: 10}, shift_x="0:(1), 4:(5)", shift_y=-2,
        centre_x=0.25, centre_y="0.5 + t/10", sharpen="t/5", grain="max_f/100", seed=7,
        border="wrap", colours="rgb",
    )  # fmt: skip
    assert found[2] == Follow(
        Motion(1.03, 6.0, (4.0, -2.0), (0.25, 0.8), "wrap"), "rgb", 0.6, 0.05, 10
    )
    shown = shots(strength="t/10", guidance_scale={0: 1, 5: 6}, negative_prompt="a cat")
    assert [shot.strength for shot in shown] == pytest.approx([1, 0.1, 0.2, 0.3, 0.4, 0.5])
    assert [shot.guidance_scale for shot in shown] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert {shot.negative for shot in shown} == {Blend("a cat")}


def test_seeds_step_stay_or_are_drawn() -> None:
    top = 2**32 - 2
    assert [shot.noise for shot in shots(seed=top, frames=4)] == [
        Noise(seed) for seed in (top, top + 1, 0, 1)
    ]
    assert {shot.noise for shot in shots(seeds="fixed", seed=3)} == {Noise(3)}
    drawn = [shot.noise for shot in shots(seeds="random", seed=3)]
    assert len(set(drawn)) == 6
    assert drawn == [shot.noise for shot in shots(seeds="random", seed=3)]
    assert drawn != [shot.noise for shot in shots(seeds="random", seed=4)]


def test_noise_goes_towards_a_variation_seed() -> None:
    found = [shot.noise for shot in shots(variation_seed=3, variation="t/10")]
    assert found[:3] == [Noise(0), Noise(1, 3, 0.1), Noise(2, 3, 0.2)]
    # The seed that it leads to is that of frame 3 itself.
    assert found[3:5] == [Noise(3), Noise(4, 3, 0.4)]


@pytest.mark.parametrize(
    ("prompts", "ease", "expected"),
    [
        ("a", "linear", [Blend("a")] * 5),
        ("a | c", "linear", [Blend("a"), *(Blend("a", "c", t / 4) for t in (1, 2, 3)), Blend("c")]),
        (["a", "b", "c"], "linear", "a ab b bc c"),
        (["a", "c"], "hold", "a a a c c"),
        ({0: "a", 2: "c"}, "linear", "a ac c c c"),
        ({"0": "a", "2": "c"}, "hold", "a a c c c"),
        ({1: "a", 3: "c"}, "linear", "a a ac c c"),
        ({0: "a", 3: "a", 4: "c"}, "linear", "a a a a c"),
        ({0: "a", 3: "b", 8: "c"}, "hold", "a a a b b"),
        ({3: "a"}, "linear", "a a a a a"),
    ],
)
def test_prompts(prompts: Any, ease: str, expected: Any) -> None:
    if isinstance(expected, str):
        words = expected.split()
        expected = [Blend(*word, t=0.5) if word[1:] else Blend(word) for word in words]
    assert [shot.prompt for shot in shots(prompts=prompts, ease=ease, frames=5)] == expected


def test_a_prompt_after_the_end_is_on_its_way() -> None:
    found = shots(prompts={0: "a", 10: "c"}, frames=5)
    assert found[4].prompt == Blend("a", "c", 0.4)


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("prompts: a", 48),
        ("prompts: a | b", 96),
        ("prompts: [a, b, c]\nfps: 10", 120),
        ("prompts: {0: a, 60: b}", 108),
        ("prompts: a\nseconds: 2", 24),
        ("prompts: a\nseconds: 0.01", 2),
        ("prompts: a\nframes: 7", 7),
    ],
)
def test_lengths(text: str, frames: int) -> None:
    assert timeline(load(text)).length == frames


def test_the_film_begins_with_a_picture() -> None:
    Image.new("RGB", (8, 8), (200, 10, 10)).save("start.png")
    found = shots(image="start.png", strength="0.2 + t/10")
    assert isinstance(found[0].image, Image.Image) and found[0].strength == 0.2
    assert isinstance(found[1].image, Follow) and found[1].strength == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("promts: a", "2:1: unknown key 'promts'; did you mean 'prompts'?"),
        ("prompts: 3", "2:10: prompts: 3 is not text or a list or a mapping of keys"),
        ("prompts: []", "2:10: prompts: 0 items; at least 1 item"),
        ('prompts: {0: a, "0": b}', "2:22: prompts.0: frame 0 again; keep one of them"),
        (
            "prompts: a | b | c\nframes: 2",
            "2:10: prompts: 3 prompts in 2 frames; give one or more frames to each",
        ),
        ("prompts: a\nzoom: 0", "3:7: zoom: 0 is too small; at least 0.1"),
        ("prompts: a\nstrength: 1.2", "3:11: strength: 1.2 is too large; at most 1"),
        (
            "prompts: a\nstrength: t/10",
            "3:11: strength: 1.1 at frame 11; keep it within 0 and 1, as with clip(..., 0, 1)",
        ),
        (
            "prompts: a\nangle: 1/t",
            "3:8: angle: '1/t' has no value at frame 0: it divides by 0",
        ),
        (
            "prompts: a\nzoom: 1 + onset",
            "3:7: zoom: it hears a sound; give one with 'audio'",
        ),
        ("prompts: a\ntranslation_x: 1", "3:16: translation_x: is Deforum's; give 'shift_x'"),
        (
            "prompts: a\nstrength_schedule: 0:(0.6)",
            "3:20: strength_schedule: is Deforum's; give 'strength', 1 minus Deforum's",
        ),
        (
            "prompts: a\nmax_frames: 9\ntranslation_y: 1",
            "3:13: max_frames: is Deforum's; give 'frames'; for translation_y give 'shift_y'",
        ),
        ("prompts: a\nW: 512", "3:4: W: is Deforum's; give 'size', as in 768x512"),
        (
            "prompts: a\nseed: 3\nseeds: fixed\nvariation_seed: 3\nvariation: 0.2",
            "5:17: variation_seed: is the seed of all frames already; give another",
        ),
        ("prompts: a\nvariation: 1", "3:12: variation: needs 'variation_seed', where it leads to"),
        (
            "prompts: a\nvariation_seed: 1",
            "3:17: variation_seed: needs 'variation', how far to go there: 0 to 1",
        ),
        (
            "prompts: a\nframes: 9\nseconds: 3",
            "4:10: seconds: give 'frames' or 'seconds', not both",
        ),
        (
            "prompts: a\nseconds: 1000000",
            "3:10: seconds: a film of over 3,000,000 frames; shorten it",
        ),
        ("prompts: a\nborder: zero", "3:9: border: 'zero' is not 'reflect', 'wrap' or 'replicate'"),
        (
            "prompts: a\naudio: {file: a.wav}\nping_pong: true",
            "4:12: ping_pong: the way back would not follow the sound; leave it out",
        ),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert f"film.yaml:{message}" in str(error.value).splitlines()


def test_a_million_frames_are_not_made_before_they_are_asked_for() -> None:
    film = timeline(settings(frames=1_000_000, seeds="random"))
    assert len(list(islice(film, 3))) == 3


def test_a_film_with_a_sound_lasts_as_long_and_moves_with_it() -> None:
    clicks()
    film = timeline(
        settings(
            frames=None, prompts="a | b", zoom="1 + 0.1*onset",
            audio={"file": "clicks.wav", "fade_out": 0.5},
        )
    )  # fmt: skip
    assert film.length == 48
    assert film.sound is not None
    assert (film.sound.path, film.sound.fade_out) == ("clicks.wav", 0.5)
    heard = hear(settings(audio={"file": "clicks.wav"}).audio, 12, 48)
    found = [shot for shot in film if isinstance(shot, Shot)]
    zooms = [shot.image.motion.zoom for shot in found[1:] if isinstance(shot.image, Follow)]
    assert zooms == pytest.approx([1 + 0.1 * heard.at(frame)["onset"] for frame in range(1, 48)])
    assert max(zooms) > 1.05 and min(zooms) < 1.01
    # From prompt to prompt the film goes by leaps, on the clicks.
    steps = np.diff([shot.prompt.t for shot in found[:-1]])
    assert steps.max() > 3 * np.median(steps)


def test_a_sound_that_is_not_heard_and_does_not_drive() -> None:
    clicks(seconds=2)
    quiet = {"file": "clicks.wav", "mute": True, "drive": "none", "start": 1}
    film = timeline(settings(frames=None, audio=quiet, prompts="a | b"))
    assert (film.length, film.sound) == (12, None)
    steps = np.diff([shot.prompt.t for shot in film if isinstance(shot, Shot)][:-1])
    assert steps == pytest.approx([1 / 11] * 10)


def test_a_schedule_that_leaves_its_range_with_this_sound() -> None:
    clicks()
    loud = settings(audio={"file": "clicks.wav"}, strength="2*onset", frames=30)
    with pytest.raises(SettingError, match=r"^.* at frame \d+; keep it within 0 and 1"):
        timeline(loud)


def test_nothing_painted_anew_is_the_first_picture_moved(studio: Studio) -> None:
    film = settings(strength=0, zoom=1.1, angle=5, colours="none", frames=4)
    pictures = list(studio.render(timeline(film)))
    expected = pictures[0]
    for picture in pictures[1:]:
        expected = move(expected, Motion(1.1, 5))
        assert np.array_equal(array(picture), array(expected))


def test_a_frame_is_image_to_image_of_the_one_before(studio: Studio) -> None:
    film = timeline(settings(strength=0.5, zoom=1.2, sharpen=0.2, grain=0.02, frames=3, steps=4))
    pictures = list(studio.render(film))
    last = list(film)[2]
    assert isinstance(last, Shot) and isinstance(last.image, Follow)
    start = followed(last.image, pictures[1], pictures[0])
    start.save("start.png")
    again = timeline(
        settings(image="start.png", strength=0.5, seed=2, seeds="fixed", frames=2, steps=4)
    )
    assert np.abs(array(next(iter(studio.render(again)))) - array(pictures[2])).max() <= 1


def test_colours_stay_those_of_the_first_picture(studio: Studio) -> None:
    def drift(colours: str) -> float:
        film = settings(colours=colours, strength=0.5, zoom=1.1, frames=8, steps=4, seed=1,
                        guidance_scale=4.0)  # fmt: skip
        means = [array(picture).mean((0, 1)) for picture in studio.render(timeline(film))]
        return float(np.abs(means[-1] - means[0]).max())

    assert drift("lab") < 0.7 * drift("none")


def test_the_bundled_preset_is_made() -> None:
    [path] = [path for path in bundled_presets() if path.stem == "feedback_dive"]
    film = validate(load_preset(str(path)), FeedbackSettings)
    small = film.model_copy(
        update={"frames": 3, "seconds": None, "steps": 2, "device": "cpu", "output": "film.mp4"}
    )
    lines: list[str] = []
    produce(
        sdcreative_tools()[0],
        small,
        default_name="film",
        overwrite=False,
        dry_run=False,
        report=lines.append,
    )
    assert count_frames(Path("film.mp4")) == 3
    assert lines[-1].startswith("film.mp4: 3 frames of 64x64")
