"""Moving pictures against closed forms, and colours against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage import color

from sdcreative import UsageError
from sdcreative.core import motion
from sdcreative.core.shots import Border, ColourSpace, Follow, Motion

BORDERS: tuple[Border, ...] = ("reflect", "wrap", "replicate")
PADDING = {"reflect": "symmetric", "wrap": "wrap", "replicate": "edge"}


def speckled(width: int = 24, height: int = 24, low: int = 0, high: int = 256) -> Image.Image:
    """Every pixel another colour."""
    values = np.random.default_rng(3).integers(low, high, (height, width, 3))
    return Image.fromarray(values.astype(np.uint8))


def wave(size: int, x: float, y: float) -> NDArray[np.float64]:
    """A smooth picture in [0, 1], of which (0, 0) is the centre."""
    places = np.arange(size) - (size - 1) / 2
    along, down = np.meshgrid(places, places)
    return 0.5 + 0.4 * np.sin(x * along + y * down + 0.3)


def grey(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(np.rint(255 * values).astype(np.uint8)).convert("RGB")


def array(picture: Image.Image) -> NDArray[np.float64]:
    return np.asarray(picture).astype(float)


def same(a: Image.Image, b: NDArray[np.uint8]) -> bool:
    return bool(np.array_equal(np.asarray(a), b))


@pytest.mark.parametrize("border", BORDERS)
def test_nothing_moves(border: Border) -> None:
    picture = speckled(17, 9)
    assert same(motion.move(picture, Motion(border=border)), np.asarray(picture))
    assert same(motion.move(picture, Motion(angle=360, centre=(0, 1))), np.asarray(picture))
    assert same(motion.followed(Follow(), picture, speckled()), np.asarray(picture))


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize(("right", "down"), [(5, 0), (0, 3), (-2, 7), (40, -30)])
def test_shifts_by_whole_pixels_are_exact(border: Border, right: int, down: int) -> None:
    picture = speckled(17, 9)
    width = ((abs(down), abs(down)), (abs(right), abs(right)), (0, 0))
    padded = np.pad(np.asarray(picture), width, PADDING[border])  # type: ignore[call-overload]
    y, x = abs(down) - down, abs(right) - right
    expected = padded[y : y + 9, x : x + 17]
    moved = motion.move(picture, Motion(shift=(right, down), border=border))
    assert same(moved, expected)


def test_a_positive_angle_turns_counter_clockwise() -> None:
    picture = speckled(10, 10)
    for turns in (1, 2, 3, -1):
        moved = motion.move(picture, Motion(angle=90 * turns))
        assert same(moved, np.rot90(np.asarray(picture), turns))


@pytest.mark.parametrize("size", [10, 11])
def test_four_quarter_turns_are_none(size: int) -> None:
    picture = moved = speckled(size, size)
    for _ in range(4):
        moved = motion.move(moved, Motion(angle=90))
    assert same(moved, np.asarray(picture))


def test_zoom_two_keeps_the_centre_and_doubles_what_is_around_it() -> None:
    moved = array(motion.move(grey(wave(64, 0.2, 0.1)), Motion(zoom=2)))[..., 0]
    assert np.abs(moved - 255 * wave(64, 0.1, 0.05)).max() < 1.5


def test_zoom_a_half_shows_twice_as_much() -> None:
    moved = array(motion.move(grey(wave(64, 0.05, 0.02)), Motion(zoom=0.5)))[..., 0]
    # A Gaussian of deviation s leaves exp(-(s w)^2 / 2) of a wave w; both waves, one after another.
    left = np.exp(-0.375 * (0.05**2 + 0.02**2))
    expected = 255 * (0.5 + left * (wave(64, 0.1, 0.04) - 0.5))
    assert np.abs(moved - expected)[18:46, 18:46].max() < 1.5


def test_turned_and_scaled_by_any_amount() -> None:
    turn, zoom, x, y = np.radians(25), 1.3, 0.12, -0.07
    moved = array(motion.move(grey(wave(64, x, y)), Motion(zoom=zoom, angle=25)))[..., 0]
    turned_x = (np.cos(turn) * x + np.sin(turn) * y) / zoom
    turned_y = (np.cos(turn) * y - np.sin(turn) * x) / zoom
    error = np.abs(moved - 255 * wave(64, turned_x, turned_y))
    assert error[10:54, 10:54].max() < 1.5


def test_the_shift_comes_before_the_zoom_as_in_deforum() -> None:
    picture = speckled()
    shifted = motion.move(picture, Motion(shift=(3, -2)))
    both = motion.move(picture, Motion(zoom=2, shift=(3, -2)))
    assert np.abs(array(motion.move(shifted, Motion(zoom=2))) - array(both))[6:-6].max() <= 1


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.25, 0.75), (1.0, 0.5)])
def test_the_centre_stays_where_it_is(centre: tuple[float, float]) -> None:
    values = np.full((40, 40), 0.2)
    x, y = (min(39, int(40 * share)) for share in centre)
    values[max(0, y - 2) : y + 2, max(0, x - 2) : x + 2] = 0.9
    picture = grey(values)
    for step in (Motion(zoom=1.5, centre=centre), Motion(angle=180, centre=centre)):
        assert array(motion.move(picture, step))[y, x, 0] > 200


def test_a_still_zoom_does_not_drift() -> None:
    values = wave(32, 0.15, 0)
    moved = picture = grey((values + values[:, ::-1]) / 2)
    for _ in range(20):
        moved = motion.move(moved, Motion(zoom=1.03))
    assert np.abs(array(moved) - array(moved)[:, ::-1]).max() <= 2
    assert not same(moved, np.asarray(picture))


def test_a_fine_pattern_made_smaller_becomes_grey_instead_of_coarse() -> None:
    stripes = np.tile([0.0, 1.0], (64, 32))
    moved = array(motion.move(grey(stripes), Motion(zoom=0.3, border="wrap")))
    assert np.abs(moved - 127.5).max() < 4


@pytest.mark.parametrize("border", BORDERS)
def test_borders_are_filled(border: Border) -> None:
    picture = speckled(low=100, high=120)
    moved = array(motion.move(picture, Motion(zoom=0.6, angle=30, border=border)))
    assert 95 < moved.min() < moved.max() < 125


@pytest.mark.parametrize(
    "step", [Motion(zoom=0), Motion(zoom=-1), Motion(angle=float("nan")), Motion(shift=(1e999, 0))]
)
def test_motions_that_no_picture_can_make(step: Motion) -> None:
    with pytest.raises(UsageError, match="zoom above 0"):
        motion.move(speckled(), step)


def test_lab_is_that_of_scikit_image() -> None:
    steps = np.linspace(0, 1, 9, dtype=np.float32)
    rgb = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    lab = motion.rgb_to_lab(rgb)
    assert np.abs(lab - color.rgb2lab(rgb)).max() < 0.1
    assert np.abs(motion.lab_to_rgb(lab) - rgb).max() < 1e-5
    greys = np.repeat(steps, 3).reshape(1, 9, 3)
    assert np.abs(motion.rgb_to_lab(greys)[..., 1:]).max() < 1e-4


def test_lab_colours_that_srgb_lacks_are_clipped() -> None:
    rgb = motion.lab_to_rgb(np.array([[[50, 120, -120], [120, 0, 0], [-9, 0, 0]]], np.float32))
    assert rgb.min() == 0 and rgb.max() == 1 and np.isfinite(rgb).all()
    # Bicubic sampling leaves [0, 1] at edges.
    assert np.isfinite(motion.rgb_to_lab(np.array([[[-0.1, 0.5, 1.1]]], np.float32))).all()


@pytest.mark.parametrize("space", ["lab", "rgb"])
def test_means_and_deviations_come_to_those_of_the_reference(space: ColourSpace) -> None:
    reference = Image.fromarray(
        np.random.default_rng(5).normal((150, 110, 90), (9, 14, 11), (40, 40, 3)).astype(np.uint8)
    )
    matched = motion.match_colours(speckled(40, 40, 60, 140), reference, space)
    found, wanted = (
        motion.rgb_to_lab((array(picture) / 255).astype(np.float32))
        if space == "lab"
        else array(picture)
        for picture in (matched, reference)
    )
    tolerance = 0.4 if space == "lab" else 1.0
    assert np.abs(found.mean((0, 1)) - wanted.mean((0, 1))).max() < tolerance
    assert np.abs(found.std((0, 1)) - wanted.std((0, 1))).max() < tolerance


@pytest.mark.parametrize("space", ["lab", "rgb", "none"])
def test_a_picture_matched_to_itself_stays(space: ColourSpace) -> None:
    picture = speckled()
    assert np.abs(array(motion.match_colours(picture, picture, space)) - array(picture)).max() == 0
    assert same(motion.match_colours(picture, speckled(9, 9), "none"), np.asarray(picture))


@pytest.mark.parametrize("space", ["lab", "rgb"])
def test_a_picture_of_one_colour_neither_breaks_nor_blows_up(space: ColourSpace) -> None:
    flat = Image.new("RGB", (24, 24), (90, 120, 60))
    almost = flat.copy()
    almost.putpixel((3, 3), (91, 120, 60))
    assert array(motion.match_colours(almost, speckled(), space)).std((0, 1)).max() < 1
    assert array(motion.match_colours(speckled(), flat, space)).std((0, 1)).min() > 5


def test_sharpening_makes_edges_steeper_and_leaves_areas_alone() -> None:
    values = np.full((32, 32), 0.4)
    values[:, 16:] = 0.6
    sharp = array(motion.sharpen(grey(values), 0.5))[5, :, 0]
    assert sharp[15] < 102 - 5 and sharp[16] > 153 + 5
    assert (sharp[:10] == 102).all() and (sharp[22:] == 153).all()
    assert same(motion.sharpen(grey(values), 0), np.asarray(grey(values)))


def test_grain_has_its_deviation_and_its_seed() -> None:
    plain = Image.new("RGB", (64, 64), (128, 128, 128))
    grained = motion.grain(plain, 0.04, 7)
    assert array(grained).std() / 255 == pytest.approx(0.04, rel=0.05)
    assert abs(array(grained).mean() - 128) < 0.3
    assert abs(np.corrcoef(array(grained).reshape(-1, 3).T)[0, 1]) < 0.05
    assert same(motion.grain(plain, 0.04, 7), np.asarray(grained))
    assert not same(motion.grain(plain, 0.04, 8), np.asarray(grained))


def test_following_is_all_four_in_order_rounded_once() -> None:
    before, first = speckled(low=60, high=200), speckled(low=90, high=160)
    step = Motion(zoom=1.05, angle=3, shift=(1.5, 0))
    parts = motion.move(before, step)
    parts = motion.match_colours(parts, first, "lab")
    parts = motion.grain(motion.sharpen(parts, 0.3), 0.02, 11)
    whole = motion.followed(Follow(step, "lab", 0.3, 0.02, 11), before, first)
    assert np.abs(array(whole) - array(parts)).max() <= 3
    assert np.abs(array(whole) - array(motion.move(before, step))).mean() > 5
