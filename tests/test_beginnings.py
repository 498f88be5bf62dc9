"""What shots begin from besides seeds: inverted pictures, crossfades, the picture before."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcreative import Between, Blend, Noise, RenderError, Shot, Studio, Timeline, UsageError
from sdcreative.core.motion import followed
from sdcreative.core.shots import Crossfade, Follow, Inversion, Motion
from sdcreative.core.timeline import Frame
from sdcreative.rendering.planning import plan
from sdcreative.runs.kept import KeptFrames
from sdcreative.runs.keys import frame_keys
from sdcreative.runs.store import FrameStore
from sdcreative.verify import verify

BEAR, APPLE = "a picture of a bear", "a picture of a red apple"


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.load("emoji")


@pytest.fixture(scope="module")
def pictures(studio: Studio) -> tuple[Image.Image, Image.Image]:
    """Two that the model would not make so itself: turned over, and in false colours."""
    bear = studio.picture(BEAR, seed=1, steps=8).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    apple = studio.picture(APPLE, seed=2, steps=8)
    return bear, Image.merge("RGB", apple.split()[::-1])


def film(frames: list[Frame], steps: int = 4, sampler: str = "DPM++ 2M") -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=steps, sampler=sampler)


def distance(one: Image.Image, other: Image.Image) -> float:
    """Root mean square difference, in [0, 1]."""
    difference = np.asarray(one, float) - np.asarray(other, float)
    return float(np.sqrt((difference**2).mean())) / 255


def round_trip(studio: Studio, picture: Image.Image) -> Image.Image:
    """What the autoencoder makes of a picture."""
    from sdcreative.models.vae import decode_latents, encode_pictures, to_pictures, to_pixels

    latents = encode_pictures(studio.parts, to_pixels([picture]))
    return to_pictures(decode_latents(studio.parts, latents))[0]


@pytest.mark.parametrize("sampler", ["DDIM", "DPM++ 2M Karras", "Euler a"])
@pytest.mark.parametrize("scale", [1.0, 7.5])
def test_the_ends_of_a_way_between_pictures_are_the_pictures(
    studio: Studio, pictures: tuple[Image.Image, Image.Image], sampler: str, scale: float
) -> None:
    bear = Inversion(pictures[0], Blend(BEAR), guidance_scale=scale)
    apple = Inversion(pictures[1], Blend(APPLE), guidance_scale=scale)
    shots = [
        Shot(Blend(BEAR, APPLE, t), Noise(bear, apple, t), guidance_scale=scale)
        for t in (0.0, 0.5, 1.0)
    ]
    timeline = film([*shots], sampler=sampler)
    calls: list[int] = []
    first, middle, last = studio.render(timeline, on_evaluations=calls.append)
    assert distance(first, round_trip(studio, pictures[0])) < 2 / 255
    assert distance(last, round_trip(studio, pictures[1])) < 2 / 255
    assert min(distance(middle, first), distance(middle, last)) > 0.02
    assert sum(calls) == plan(timeline).evaluations


def test_a_picture_travels_to_a_seed(
    studio: Studio, pictures: tuple[Image.Image, Image.Image]
) -> None:
    bear = Inversion(pictures[0], Blend(BEAR), guidance_scale=4.0)
    shots = [
        Shot(Blend(BEAR, APPLE, t), Noise(bear, 5, t), guidance_scale=4.0) for t in (0.0, 0.5, 1.0)
    ]
    *_, last = studio.render(film([*shots]))
    assert distance(last, studio.picture(APPLE, seed=5, steps=4, guidance_scale=4.0)) < 1 / 255


def test_a_crossfade_begins_and_ends_as_image_to_image_of_its_pictures(
    studio: Studio, pictures: tuple[Image.Image, Image.Image]
) -> None:
    def shot(t: float) -> Shot:
        return Shot(Blend(BEAR), Noise(3), image=Crossfade(*pictures, t), strength=0.5)

    made = list(studio.render(film([shot(0.0), shot(0.5), shot(1.0)])))
    for picture, end in ((made[0], pictures[0]), (made[2], pictures[1])):
        plain = studio.picture(BEAR, seed=3, steps=4, image=end, strength=0.5)
        assert distance(picture, plain) < 1 / 255
    assert distance(made[0], made[1]) > 0.02
    assert distance(made[1], made[2]) > 0.02


def test_a_crossfade_of_no_strength_shows_its_pictures_themselves(
    studio: Studio, pictures: tuple[Image.Image, Image.Image]
) -> None:
    shots = [
        Shot(Blend(BEAR), Noise(3), image=Crossfade(*pictures, t), strength=0.0)
        for t in (0.0, 0.5, 1.0)
    ]
    first, middle, last = studio.render(film([*shots]))
    assert first.tobytes() == pictures[0].tobytes()
    assert last.tobytes() == pictures[1].tobytes()
    assert distance(middle, first) > 0.02


def test_a_mask_is_laid_on_one_picture_only(
    studio: Studio, pictures: tuple[Image.Image, Image.Image]
) -> None:
    mask = Image.new("L", (64, 64), 255)
    shot = Shot(Blend(BEAR), Noise(3), image=Crossfade(*pictures, 0.5), mask=mask, strength=0.5)
    with pytest.raises(UsageError, match="one start picture"):
        list(studio.render(film([shot])))


def following(count: int, follow: Follow, strength: float = 0.5) -> list[Frame]:
    first = Shot(Blend(BEAR), Noise(1))
    return [
        first,
        *(
            Shot(Blend(BEAR), Noise(1 + i), image=follow, strength=strength)
            for i in range(1, count)
        ),
    ]


def test_a_shot_follows_the_one_before(studio: Studio) -> None:
    follow = Follow(Motion(zoom=1.1, angle=3.0), "lab", 0.2, 0.02, 7)
    made = list(studio.render(film(following(4, follow)), batch_size=3))
    for i in range(1, 4):
        start = followed(follow, made[i - 1], made[0])
        alone = studio.picture(BEAR, seed=1 + i, steps=4, image=start, strength=0.5)
        assert made[i].tobytes() == alone.tobytes()


def test_without_strength_the_picture_is_only_moved(studio: Studio) -> None:
    follow = Follow(Motion(shift=(2.0, 0.0), border="wrap"))
    made = list(studio.render(film(following(3, follow, strength=0.0))))
    for before, after in pairwise(made):
        rolled = np.roll(np.asarray(before), 2, axis=1)
        assert np.array_equal(np.asarray(after), rolled)


def test_what_lies_between_is_not_what_is_followed(studio: Studio) -> None:
    follow = Follow(Motion(angle=10.0))
    frames = following(3, follow)
    plain = list(studio.render(film(frames)))
    with_between = [frames[0], Between(0.5), frames[1], Between(0.5), frames[2]]
    made = list(studio.render(film(with_between)))
    # Decoded in other batches: equal but for the last bit.
    assert all(distance(a, b) < 1 / 255 for a, b in zip(made[::2], plain, strict=True))
    assert distance(made[1], made[0]) > 0.005


def test_the_first_shot_has_nothing_to_follow(studio: Studio) -> None:
    lost = film(following(2, Follow())[1:])
    with pytest.raises(RenderError, match="frame 0: follows the shot before"):
        list(studio.render(lost))
    with pytest.raises(RenderError, match="frame 0: follows the shot before"):
        list(frame_keys(lost, model="m", size=(64, 64), dtype="float32"))


def test_a_feedback_film_goes_on_where_it_was_stopped(studio: Studio, tmp_path: Path) -> None:
    timeline = film(following(5, Follow(Motion(zoom=1.05), "rgb")))
    keys = list(frame_keys(timeline, model="m", size=(64, 64), dtype="float32"))
    whole = [one.tobytes() for one in studio.render(timeline)]
    store = FrameStore(tmp_path)
    pictures = studio.render(timeline, kept=KeptFrames(store, keys))
    for _ in range(3):
        next(pictures)
    pictures.close()
    calls: list[int] = []
    kept = KeptFrames(store, keys, composed=range(5))
    assert kept.there in (3, 4)
    again = [
        one.tobytes() for one in studio.render(timeline, kept=kept, on_evaluations=calls.append)
    ]
    assert again == whole
    assert 0 < sum(calls) < plan(timeline).evaluations
    verdict = verify(studio, timeline, store, keys, count=5)
    assert sorted(verdict.identical + verdict.close) == [0, 1, 2, 3, 4]


def test_what_cannot_be_verified_for_want_of_a_frame_is_lacking(
    studio: Studio, tmp_path: Path
) -> None:
    timeline = film(following(3, Follow()))
    keys = list(frame_keys(timeline, model="m", size=(64, 64), dtype="float32"))
    store = FrameStore(tmp_path)
    list(studio.render(timeline, kept=KeptFrames(store, keys)))
    store.path(keys[1]).unlink()
    verdict = verify(studio, timeline, store, keys, count=3)
    assert verdict.identical == (0,)
    assert sorted(verdict.lacking) == [1, 2]


def test_a_frame_is_another_if_what_it_follows_is(
    pictures: tuple[Image.Image, Image.Image],
) -> None:
    def keys(frames: list[Frame]) -> list[str]:
        return list(frame_keys(film(frames), model="m", size=(64, 64), dtype="float32"))

    frames = following(4, Follow())
    changed = [*frames[:1], replace(frames[1], strength=0.4), *frames[2:]]
    same = [a == b for a, b in zip(keys(frames), keys(changed), strict=True)]
    assert same == [True, False, False, False]

    one, other = (Inversion(picture, Blend(BEAR)) for picture in pictures)
    noises = [Noise(one), Noise(other), Noise(one, other, 0.5), Noise(other, one, 0.5)]
    assert len(set(keys([Shot(Blend(BEAR), noise) for noise in noises]))) == 4
    again = Inversion(pictures[0], Blend(BEAR))
    assert keys([Shot(Blend(BEAR), Noise(one))]) == keys([Shot(Blend(BEAR), Noise(again))])
