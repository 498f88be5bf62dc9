from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from sdcreative import (
    Between,
    Blend,
    Frame,
    Mixture,
    Noise,
    RenderError,
    Shot,
    Timeline,
    Trunk,
)
from sdcreative.runs.keys import frame_keys

SHOT = Shot(Blend("a bear"), Noise(1))


def keys(*frames: Frame, model: str = "m", dtype: str = "float32", **timeline: object) -> list[str]:
    film = replace(Timeline(lambda: frames, len(frames)), **timeline)  # type: ignore[arg-type]
    return list(frame_keys(film, model=model, size=(64, 64), dtype=dtype))


def test_a_key_is_the_same_every_time_and_in_every_version() -> None:
    # Whoever changes this makes everyone render everything again; count FORMAT up if that is due.
    assert keys(SHOT) == keys(Shot(Blend("a bear"), Noise(1), guidance_scale=7.5))
    assert keys(SHOT) == ["f9f5855a9166575987ece5ab31cbfda1"]


@pytest.mark.parametrize(
    "other",
    [
        replace(SHOT, prompt=Blend("a cat")),
        replace(SHOT, prompt=Blend("a bear", "a cat", 0.5)),
        replace(SHOT, prompt=Blend("a bear", "a cat", 0.5, "lerp")),
        replace(SHOT, noise=Noise(2)),
        replace(SHOT, noise=Noise(1, 2, 1e-16)),
        replace(SHOT, noise=Mixture(((1, 1.0),))),
        replace(SHOT, negative=Blend("blurred")),
        replace(SHOT, guidance_scale=7.6),
        replace(SHOT, trunk=Trunk(Blend("a bear"), Noise(1), 3)),
        replace(SHOT, image=Image.new("RGB", (8, 8))),
        replace(SHOT, image=Image.new("RGB", (8, 8), "red")),
        replace(SHOT, image=Image.new("RGB", (8, 8)), strength=0.5),
        replace(SHOT, image=Image.new("RGB", (8, 8)), mask=Image.new("L", (8, 8))),
    ],
)
def test_whatever_changes_the_picture_changes_the_key(other: Shot) -> None:
    assert keys(other) != keys(SHOT)


def test_model_size_sampler_steps_and_type_are_in_the_key() -> None:
    others = [
        keys(SHOT, model="n"),
        keys(SHOT, dtype="float16"),
        keys(SHOT, steps=21),
        keys(SHOT, sampler="Euler"),
        list(frame_keys(Timeline(lambda: [SHOT], 1), model="m", size=(64, 72), dtype="float32")),
    ]
    assert len({key for each in [*others, keys(SHOT)] for key in each}) == 6


def test_how_a_film_is_played_is_not_in_the_key() -> None:
    assert keys(SHOT, fps=24.0, ping_pong=True, columns=3) == keys(SHOT)


def test_a_frame_between_has_its_neighbours_in_its_key() -> None:
    other = replace(SHOT, noise=Noise(2))
    one = keys(SHOT, Between(0.5), other)
    assert one[0] == keys(SHOT)[0]
    assert len({*one, *keys(SHOT, Between(0.25), other), *keys(other, Between(0.5), SHOT)}) == 5


def test_equal_pictures_have_equal_keys() -> None:
    one, two = (replace(SHOT, image=Image.new("RGB", (8, 8), "blue")) for _ in range(2))
    assert keys(one) == keys(two)


@pytest.mark.parametrize("frames", [(Between(0.5), SHOT), (SHOT, Between(0.5))])
def test_a_frame_between_needs_shots_on_both_sides(frames: tuple[Frame, ...]) -> None:
    with pytest.raises(RenderError, match="Between"):
        keys(*frames)
