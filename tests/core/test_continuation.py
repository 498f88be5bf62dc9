from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sdcreative import Blend, Continuation, Noise, Shot, UsageError
from sdcreative.core.continuation import RAMP, begun, continued

WIDTH, HEIGHT = 64, 16


def picture(seed: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    return Image.fromarray(values)


BEFORE, FIRST, OWN = picture(1), picture(2), picture(3)


def array(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=int)


def test_the_left_is_the_end_of_the_picture_before_and_is_kept() -> None:
    image, mask = continued(Continuation(24), BEFORE, FIRST)
    assert (array(image)[:, :24] == array(BEFORE)[:, -24:]).all()
    assert mask.mode == "L"
    assert (array(mask)[:, : 24 - RAMP] == 0).all()
    assert (array(mask)[:, 24:] == 255).all()


def test_between_kept_and_painted_the_mask_rises_evenly() -> None:
    ramp = array(continued(Continuation(24), BEFORE, FIRST)[1])[0, 24 - RAMP : 24]
    assert (np.diff([0, *ramp, 255]) > 0).all()
    assert np.ptp(np.diff([0, *ramp, 255])) <= 1


def test_without_a_picture_of_its_own_what_is_shared_is_repeated() -> None:
    image = array(continued(Continuation(24), BEFORE, FIRST)[0])
    assert (image[:, 24:48] == image[:, :24]).all()
    assert (image[:, 48:] == image[:, :16]).all()


def test_the_rest_begins_from_a_picture_of_its_own() -> None:
    image = array(continued(Continuation(24, image=OWN), BEFORE, FIRST)[0])
    assert (image[:, 24:] == array(OWN)[:, 24:]).all()
    assert (image[:, :24] == array(BEFORE)[:, -24:]).all()


def test_a_circle_closes_with_the_beginning_of_the_first_picture() -> None:
    image, mask = continued(Continuation(24, 16, OWN), BEFORE, FIRST)
    assert (array(image)[:, -16:] == array(FIRST)[:, :16]).all()
    assert (array(mask)[:, -16 + RAMP :] == 0).all()
    assert (array(mask)[:, 24:-16] == 255).all()
    ramp = array(mask)[0, -16 : -16 + RAMP]
    assert (np.diff([255, *ramp, 0]) < 0).all()


def test_a_mask_of_its_own_keeps_more() -> None:
    own = np.zeros((HEIGHT, WIDTH), np.uint8)
    own[:8, 40:] = 255
    mask = array(continued(Continuation(24, image=OWN), BEFORE, FIRST, Image.fromarray(own))[1])
    assert (mask[:8, 40:] == 255).all()
    assert (mask[8:] == 0).all()
    assert (mask[:, :40] == 0).all()


@pytest.mark.parametrize(("overlap", "closing"), [(0, 0), (64, 0), (32, 32), (8, -1)])
def test_something_is_kept_and_something_painted(overlap: int, closing: int) -> None:
    with pytest.raises(UsageError, match=f"{overlap} \\+ {closing} of 64 columns"):
        continued(Continuation(overlap, closing), BEFORE, FIRST)


def test_a_shot_gets_both_and_others_stay_as_they_are() -> None:
    shot = Shot(Blend("a song"), Noise(1), image=Continuation(24))
    ready = begun(shot, BEFORE, FIRST)
    assert isinstance(ready.image, Image.Image)
    assert ready.mask is not None
    plain = Shot(Blend("a song"), Noise(1))
    assert begun(plain, BEFORE, FIRST) is plain
