"""Pictures of one's own in keyframes of `animate`, and noise that is varied with another seed's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcreative import (
    Blend,
    Crossfade,
    DataError,
    Inversion,
    Mixture,
    Noise,
    SettingError,
    Shot,
    Studio,
    seed_circle,
    seed_curve,
)
from sdcreative.models.vae import decode_latents, encode_pictures, to_pictures, to_pixels
from sdcreative.retiming import retime
from sdcreative_plugins.animate.settings import AnimateSettings, Keyframe
from sdcreative_plugins.animate.timeline import timeline


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pictures, smooth so that the autoencoder keeps them."""
    monkeypatch.chdir(tmp_path)
    ramp = np.linspace(40, 215, 64)
    across, down = np.meshgrid(ramp, ramp)
    for name, order in (("a.png", (across, down, 255 - across)), ("b.png", (down, across, down))):
        Image.fromarray(np.stack(order, axis=-1).astype(np.uint8)).save(name)


A = Keyframe(prompt="a", image="a.png")
B = Keyframe(prompt="b", image="b.png")


def shots(*keyframes: str | Keyframe, **settings: Any) -> list[Shot]:
    found = list(timeline(AnimateSettings(keyframes=list(keyframes), **settings)))
    assert all(isinstance(frame, Shot) for frame in found)
    return [frame for frame in found if isinstance(frame, Shot)]


def pixels(pictures: Any) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


def test_a_picture_is_one_noise_in_all_shots() -> None:
    found = shots(A, B, A, frames=9, negative_prompt="x", guidance_scale=3)
    first, second = found[0].noise.start, found[0].noise.end
    assert isinstance(first, Inversion)
    assert isinstance(second, Inversion)
    assert found[0].noise == Noise(first, second, 0.0)
    assert found[1].noise == Noise(first, second, 0.25)
    assert found[5].noise == Noise(second, first, 0.25)
    assert (first.prompt, first.negative, first.guidance_scale) == (Blend("a"), Blend("x"), 3)
    with Image.open("b.png") as file:
        assert np.array_equal(pixels([second.image])[0], np.asarray(file))
    assert {(shot.image, shot.strength, shot.trunk) for shot in found} == {(None, 1.0, None)}


def test_the_inversion_of_a_picture_has_the_guidance_of_its_frame() -> None:
    found = shots(A, B, frames=5, guidance_scale="1 + t")
    assert [found[0].noise.start.guidance_scale, found[0].noise.end.guidance_scale] == [1, 5]
    own = Keyframe(prompt="b", image="b.png", guidance_scale=2)
    assert shots(A, own, frames=5)[0].noise.end.guidance_scale == 2


def test_seeds_and_pictures_may_be_mixed() -> None:
    found = shots(A, Keyframe(prompt="b", seed=5), "c", frames=9, seed=2, path="smooth")
    picture = found[0].noise.start
    assert [shot.noise for shot in found[1:4]] == [Noise(picture, 5, t) for t in (0.25, 0.5, 0.75)]
    assert found[5].noise == Noise(5, 2, 0.25)
    assert found[1].prompt.curve is not None


def test_where_one_picture_stays_steps_are_shared() -> None:
    found = shots(A, A, B, frames=17, steps=20)
    assert found[4].noise == found[4].trunk.noise == Noise(found[0].noise.start)
    assert found[4].trunk.steps == 10
    assert found[12].trunk is None


def test_a_fade_shows_the_pictures_themselves() -> None:
    found = shots(A, B, "c", frames=13, images="fade", strength=0.5, seed=4)
    first, second = found[0].image, found[6].image
    assert isinstance(first, Image.Image)
    assert isinstance(second, Image.Image)
    assert [found[i].strength for i in (0, 6)] == [0.0, 0.0]
    assert {shot.noise for shot in found} == {Noise(4)}
    for i in range(1, 6):
        between = found[i].image
        assert isinstance(between, Crossfade)
        assert (between.start, between.end, between.t) == (first, second, pytest.approx(i / 6))
        assert found[i].strength == pytest.approx(0.5 * math.sin(math.pi * i / 6))
    for i in range(7, 12):
        assert found[i].image is second
        assert found[i].strength == pytest.approx(math.sin(math.pi / 2 * (i - 6) / 6))
    assert (found[12].image, found[12].strength) == (None, 1.0)
    assert {shot.trunk for shot in found} == {None}


def test_a_fade_to_a_picture_is_one_from_it_backwards() -> None:
    there = shots("a", B, frames=7, images="fade")
    back = shots(B, "a", frames=7, images="fade")
    assert [shot.strength for shot in there] == pytest.approx([s.strength for s in back[::-1]])
    assert there[0].image is None
    assert there[0].trunk is None


def test_plain_prompts_of_a_fade_share_steps_as_ever() -> None:
    found = shots("a", "b", A, frames=17, images="fade")
    plain = shots("a", "b", "a", frames=17)
    assert found[:9] == plain[:9]
    assert {shot.trunk for shot in found[9:]} == {None}


def test_the_strength_of_a_fade_may_change_with_the_frames() -> None:
    found = shots(A, B, A, frames=9, images="fade", strength={0: 0, 8: 1})
    assert [found[2].strength, found[6].strength] == pytest.approx([0.25, 0.75])


