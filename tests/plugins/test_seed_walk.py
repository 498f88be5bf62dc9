"""The `seed_walk` tool: settings, where its seeds lie, and films of the built-in model."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from sdcreative import (
    Blend,
    DataError,
    Mixture,
    Noise,
    PresetError,
    SettingError,
    Shot,
    Sound,
    Studio,
    find_metric,
)
from sdcreative.core.retiming import ArcLength, measure_steps
from sdcreative.media.writers import count_frames
from sdcreative.presets import bundled_presets, load_preset, schema, validate
from sdcreative.produce import produce
from sdcreative.retiming import retime
from sdcreative_plugins.seed_walk import sdcreative_tools
from sdcreative_plugins.seed_walk.settings import SeedWalkSettings
from sdcreative_plugins.seed_walk.timeline import timeline


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> SeedWalkSettings:
    """Settings of a preset; its text begins on line 2."""
    Path("walk.yaml").write_text(f"plugin: seed_walk\n{text}\n", encoding="utf-8")
    return validate(load_preset("walk.yaml"), SeedWalkSettings)


def settings(**changes: Any) -> SeedWalkSettings:
    given = {"prompt": "a bear", "seeds": [4, 9, 2], "steps": 2, "device": "cpu"}
    return SeedWalkSettings(**(given | changes))


def shots(walk: SeedWalkSettings) -> list[Shot]:
    film = timeline(walk)
    found = [frame for frame in film if isinstance(frame, Shot)]
    assert len(found) == film.length
    return found


def vector(noise: Noise | Mixture) -> dict[int, float]:
    return {noise.start: 1.0} if isinstance(noise, Noise) else dict(noise.terms)


def angle(a: Noise | Mixture, b: Noise | Mixture) -> float:
    u, v = vector(a), vector(b)
    return 2 * math.asin(math.hypot(*(u.get(s, 0.0) - v.get(s, 0.0) for s in u | v)) / 2)


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("ease", ["linear", "in-out", "hold"])
def test_a_list_walk_shows_every_seed_at_its_frame(smooth: bool, ease: str) -> None:
    noises = [shot.noise for shot in shots(settings(frames_per_seed=5, smooth=smooth, ease=ease))]
    assert len(noises) == 11
    assert [noises[i] for i in (0, 5, 10)] == [Noise(4), Noise(9), Noise(2)]
    if ease != "hold":
        assert sum(isinstance(noise, Noise) for noise in noises) == 3


def test_a_loop_goes_on_to_the_first_seed_and_stops_one_frame_before() -> None:
    noises = [shot.noise for shot in shots(settings(frames_per_seed=5, loop=True, smooth=False))]
    assert len(noises) == 15
    assert [noises[i] for i in (0, 5, 10)] == [Noise(4), Noise(9), Noise(2)]
    ring = [*noises, noises[0]]
    assert [angle(a, b) for a, b in pairwise(ring)] == pytest.approx([math.pi / 10] * 15)


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("frames: 11", [0, 5, 10]),
        ("frames: 10", [0, 5, 9]),
        ("frames: 3", [0, 1, 2]),
        ("frames: 10\nloop: true", [0, 3, 7, 10]),
        ("seconds: 2\nfps: 10", [0, 10, 19]),
        ("frames_per_seed: 7", [0, 7, 14]),
        ("seconds_per_seed: 0.75\nfps: 10", [0, 8, 15]),
        ("", [0, 24, 48]),
        ("walk: circle\nseeds: [4, 9]\nframes_per_seed: 3", [0, 12]),
        ("walk: circle\nseeds: [4, 9]\nframes: 10", [0, 10]),
        ("walk: around\nradius: 0.5\nseconds_per_seed: 2\nfps: 10", [0, 38]),
        ("walk: random\nframes: 10", [0, 9]),
        ("walk: random\nframes: 10\nloop: true", [0, 10]),
        ("walk: random\nframes_per_seed: 5", [0, 10]),
        ("walk: random\nseeds: [4]\nframes_per_seed: 5", [0, 35]),
        ("walk: random\nframes_per_seed: 5\nframes: 100", [0, 99]),
    ],
)
def test_when_seeds_are_shown(text: str, times: list[int]) -> None:
    seeds = "" if "seeds:" in text else "\nseeds: [4, 9, 2]"
    walk = load(f"prompt: a{seeds}\n{text}")
    assert walk.times() == times
    assert len(shots(walk)) == times[-1] + (0 if walk.closed else 1)
    if walk.walk == "list":
        assert [shots(walk)[time].noise for time in times[:3]] == [Noise(4), Noise(9), Noise(2)]


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("walk: circle\nseed: 7", [7, 8]),
        ("walk: circle\nseeds: [5]", [5, 6]),
        ("walk: around\nseeds: [5, 6]", [5, 6, 7]),
        ("walk: around\nseeds: [6, 5]", [6, 5, 7]),
        (f"walk: around\nseeds: [{2**32 - 1}]", [2**32 - 1, 0, 1]),
        ("walk: random\nseeds: [3]", list(range(3, 11))),
        ("walk: random\nseeds: [9, 3]", [9, 3, 4, 5, 6, 7, 8, 10]),
        ("walk: random\nseeds: [1, 5, 20]", [1, 5, 20]),
    ],
)
def test_seeds_that_are_not_given_follow_the_last(text: str, seeds: list[int]) -> None:
    assert load(f"prompt: a\n{text}").stops == seeds


def test_a_circle_meets_both_seeds() -> None:
    noises = [s.noise for s in shots(settings(walk="circle", seeds=[4, 9], frames=8))]
    assert (noises[0], noises[2], noises[4]) == (Noise(4), Noise(9), Mixture(((4, -1.0),)))
    ring = [*noises, noises[0]]
    assert [angle(a, b) for a, b in pairwise(ring)] == pytest.approx([math.pi / 4] * 8)


def test_around_keeps_its_distance() -> None:
    found = shots(settings(walk="around", radius=0.3, frames=9))
    assert [angle(Noise(4), s.noise) for s in found] == pytest.approx([0.3] * 9)


@pytest.mark.parametrize("loop", [False, True])
def test_a_random_walk_takes_a_quarter_turn_per_seed(loop: bool) -> None:
    walk = settings(walk="random", seeds=None, seed=3, frames_per_seed=20, frames=60, loop=loop)
    noises = [shot.noise for shot in shots(walk)]
    assert noises[0] == Noise(3)
    path = [*noises, noises[0]] if loop else noises
    found = [angle(a, b) for a, b in pairwise(path)]
    assert found == pytest.approx([math.pi / 40] * len(found), rel=0.03 if loop else 1e-9)
    again = walk.model_copy(update={"seed": 4, "seeds": walk.stops})
    assert shots(again)[5].noise != noises[5]


@pytest.mark.parametrize("walk", ["list", "circle", "around", "random"])
def test_a_timeline_gives_the_same_frames_each_time(walk: str) -> None:
    seeds = [4, 9] if walk == "circle" else [4, 9, 2]
    film = timeline(settings(walk=walk, seeds=seeds, frames=7, loop=walk == "random"))
    assert list(film) == list(film)


def test_one_prompt_and_what_goes_with_it_are_in_every_shot() -> None:
    walk = settings(frames=5, negative_prompt="blue", guidance_scale=3)
    for shot in shots(walk):
        assert (shot.prompt, shot.negative, shot.guidance_scale) == (
            Blend("a bear"),
            Blend("blue"),
            3.0,
        )


@pytest.mark.parametrize("prompts", ["bear | apple", ["bear", "apple"]])
def test_prompts_travel_over_the_whole_film(prompts: Any) -> None:
    found = [s.prompt for s in shots(settings(prompt=None, prompts=prompts, frames=5))]
    assert found == [
        Blend("bear"),
        Blend("bear", "apple", 0.25),
        Blend("bear", "apple", 0.5),
        Blend("bear", "apple", 0.75),
        Blend("apple"),
    ]
    loop = settings(prompt=None, prompts=prompts, frames=4, loop=True)
    assert [s.prompt for s in shots(loop)] == [
        Blend("bear"),
        Blend("bear", "apple", 0.5),
        Blend("apple"),
        Blend("apple", "bear", 0.5),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [1, 2]", " missing key 'prompt', or 'prompts: a bear | an apple'"),
        ("prompt: a", " seeds: give two seeds or more, as in 'seeds: [1, 2, 3]'"),
        ("prompt: a\nseeds: [1]", "3:8: seeds: give two seeds or more"),
        ("prompt: a\nseeds: [1, -1]", "3:12: seeds.1: -1 is too small; at least 0"),
        ("prompt: a\nseeds: 3", "3:8: seeds: 3 is not a list"),
        ("prompt: a\nprompts: b|c\nseeds: [1, 2]", "3:10: prompts: give 'prompt' or 'prompts'"),
        ("prompts: a\nseeds: [1, 2]", "2:10: prompts: one prompt; write two or more with '|'"),
        ("prompt: a\nseeds: [1, 2]\nease: bounc", "4:7: ease: no easing is called 'bounc'"),
        (
            "prompt: a\nseeds: [1, 2]\nframes: 9\nseconds: 2",
            "5:10: seconds: give 'frames' or 'seconds', not both",
        ),
        (
            "prompt: a\nseeds: [1, 2]\nframes: 9\nframes_per_seed: 2",
            "5:18: frames_per_seed: the film is as long as 'frames' says; leave this out",
        ),
        (
            "prompt: a\nseeds: [1, 2, 3, 4, 5]\nframes: 4",
            "4:9: frames: less than a frame from seed to seed; give more time",
        ),
        (
            "prompt: a\nseeds: [1, 2]\nseconds_per_seed: 0.01",
            "4:19: seconds_per_seed: less than a frame from seed to seed",
        ),
        (
            "prompt: a\nseeds: [1, 2]\nseconds: 1e9",
            "4:10: seconds: a film of over 3,000,000 frames; shorten it",
        ),
        (
            "prompt: a\nseeds: [1, 2]\nloop: true\nping_pong: true",
            "5:12: ping_pong: this walk comes back by itself; leave it out",
        ),
        (
            "prompt: a\nseeds: [1, 2]\nping_pong: true\naudio: {file: a.wav}",
            "4:12: ping_pong: the way back would not follow the sound; leave it out",
        ),
        ("prompt: a\nwalk: circle\nping_pong: true", "4:12: ping_pong: this walk comes back"),
        (
            "prompt: a\nwalk: circle\nseeds: [1, 2, 3]",
            "4:8: seeds: 'walk: circle' has at most 2 seeds",
        ),
        (
            "prompt: a\nwalk: random\nseeds: [1, 1]",
            "4:8: seeds: 'walk: random' takes each seed only once",
        ),
        ("prompt: a\nseeds: [1, 2]\nradius: 0.2", "4:9: radius: is for 'walk: around', not 'list'"),
        ("prompt: a\nwalk: around\nradius: 2", "4:9: radius: 2 is too large; at most 1.5708"),
        (
            "prompt: a\nseeds: [1, 2]\ntiming: perceptual\nmetric: latnt",
            "5:9: metric: no metric is called 'latnt'",
        ),
        ("prompt: a\nseeds: [1, 2]\nprobes: 2", "4:9: probes: 2 is too small; at least 3"),
        ("prompt: a\nseeds: [1, 2]\ncoherence: 0.5", "4:1: unknown key 'coherence'"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert str(error.value).startswith(f"walk.yaml:{message}")


def turns(noises: list[Noise | Mixture], closed: bool = False) -> list[float]:
    return [angle(a, b) for a, b in pairwise([*noises, noises[0]] if closed else noises)]


def test_an_eased_random_walk_goes_the_same_way_at_another_speed() -> None:
    walk = settings(walk="random", frames_per_seed=20, frames=41)
    even, eased = (
        [s.noise for s in shots(each)] for each in (walk, walk.model_copy(update={"ease": "in"}))
    )
    assert (eased[0], eased[-1]) == (even[0], even[-1])
    found = turns(eased)
    assert 4 * found[0] < found[20] < found[-1] / 1.3
    assert sum(found) == pytest.approx(sum(turns(even)), rel=0.02)
    assert min(angle(eased[20], noise) for noise in even) < max(turns(even)) / 2


def test_prompts_travel_with_the_noise() -> None:
    walk = settings(prompt=None, prompts="a | b", seeds=[4, 9], frames=5, ease="in", smooth=False)
    for shot in shots(walk):
        t = shot.prompt.t if shot.prompt.end else float(shot.prompt.start == "b")
        assert angle(Noise(4), shot.noise) == pytest.approx(t * math.pi / 2)


class Half(NamedTuple):
    """An arc whose first half is passed in no time."""

    length: float

    def at(self, share: float) -> float:
        return 0.0 if share == 0 else (1 + share) / 2


@pytest.mark.parametrize("walk", ["list", "circle", "around", "random"])
@pytest.mark.parametrize("loop", [False, True])
def test_frames_lie_at_equal_shares_of_the_arcs(walk: str, loop: bool) -> None:
    seeds = [4, 9] if walk == "circle" else [4, 9, 2]
    walk_settings = settings(walk=walk, seeds=seeds, frames=13, loop=loop, timing="perceptual")
    frames = 12 if walk_settings.closed else 13
    film = timeline(walk_settings.model_copy(update={"frames": frames}))
    retiming = film.retiming
    assert retiming is not None
    legs = {("list", False): 2, ("list", True): 3}.get((walk, loop), 1)
    assert (retiming.segments, retiming.metric, retiming.probes) == (legs, "latent", 33)
    placed = retiming.timeline([Half(1.0)] * legs)
    assert (placed.length, placed.retiming, placed.closed) == (frames, None, film.closed)
    for i, frame in enumerate(placed):
        assert isinstance(frame, Shot)
        leg, rest = divmod(i * legs, 12)
        at = (leg - 1, 1.0) if leg == legs else (leg, Half(1.0).at(rest / 12))
        assert angle(frame.noise, retiming.shot(*at).noise) < 1e-6
    ends = [retiming.shot(0, 0), retiming.shot(legs - 1, 1)]
    assert (ends[0].noise == ends[1].noise) == film.closed
    assert ends[0] == next(iter(film))


def test_legs_last_as_long_as_much_changes_on_them() -> None:
    film = timeline(settings(frames=13, timing="perceptual", smooth=False))
    retiming = film.retiming
    assert retiming is not None
    for lengths, frame in (((1.0, 9.0), 2), ((1.0, 1.0), 6), ((0.0, 1.0), 1), ((0.0, 0.0), 6)):
        arcs = [ArcLength((0.0, 1.0), (length,)) for length in lengths]
        noises = [f.noise for f in retiming.timeline(arcs) if isinstance(f, Shot)]
        assert [noises[i] for i in (0, frame, 12)] == [Noise(4), Noise(9), Noise(2)]


def test_a_walk_at_equal_visual_steps_is_more_even(studio: Studio) -> None:
    walk = settings(seeds=[4, 9], frames=9, steps=4, timing="perceptual", probes=17)
    film = timeline(walk)
    placed, _ = retime(studio, film)
    metric = find_metric("latent", studio)
    even, equal = (
        measure_steps(metric(list(studio.render(each)))).ratio
        for each in (replace(film, retiming=None), placed)
    )
    assert equal < 1.1 < 1.2 < even


@pytest.fixture
def clicks() -> str:
    """Two seconds of quiet, with a click at 0.5, at 1 and at 1.5."""
    samples = np.zeros(2 * 22050)
    for second in (0.5, 1.0, 1.5):
        begin = round(second * 22050)
        fading = np.exp(-np.arange(1500) / 200)
        samples[begin : begin + 1500] = np.random.default_rng(3).normal(size=1500) * fading / 4
    soundfile.write("clicks.wav", samples, 22050)
    return "clicks.wav"


@pytest.mark.parametrize("walk", ["circle", "around", "random"])
def test_a_film_moves_when_its_sound_does(clicks: str, walk: str) -> None:
    seeds = [4, 9] if walk == "circle" else [4, 9, 2]
    audio = {"file": clicks, "pull": 0.8, "fade_in": 0.25}
    film = timeline(settings(walk=walk, seeds=seeds, fps=20, audio=audio))
    assert film.length == 40
    assert film.sound == Sound(clicks, 0.0, 0.25, 0.0)
    steps = turns([frame.noise for frame in film if isinstance(frame, Shot)])
    # Step i leads to frame i + 1, and the clicks are on the frames 10, 20 and 30.
    loudest = sorted(range(len(steps)), key=lambda i: -steps[i])[:3]
    assert all(min(abs(i + 1 - frame) for frame in (10, 20, 30)) <= 1 for i in loudest)
    assert max(steps) > 4 * sorted(steps)[len(steps) // 2] > 0


def test_seeds_keep_their_frames_whatever_is_heard(clicks: str) -> None:
    walk = settings(fps=20, audio={"file": clicks, "mute": True}, frames_per_seed=10)
    film = timeline(walk)
    assert (film.length, film.sound) == (21, None)
    noises = [shot.noise for shot in shots(walk)]
    assert [noises[i] for i in (0, 10, 20)] == [Noise(4), Noise(9), Noise(2)]
    assert shots(settings(fps=20, audio={"file": clicks, "drive": "none"})) == shots(
        settings(fps=20, seconds=2)
    )


def test_a_sound_too_short_for_the_walk_is_said(clicks: str) -> None:
    with pytest.raises(SettingError, match="less than a frame from seed to seed"):
        timeline(settings(seeds=[1, 2, 3, 4, 5], fps=1, audio={"file": clicks}))
    with pytest.raises(DataError, match=r"lost\.wav"):
        timeline(settings(audio={"file": "lost.wav"}))


def test_every_setting_is_described() -> None:
    properties = schema(SeedWalkSettings)["properties"]
    own = set(SeedWalkSettings.__annotations__) - {"model_config"}
    assert [name for name in own if "description" not in properties[name]] == []


def test_the_bundled_preset_is_a_loop() -> None:
    [path] = [path for path in bundled_presets() if path.stem == "seed_walk"]
    walk = validate(load_preset(str(path)), SeedWalkSettings)
    assert walk.closed
    assert len(shots(walk)) == len(walk.stops) * 9


def pixels(pictures: Any) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.mark.parametrize("smooth", [True, False])
def test_seeds_give_exactly_their_plain_pictures(studio: Studio, smooth: bool) -> None:
    walk = settings(seeds=[4, 9, 2], frames_per_seed=2, smooth=smooth)
    film = pixels(studio.render(timeline(walk), batch_size=1))
    plain = pixels(studio.picture("a bear", seed=seed, steps=2) for seed in (4, 9, 2))
    assert (film[::2] == plain).all()
    assert np.abs(film[1] - film[0]).max() > 1 < np.abs(film[1] - film[2]).max()


@pytest.mark.parametrize("walk", ["around", "random"])
def test_frames_do_not_depend_on_the_batch(studio: Studio, walk: str) -> None:
    film = timeline(settings(walk=walk, frames=5))
    one, all_at_once = (pixels(studio.render(film, batch_size=size)) for size in (1, 5))
    assert np.abs(one - all_at_once).max() <= 1
    assert len({picture.tobytes() for picture in one}) == 5


def test_a_film_is_written(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    lines: list[str] = []
    [tool] = sdcreative_tools()
    produce(
        tool,
        settings(frames=3, output="walk.gif", ping_pong=True),
        default_name="walk",
        overwrite=False,
        dry_run=False,
        report=lines.append,
    )
    assert count_frames(Path("walk.gif")) == 4
    assert lines[-1].startswith("walk.gif: 4 frames of 64x64")
