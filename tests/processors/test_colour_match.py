"""Colours of one picture given to others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from skimage.exposure import match_histograms as reference_match

from sdcreative.core.motion import rgb_to_lab
from sdcreative.errors import DataError
from sdcreative.processors import apply_steps, plan_steps, read_processors
from sdcreative.processors.colour_match import match_histograms
from sdcreative.tools import Film


def noisy(seed: int, low: int, high: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    chance = numpy.random.default_rng(seed)
    pixels = low + (high - low) * chance.beta(2, 3, (size[1], size[0], 3))
    return Image.fromarray(pixels.astype(numpy.uint8))


def array(picture: Image.Image) -> numpy.ndarray:
    return numpy.asarray(picture).astype(int)


def matched(pictures: list[Image.Image], **settings: Any) -> list[Image.Image]:
    steps = read_processors([{"colour_match": settings}])
    return list(apply_steps(steps, Film((40, 30), len(pictures), 12.0), pictures))


PICTURES = [noisy(0, 20, 200), noisy(1, 60, 250), noisy(2, 0, 120)]


def test_lab_gives_means_and_deviations_of_the_first() -> None:
    after = matched(PICTURES)
    assert after[0] is PICTURES[0]
    wanted, *found = [
        rgb_to_lab(numpy.asarray(p, numpy.float32) / 255).reshape(-1, 3) for p in after
    ]
    for each in found:
        assert each.mean(axis=0) == pytest.approx(wanted.mean(axis=0), abs=0.8)
        assert each.std(axis=0) == pytest.approx(wanted.std(axis=0), abs=0.8)
    assert abs(array(after[1]) - array(PICTURES[1])).mean() > 20


@pytest.mark.parametrize("method", ["lab", "histogram"])
def test_a_film_in_one_colouring_stays_within_rounding(method: str) -> None:
    after = matched([PICTURES[0]] * 3, method=method)
    assert all(abs(array(p) - array(PICTURES[0])).max() <= (method == "lab") for p in after)


@pytest.mark.parametrize("method", ["lab", "histogram"])
def test_strength(method: str) -> None:
    assert matched(PICTURES, method=method, strength=0) == PICTURES
    full, half = (matched(PICTURES, method=method, strength=s)[1] for s in (1, 0.5))
    middle = (array(full) + array(PICTURES[1])) / 2
    assert abs(array(half) - middle).max() <= 0.5


@pytest.mark.parametrize("method", ["lab", "histogram"])
def test_a_picture_of_ones_own(method: str, tmp_path: Path) -> None:
    path = tmp_path / "sunset.png"
    noisy(7, 100, 255, (64, 20)).save(path)
    after = matched(PICTURES, method=method, reference=str(path))
    wanted = array(Image.open(path)).reshape(-1, 3).mean(axis=0)
    for each in after:
        assert array(each).reshape(-1, 3).mean(axis=0) == pytest.approx(wanted, abs=2)


def test_histograms_undo_any_rising_curve_exactly() -> None:
    source = noisy(3, 0, 120)
    curved = numpy.stack([(array(source)[..., c] * (c + 3) // 2 + 5) for c in range(3)], axis=-1)
    reference = Image.fromarray(curved.clip(0, 255).astype(numpy.uint8))
    mirrored = reference.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    assert curved[..., :1].max() < 255
    found = match_histograms(source, mirrored)
    assert (array(found)[..., 0] == array(reference)[..., 0]).all()
    assert match_histograms(source, source).tobytes() == source.tobytes()


def test_histograms_against_scikit_image() -> None:
    source, reference = noisy(4, 0, 255, (120, 90)), noisy(5, 30, 220, (70, 50))
    found = array(match_histograms(source, reference))
    wanted = reference_match(numpy.asarray(source), numpy.asarray(reference), channel_axis=-1)
    # scikit-image interpolates between levels where ours takes one that occurs.
    assert abs(found - wanted).max() <= 6
    assert abs(found - wanted).mean() < 1


def test_a_reference_that_is_missing_is_found_before_rendering() -> None:
    steps = read_processors([{"colour_match": {"reference": "nowhere.png"}}])
    with pytest.raises(DataError, match=r"colour_match: there is no file nowhere\.png"):
        plan_steps(steps, Film((8, 8), 2, 12.0))