def test_a_fade_may_go_round_in_noise() -> None:
    found = shots(A, frames=8, loop=True, noise="circle", images="fade", strength=0.4)
    assert [s.noise for s in found] == [Mixture(seed_circle(0, 1, i / 8)) for i in range(8)]
    assert found[4].strength == pytest.approx(0.4)
    assert len({id(shot.image) for shot in found}) == 1


def test_a_picture_that_is_missing_is_named_when_the_film_is_made() -> None:
    settings = AnimateSettings(keyframes=["a", {"prompt": "b", "image": "c.png"}])
    with pytest.raises(DataError, match=r"^c.png: no such file$"):
        timeline(settings)


def test_noise_is_varied_on_the_arc_to_the_variation_seed() -> None:
    found = shots("a", "b", frames=9, seed=3, variation_seed=8, variation=0.25)
    assert {shot.noise for shot in found} == {Noise(3, 8, 0.25)}
    assert found[4].trunk.noise == Noise(3, 8, 0.25)
    assert shots("a", "b", frames=9, variation_seed=8, variation=0)[4].noise == Noise(0)


def test_a_variation_may_change_with_the_frames() -> None:
    found = shots("a", "b", frames=5, variation_seed=8, variation="t/4")
    assert [shot.noise for shot in found] == [
        Noise(0),
        *[Noise(0, 8, t) for t in (0.25, 0.5, 0.75, 1.0)],
    ]
    assert {shot.trunk for shot in found} == {None}


@pytest.mark.parametrize("path", ["straight", "smooth"])
def test_noise_that_travels_is_varied_by_an_angle(path: str) -> None:
    keyframes = [Keyframe(prompt="a", seed=seed) for seed in (1, 2, 3)]
    variation = {0: 0.25, 8: 0.5}
    for i, shot in enumerate(
        shots(*keyframes, frames=9, path=path, variation_seed=9, variation=variation)
    ):
        assert isinstance(shot.noise, Mixture)
        weights = dict(shot.noise.terms)
        assert sum(weight**2 for weight in weights.values()) == pytest.approx(1)
        assert weights[9] == pytest.approx(math.sin(math.pi / 2 * (0.25 + i / 32)))
        share = [weights.get(seed, 0) for seed in (1, 2, 3)]
        if path == "smooth" and i == 2:
            plain = dict(seed_curve([1, 2, 3], 0, 0.5))
            turned = math.cos(math.pi / 2 * (0.25 + i / 32))
            assert share == pytest.approx([plain.get(seed, 0) * turned for seed in (1, 2, 3)])


def test_a_circle_is_varied_too() -> None:
    found = shots("a", "b", frames=4, loop=True, noise="circle", variation_seed=9, variation=1)
    assert {shot.noise for shot in found} == {Noise(9)}


def test_inverted_pictures_are_met_and_left_again(studio: Studio) -> None:
    settings = AnimateSettings(
        keyframes=[A, {"prompt": "a bear", "seed": 5}, B],
        frames=5,
        steps=3,
        guidance_scale=3,
        device="cpu",
    )
    film = pixels(studio.render(timeline(settings)))
    for index, name in ((0, "a.png"), (4, "b.png")):
        with Image.open(name) as file:
            latents = encode_pictures(studio.parts, to_pixels([file]))
        [kept] = to_pictures(decode_latents(studio.parts, latents))
        assert np.abs(film[index] - np.asarray(kept, dtype=int)).max() <= 2
    bear = pixels([studio.picture("a bear", seed=5, steps=3, guidance_scale=3)])[0]
    assert np.abs(film[2] - bear).max() <= 1
    assert all(np.abs(film[i] - film[i - 1]).mean() > 1 for i in range(1, 5))


def test_a_fade_meets_its_pictures_exactly_and_paints_between_them(studio: Studio) -> None:
    settings = AnimateSettings(
        keyframes=[A, B, "a bear"], frames=9, steps=4, images="fade", strength=0.5, device="cpu"
    )
    film = pixels(studio.render(timeline(settings)))
    for index, name in ((0, "a.png"), (4, "b.png")):
        with Image.open(name) as file:
            assert np.array_equal(film[index], pixels([file])[0])
    assert np.abs(film[8] - pixels([studio.picture("a bear", steps=4)])[0]).max() <= 1
    assert all(np.abs(film[i] - film[i - 1]).mean() > 1 for i in range(1, 9))


def test_films_of_pictures_can_be_measured_and_placed_anew(studio: Studio) -> None:
    made = timeline(
        AnimateSettings(
            keyframes=[A, B],
            frames=5,
            steps=2,
            images="fade",
            timing="perceptual",
            metric="pixel",
            probes=5,
            device="cpu",
        )
    )
    fresh, _ = retime(studio, made)
    film = pixels(studio.render(fresh))
    with Image.open("b.png") as file:
        assert np.array_equal(film[-1], pixels([file])[0])


def test_a_drawn_seed_that_is_the_variation_seed_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = AnimateSettings(keyframes=["a", "b"], seed=-1, variation_seed=7, variation=0.5)
    with pytest.raises(SettingError, match=r"^the film's own noise is of seed 7"):
        timeline(settings.model_copy(update={"seed": 7}))
