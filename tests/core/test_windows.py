"""Latents larger than a denoiser's, in windows."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import torch
from torch import Tensor

from sdcreative import Studio
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.large import Tiling
from sdcreative.core.shots import Blend, Noise, Shot
from sdcreative.core.timeline import Timeline
from sdcreative.core.windows import starts, weights, whole_axes, windowed
from sdcreative.errors import UsageError

TIME = torch.tensor(3)


def latents(height: int, width: int, rows: int = 2, channels: int = 4) -> Tensor:
    shape = rows, channels, height, width
    return torch.randn(shape, generator=torch.Generator().manual_seed(height + width))


def words(rows: int = 2) -> Conditioning:
    return Conditioning(torch.arange(1.0, rows + 1).reshape(-1, 1, 1).expand(-1, 2, 3))


def pointwise(given: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
    """Reads a pixel, the time and its own row's prompt."""
    return torch.sin(given) * time + conditioning.embeddings[:, :1, :1, None]


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(
    ("length", "side", "overlap"), [(48, 16, 4), (33, 16, 0), (17, 16, 15), (40, 7, 3), (16, 16, 8)]
)
def test_windows_cover_all_and_their_weights_add_up_to_one(
    length: int, side: int, overlap: int, wrap: bool
) -> None:
    begins = starts(length, side, overlap, wrap)
    total = torch.zeros(length)
    for begin, row in zip(begins, weights(length, side, begins), strict=True):
        assert wrap or begin + side <= length
        assert (row >= 0).all()
        total[torch.arange(begin, begin + side) % length] += row
    torch.testing.assert_close(total, torch.ones(length))
    ends = [*begins[1:], *([length] if wrap and length > side else [])]
    assert all(b - a <= side - overlap for a, b in zip(begins, ends, strict=False))


def test_weights_are_largest_in_the_middle() -> None:
    row = weights(48, 16, starts(48, 16, 8))[1]
    assert torch.equal(row.argmax() // 2, torch.tensor(3))
    assert row[0] < 0.01 < row[-1] + row[0] + 0.01


@pytest.mark.parametrize("axes", ["", "x", "y", "xy"])
@pytest.mark.parametrize("most", [1, 3, 100])
def test_a_predictor_that_sees_one_pixel_gives_the_same(axes: str, most: int) -> None:
    given = latents(20, 37)
    found = windowed(pointwise, 8, 3, axes, most)(given, TIME, words())
    torch.testing.assert_close(found, pointwise(given, TIME, words()))


def test_what_one_window_covers_is_the_plain_prediction() -> None:
    given = latents(16, 16).half()
    seen = []

    def predict(*arguments: Any) -> Tensor:
        seen.append(arguments)
        return given

    conditioning = words()
    assert windowed(predict, 16, 4, "xy")(given, TIME, conditioning) is given
    assert seen[0][0] is given
    assert seen[0][2] is conditioning


def test_the_denoiser_is_given_windows_a_few_at_a_time() -> None:
    shapes = []

    def predict(given: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        shapes.append(tuple(given.shape))
        assert len(conditioning.embeddings) == len(given)
        assert conditioning.sizes is not None
        assert conditioning.sizes[:, 0].tolist() == [0, 6] * (len(given) // 2)
        return given[:, :4]

    told = Conditioning(words().embeddings, sizes=torch.arange(12).reshape(2, 6))

    found = windowed(predict, 16, 4, most=6)(latents(12, 40, channels=9), TIME, told)
    # 12 high fits into a window; 40 wide takes 3 of 16; of 2 rows, 3 windows at once.
    assert shapes == [(6, 9, 12, 16)]
    assert found.shape == (2, 4, 12, 40)
    windowed(predict, 16, 4, most=1)(latents(12, 40, channels=9), TIME, told)
    assert shapes[1:] == [(2, 9, 12, 16)] * 3


@pytest.mark.parametrize(("axes", "dim"), [("x", -1), ("y", -2)])
def test_seamless_axes_have_no_edge(axes: str, dim: int) -> None:
    def predict(given: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return torch.nn.functional.avg_pool2d(given, 3, 1, 1)

    given = latents(24, 24)
    # Four windows on the circle are 6 apart, so a roll by 6 moves each onto the next.
    wrapped = windowed(predict, 8, 2, axes)
    found = wrapped(given.roll(6, dim), TIME, words())
    torch.testing.assert_close(found, wrapped(given, TIME, words()).roll(6, dim))
    plain = windowed(predict, 8, 2)
    moved = plain(given.roll(6, dim), TIME, words())
    assert (moved - plain(given, TIME, words()).roll(6, dim)).abs().max() > 0.1


def test_convolutions_wrap_only_where_one_window_covers_an_axis() -> None:
    assert whole_axes(16, 16, 16, "xy") == "xy"
    assert whole_axes(48, 16, 16, "xy") == "x"
    assert whole_axes(48, 48, 16, "xy") == ""
    assert whole_axes(16, 48, 16, "") == ""


@pytest.mark.parametrize(("side", "overlap"), [(0, 0), (8, 8), (8, -1)])
def test_windows_that_make_no_sense_are_refused(side: int, overlap: int) -> None:
    with pytest.raises(UsageError, match=f"windows of {side} with an overlap of {overlap}"):
        windowed(pointwise, side, overlap)


def rendered(studio: Studio, size: tuple[int, int], tiling: Tiling | None) -> Any:
    shot = Shot(Blend("a picture of a bear"), Noise(3), guidance_scale=3.0)
    timeline = Timeline(lambda: [shot], length=1, steps=6, size=size, tiling=tiling)
    [picture] = studio.render(timeline)
    return picture


def test_windows_pass_into_each_other_without_a_step() -> None:
    def level(given: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return given.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 1, *given.shape[-2:])

    ramp = torch.linspace(0, 1, 48).expand(1, 4, 16, 48)
    found = windowed(level, 16, 8)(ramp, TIME, words(1))[0, 0, 0]
    steps = found.diff().abs()
    borders = [begin - 1 for begin in starts(48, 16, 8)[1:]]
    assert found[-1] - found[0] > 0.6
    assert steps[borders].max() < 0.1 * steps.max()


def test_no_border_of_a_window_shows(studio: Studio) -> None:
    picture = rendered(studio, (192, 128), Tiling(64, 0.5))
    pixels = numpy.asarray(picture, float)
    for axis, length in ((1, 48), (0, 32)):
        begins = starts(length, 16, 8)
        borders = {4 * begin for begin in begins[1:]} | {4 * (begin + 16) for begin in begins[:-1]}
        steps = numpy.abs(numpy.diff(pixels, axis=axis)).mean(axis=(1 - axis, 2))
        assert steps[[border - 1 for border in borders]].mean() < 1.1 * steps.mean()


def test_a_picture_of_the_models_own_size_is_the_plain_one(studio: Studio) -> None:
    plain = rendered(studio, (64, 64), None)
    tiled = rendered(studio, (64, 64), Tiling(64))
    assert plain.tobytes() == tiled.tobytes()
    assert rendered(studio, (64, 64), Tiling(48)).tobytes() != plain.tobytes()
