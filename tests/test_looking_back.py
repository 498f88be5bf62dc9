"""Shots that go on from others, films that take turns, and pictures without an edge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdcreative import Blend, Continuation, Follow, Noise, RenderError, Shot, Studio, Timeline
from sdcreative.models.seamless import wrapping
from sdcreative.runs.keys import frame_keys

STEPS, OVERLAP = 3, 24
FIRST = Shot(Blend("a picture of a bear"), Noise(3), guidance_scale=3)
NEXT = replace(FIRST, noise=Noise(4), image=Continuation(OVERLAP))


def film(shots: Sequence[Shot], **more: object) -> Timeline:
    timeline = Timeline(lambda: shots, len(shots), steps=STEPS)
    return replace(timeline, **more)  # type: ignore[arg-type]


def pixels(studio: Studio, timeline: Timeline, batch: int = 4) -> np.ndarray:
    return np.stack(
        [np.asarray(one, dtype=int) for one in studio.render(timeline, batch_size=batch)]
    )


def keys(timeline: Timeline) -> list[str]:
    return list(frame_keys(timeline, model="m", size=(64, 64), dtype="float32"))


def test_a_continuation_keeps_the_end_of_the_picture_before(studio: Studio) -> None:
    first, second, third = pixels(studio, film([FIRST, NEXT, NEXT]))
    kept = OVERLAP - 8
    assert (second[:, :kept] == first[:, 64 - OVERLAP : 64 - OVERLAP + kept]).all()
    assert (third[:, :kept] == second[:, 64 - OVERLAP : 64 - OVERLAP + kept]).all()
    assert np.abs(second[:, OVERLAP:] - first[:, OVERLAP:]).mean() > 1


def test_the_last_one_of_a_circle_ends_where_the_first_begins(studio: Studio) -> None:
    last = replace(NEXT, image=Continuation(OVERLAP, 16))
    pictures = pixels(studio, film([FIRST, NEXT, last]))
    assert (pictures[2][:, -8:] == pictures[0][:, 8:16]).all()
    kept = OVERLAP - 8
    assert (pictures[2][:, :kept] == pictures[1][:, 64 - OVERLAP : 64 - 8]).all()


def test_voices_that_take_turns_are_two_films(studio: Studio) -> None:
    other = [replace(one, prompt=Blend("a red apple")) for one in (FIRST, NEXT, NEXT)]
    left = pixels(studio, film([FIRST, NEXT, NEXT]), batch=1)
    right = pixels(studio, film(other), batch=1)
    turns = [shot for pair in zip([FIRST, NEXT, NEXT], other, strict=True) for shot in pair]
    both = pixels(studio, film(turns, voices=2), batch=2)
    assert np.abs(both[::2] - left).max() <= 2
    assert np.abs(both[1::2] - right).max() <= 2


def test_a_voice_without_a_first_picture_cannot_go_on(studio: Studio) -> None:
    timeline = film([FIRST, NEXT], voices=2)
    with pytest.raises(RenderError, match="frame 1: follows the shot before it"):
        list(studio.render(timeline))
    with pytest.raises(RenderError, match="frame 1: follows the shot before it"):
        keys(timeline)


def test_a_key_holds_what_a_shot_goes_on_from() -> None:
    other = replace(FIRST, noise=Noise(9))
    assert keys(film([FIRST, NEXT]))[1] != keys(film([other, NEXT]))[1]
    # In voices of their own, what the other one shows does not matter.
    assert keys(film([FIRST, FIRST, NEXT], voices=2))[2] == keys(film([FIRST, NEXT]))[1]
    assert keys(film([FIRST, other, NEXT], voices=2))[2] == keys(film([FIRST, NEXT]))[1]
    followed = replace(FIRST, image=Follow())
    assert keys(film([FIRST, FIRST, other, followed]))[3] != keys(film([FIRST, followed]))[1]


def test_a_key_holds_the_size_of_the_overlap_and_the_picture_beneath() -> None:
    image = Image.new("RGB", (64, 64), "red")
    starts = [Continuation(24), Continuation(16), Continuation(24, 8), Continuation(24, 0, image)]
    found = {keys(film([FIRST, replace(NEXT, image=start)]))[1] for start in starts}
    assert len(found) == len(starts)


def test_seamless_is_part_of_a_key_where_it_is_wanted() -> None:
    plain = keys(film([FIRST]))
    wrapped = [keys(film([FIRST], seamless=axes)) for axes in ("x", "y", "xy")]
    assert len({*plain, *(key for found in wrapped for key in found)}) == 4


@pytest.mark.parametrize("axes", ["x", "y", "xy"])
def test_a_seamless_picture_is_made_by_a_model_that_wraps_around(studio: Studio, axes: str) -> None:
    plain = pixels(studio, film([FIRST]))
    seamless = pixels(studio, film([FIRST], seamless=axes))
    with wrapping([studio.parts.unet, studio.parts.vae], axes):
        wrapped = pixels(studio, film([FIRST]))
    assert (seamless == wrapped).all()
    assert np.abs(seamless - plain).max() > 1
    assert (pixels(studio, film([FIRST])) == plain).all()
