"""Flicker goes; what stands still, fades slowly or is cut stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy
import pytest
from PIL import Image

from sdcreative.processors import Step, apply_steps, read_processors
from sdcreative.processors.deflicker import smooth
from sdcreative.smoothness.analysis import flicker_of
from sdcreative.tools import Film

SIZE = (48, 32)


def scene(shift: float = 0.0, kind: float = 0.0) -> numpy.ndarray:
    """(32, 48, 3), a coloured pattern between 60 and 160; another kind is another pattern."""
    x, y = numpy.meshgrid(numpy.arange(48), numpy.arange(32))
    planes = [numpy.sin((x + shift) / (5 + kind) + c) * numpy.cos(y / 7 + kind) for c in range(3)]
    return 110 + 50 * numpy.stack(planes, axis=-1)


def picture(pixels: numpy.ndarray) -> Image.Image:
    return Image.fromarray(numpy.rint(pixels.clip(0, 255)).astype(numpy.uint8))


def film(pictures: list[Image.Image], closed: bool = False) -> Film:
    return Film(pictures[0].size, len(pictures), 12.0, closed)


def deflickered(
    pictures: list[Image.Image], closed: bool = False, **settings: object
) -> list[Image.Image]:
    steps = read_processors([{"deflicker": settings}])
    return list(apply_steps(steps, film(pictures, closed), iter(pictures)))


def brightness(pictures: Iterable[Image.Image]) -> list[float]:
    return [float(numpy.asarray(p).mean()) / 255 for p in pictures]


def channels(pictures: Iterable[Image.Image]) -> numpy.ndarray:
    return numpy.array([numpy.asarray(p).reshape(-1, 3).mean(axis=0) for p in pictures]) / 255


def apart(a: list[Image.Image], b: list[Image.Image]) -> int:
    return max(
        int(abs(numpy.asarray(p).astype(int) - numpy.asarray(q)).max())
        for p, q in zip(a, b, strict=True)
    )


def flickering(count: int, seed: int = 0) -> list[Image.Image]:
    """A slow pan that brightens, each picture of it lit by chance, each channel for itself."""
    chance = numpy.random.default_rng(seed)
    return [
        picture((scene(i / 4) + 0.8 * i) * chance.normal(1, 0.06, 3) + chance.normal(0, 3, 3))
        for i in range(count)
    ]


@pytest.mark.parametrize("closed", [False, True])
def test_flicker_falls_by_four_fifths(closed: bool) -> None:
    before = flickering(60)
    after = deflickered(before, closed)
    assert flicker_of(brightness(before)) > 0.6
    assert flicker_of(brightness(after)) < 0.2 * flicker_of(brightness(before))
    for channel in range(3):
        there, left = channels(before)[:, channel], channels(after)[:, channel]
        assert flicker_of(list(left)) < 0.2 * flicker_of(list(there))


def test_pumping_contrast_is_evened_out() -> None:
    before = [picture(110 + (scene(i / 4) - 110) * (1 + 0.2 * (-1) ** i)) for i in range(40)]
    deviations = [[numpy.asarray(p).std() for p in each] for each in (before, deflickered(before))]
    steps = [numpy.abs(numpy.diff(each)).mean() for each in deviations]
    assert steps[1] < 0.1 * steps[0]


def test_a_still_film_stays_what_it_is() -> None:
    still = [picture(scene())] * 25
    assert deflickered(still) == still
    assert deflickered(still, closed=True) == still


def test_a_slow_fade_stays_what_it_is() -> None:
    def fade(i: int) -> float:
        return min(1.0, i / 130)

    pictures = [picture(scene() * fade(i)) for i in range(150)]
    assert apart(deflickered(pictures), pictures) <= 1
    assert apart(deflickered(pictures[::-1]), pictures[::-1]) <= 1


def test_a_cut_stays_sharp() -> None:
    dark = [picture(scene(i / 8) * 0.4) for i in range(12)]
    light = [picture(scene(i / 8, kind=9) * 1.2) for i in range(12)]
    pictures = dark + light + dark
    assert apart(deflickered(pictures), pictures) <= 1
    # Without the other pattern it is one shot, whose step is smoothed.
    one = [picture(scene()) for _ in range(12)] + [picture(scene() * 1.3) for _ in range(12)]
    assert apart(deflickered(one), one) > 10


def test_the_seam_of_a_loop_is_evened_out() -> None:
    turn = numpy.linspace(0, 2 * numpy.pi, 41)[:-1]
    chance = numpy.random.default_rng(3)
    lit = [picture((scene() + 20 * numpy.sin(a)) * chance.normal(1, 0.06)) for a in turn]

    def seam(pictures: list[Image.Image]) -> float:
        """Flicker of the loop, played from its middle."""
        levels = brightness(pictures)
        around = levels[-5:] + levels[:5]
        return float(numpy.square(numpy.diff(around, 2)).sum())

    assert seam(deflickered(lit, closed=True)) < 0.35 * seam(deflickered(lit))
    assert seam(deflickered(lit, closed=True)) < 0.05 * seam(lit)


@pytest.mark.parametrize("count", [2, 6, 9])
def test_a_loop_that_fits_into_the_window_is_smoothed_all_round(count: int) -> None:
    lit = [picture(scene() * (1 + 0.1 * (-1) ** i)) for i in range(count)]
    rolled = lit[1:] + lit[:1]
    after = deflickered(lit, closed=True, window=9)
    assert numpy.ptp(brightness(after)) < 0.5 * numpy.ptp(brightness(lit))
    if count > 4:
        assert apart(deflickered(rolled, closed=True), after[1:] + after[:1]) == 0


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 10, 11, 20])
@pytest.mark.parametrize("closed", [False, True])
def test_as_many_pictures_come_out_in_the_order_in_which_they_went_in(
    count: int, closed: bool
) -> None:
    pictures = [picture(scene(10.0 * i)) for i in range(count)]
    after = deflickered(pictures, closed, strength=0)
    assert after == pictures


def test_strength_goes_part_of_the_way() -> None:
    before = flickering(30)
    full, half = deflickered(before), deflickered(before, strength=0.5)
    middle = (channels(before) + channels(full)) / 2
    assert channels(half) == pytest.approx(middle, abs=0.6 / 255)


def test_only_a_window_of_pictures_is_held() -> None:
    pictures = flickering(80)
    taken = 0

    def source() -> Iterator[Image.Image]:
        nonlocal taken
        for each in pictures:
            taken += 1
            yield each

    [step] = read_processors([{"deflicker": {"window": 11}}])
    for given, _ in enumerate(apply_steps([step], film(pictures, closed=True), source()), 1):
        assert taken - given <= 11


def test_the_same_twice() -> None:
    pictures = flickering(20)
    assert apart(deflickered(pictures), deflickered(pictures)) == 0


def test_black_and_flat_pictures_are_taken() -> None:
    pictures = [picture(numpy.zeros((32, 48, 3)))] * 5 + [picture(scene())] * 5
    assert all(p.size == SIZE for p in deflickered(pictures, window=3))


def test_smoothing_against_weighted_least_squares() -> None:
    values = numpy.random.default_rng(1).normal(size=(12, 2))
    for first, last, at in ((0, 9, 4), (0, 9, 0), (3, 12, 11), (2, 4, 3)):
        x = numpy.arange(first, last) - at
        weights = (1 - (abs(x) / (abs(x).max() + 1)) ** 3) ** 3
        for column in range(2):
            line = numpy.polyfit(x, values[first:last, column], 1, w=numpy.sqrt(weights))
            assert smooth(values, first, last, at)[column] == pytest.approx(line[1])
    assert smooth(values, 5, 6, 5) == pytest.approx(values[5])


def test_steps_hold_their_settings() -> None:
    [step] = read_processors(["deflicker"])
    assert isinstance(step, Step)
    assert step.settings.window == 9
