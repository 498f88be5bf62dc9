"""The second pass in a larger size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from sdcreative import Studio
from sdcreative.core.large import UPSCALES, Hires, Tiling
from sdcreative.core.noise import blend_noise, draw_noise, mix_noise
from sdcreative.core.sampling import Guidance, denoise
from sdcreative.core.shots import Blend, Inversion, Mixture, Noise
from sdcreative.errors import UsageError
from sdcreative.models.denoiser import predictor
from sdcreative.models.samplers import build_sampler
from sdcreative.models.text import encode
from sdcreative.models.vae import decode_latents, to_pictures
from sdcreative.rendering import hires as module
from sdcreative.rendering.hires import (
    enlarge_latents,
    enlarge_pictures,
    enlarged,
    noise_for,
    second_flight,
)

LATENT = [name for name in UPSCALES if name.startswith("latent")]
SHAPE = (4, 32, 24)


def latents(height: int = 16, width: int = 12) -> Tensor:
    shape = (2, 4, height, width)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def ball(size: tuple[int, int] = (48, 32)) -> Image.Image:
    made = Image.new("RGB", size, (130, 190, 240))
    ImageDraw.Draw(made).ellipse((8, 4, 30, 26), fill=(220, 40, 30))
    return made


@pytest.mark.parametrize(
    ("given", "first", "step", "size"),
    [
        ({}, (512, 768), 8, (1024, 1536)),
        ({"scale": 1.5}, (520, 512), 8, (784, 768)),
        ({"scale": 1.3}, (64, 64), 16, (80, 80)),
        ({"size": (960, 640)}, (480, 320), 8, (960, 640)),
        # 1000 is 666.7 high in this shape, and 664 the multiple nearest to that.
        ({"size": (1000, 664)}, (480, 320), 8, (1000, 664)),
    ],
)
def test_sizes_are_ones_that_the_model_makes(
    given: dict[str, Any], first: tuple[int, int], step: int, size: tuple[int, int]
) -> None:
    assert Hires(**given).sized(first, step) == size


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((960, 960), "960x960 does not go with a first pass of 480x320.*such as 960x640"),
        ((962, 640), "such as 960x640"),
        ((240, 160), "smaller than the first pass, 480x320"),
    ],
)
def test_other_shapes_are_refused_with_one_that_fits(size: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Hires(size=size).sized((480, 320), 8)


def test_strength_is_a_share_of_the_steps() -> None:
    assert [Hires(strength=s).first_step(20) for s in (0.0, 0.5, 0.7, 1.0)] == [20, 10, 6, 0]


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (Hires, {"scale": 1.0}, "more than 1"),
        (Hires, {"strength": 1.2}, "0 to 1"),
        (Hires, {"steps": 0}, "at least 1"),
        (Hires, {"upscale": "esrgan"}, "'esrgan'; choose latent,"),
        (Hires, {"guidance_scale": float("nan")}, "nan"),
        (Tiling, {"side": 4}, "tile is 4"),
        (Tiling, {"side": 512, "overlap": 1.0}, "tile_overlap is 1.0"),
    ],
)
def test_values_out_of_range_are_refused(
    make: Callable[..., Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        make(**given)


def test_tiles_are_windows_of_latents_that_the_model_makes() -> None:
    assert Tiling(512).latents(8) == (64, 16)
    assert Tiling(500, 0.5).latents(8, 16) == (62, 31)
    assert Tiling(8, 0.9).latents(8) == (2, 1)


@pytest.mark.parametrize(
    ("upscale", "options"),
    [
        ("latent", {"mode": "bicubic", "antialias": True}),
        ("latent-bicubic", {"mode": "bicubic", "antialias": False}),
        ("latent-bilinear", {"mode": "bilinear", "antialias": False}),
        ("latent-nearest", {"mode": "nearest-exact"}),
    ],
)
def test_latents_are_enlarged_as_torch_does(upscale: Any, options: dict[str, Any]) -> None:
    expected = torch.nn.functional.interpolate(latents(), (40, 30), **options)
    found = enlarge_latents(latents().half(), (40, 30), upscale)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-3)
    assert torch.equal(enlarge_latents(latents(), (40, 30), upscale), expected)
    # Nor does antialiasing change bilinear enlarging, so it has no name of its own.
    if upscale == "latent-bilinear":
        smooth = torch.nn.functional.interpolate(
            latents(), (40, 30), antialias=True, mode="bilinear"
        )
        torch.testing.assert_close(found, smooth, rtol=0, atol=3e-3)


def test_nearest_repeats_latents() -> None:
    expected = latents().repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert torch.equal(enlarge_latents(latents(), (32, 24), "latent-nearest"), expected)


@pytest.mark.parametrize("upscale", LATENT)
@pytest.mark.parametrize(("axes", "dim", "by"), [("x", -1, 3), ("y", -2, 5), ("xy", -1, 3)])
def test_seamless_latents_have_no_edge(upscale: Any, axes: str, dim: int, by: int) -> None:
    large = enlarge_latents(latents(), (32, 24), upscale, axes)
    rolled = enlarge_latents(latents().roll(by, dim), (32, 24), upscale, axes)
    torch.testing.assert_close(rolled, large.roll(2 * by, dim), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axes", ["", "x", "xy"])
def test_pictures_are_enlarged_by_lanczos(axes: str) -> None:
    [large] = enlarge_pictures([ball()], (96, 64), "image", axes)
    plain = ball().resize((96, 64), Image.Resampling.LANCZOS)
    assert large.size == (96, 64)
    if not axes:
        assert large.tobytes() == plain.tobytes()
        return
    levels = numpy.roll(numpy.asarray(ball()), 7, axis=1)
    [rolled] = enlarge_pictures([Image.fromarray(levels)], (96, 64), "image", axes)
    assert numpy.array_equal(numpy.asarray(rolled), numpy.roll(numpy.asarray(large), 14, axis=1))


@pytest.mark.skipif(
    not all(map(module.find_spec, module.PACKAGES)), reason="needs the extra [upscale]"
)
def test_a_network_enlarges_to_any_size() -> None:
    [large] = enlarge_pictures([ball()], (72, 48), "realesrgan-video", "x")
    assert large.size == (72, 48)
    smooth = ball().resize((72, 48), Image.Resampling.LANCZOS)
    apart = abs(numpy.asarray(large).astype(int) - numpy.asarray(smooth).astype(int))
    assert 0 < apart.mean() < 8


def test_missing_packages_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"realesrgan-photo needs the packages ncnn and sr-vulkan"):
        module.check_upscale("realesrgan-photo")
    module.check_upscale("image")


def test_noise_is_that_of_the_seeds_in_the_larger_size() -> None:
    one, walk = Noise(5), Noise(5, 9, 0.25)
    mixed = Mixture(((5, 0.6), (9, 0.8)))
    rows, generators = noise_for([one, walk, mixed], SHAPE)
    ends = draw_noise(5, SHAPE), draw_noise(9, SHAPE)
    assert torch.equal(rows[0], ends[0])
    assert torch.equal(rows[1], blend_noise(*ends, 0.25))
    assert torch.equal(rows[2], mix_noise(mixed.terms, SHAPE))
    # Generators go on where the drawing ended.
    expected = torch.Generator().manual_seed(5)
    torch.randn(SHAPE, generator=expected)
    assert torch.equal(torch.randn(3, generator=generators[0]), torch.randn(3, generator=expected))


def test_noise_of_a_walk_moves_without_a_jump() -> None:
    rows = torch.cat([noise_for([Noise(1, 2, t / 20)], SHAPE)[0] for t in range(21)])
    steps = rows.diff(dim=0).flatten(1).norm(dim=1)
    assert steps.max() < 1.05 * steps.min()
    assert torch.equal(rows[-1], draw_noise(2, SHAPE))


def test_noise_of_inverted_pictures_is_that_of_seed_0() -> None:
    first, second = (Inversion(ball(), Blend(text)) for text in ("a", "b"))
    for noise in (Noise(first), Noise(first, second, 0.5), Noise(first, 0, 0.5)):
        assert torch.equal(noise_for([noise], SHAPE)[0][0], draw_noise(0, SHAPE))
    between = noise_for([Noise(first, 3, 0.5)], SHAPE)[0][0]
    assert torch.equal(between, blend_noise(draw_noise(0, SHAPE), draw_noise(3, SHAPE), 0.5))


def made(studio: Studio, upscale: Any, strength: float, axes: str = "") -> tuple[Tensor, Tensor]:
    """Latents of a first pass, and those of the second."""
    parts, steps = studio.parts, 8
    [words, empty] = encode(parts, ["a picture of a bear", ""])
    guidance = Guidance(words, empty, torch.tensor([4.0]))
    hires = Hires(scale=2.0, strength=strength)

    def denoised(flight_latents: Tensor, sampler: Any, start: int) -> Tensor:
        with torch.inference_mode():
            return denoise(
                predictor(parts), sampler, flight_latents, guidance,
                start=start, stop=steps, generators=[torch.Generator()],
            )  # fmt: skip

    sampler = build_sampler("DPM++ 2M", parts.scheduler_config, steps)
    noise = draw_noise(1, (4, 16, 16))[None] * float(sampler.init_noise_sigma)
    first = denoised(noise, sampler, 0)
    sampler = build_sampler("DPM++ 2M", parts.scheduler_config, steps)
    start = hires.first_step(steps)
    flight = second_flight(
        parts, first, hires.sized((64, 64), 4), upscale, [Noise(1)], sampler, start, axes
    )
    return first, denoised(flight.latents, flight.sampler, start)


def seen(studio: Studio, rows: Tensor) -> Image.Image:
    return to_pictures(decode_latents(studio.parts, rows))[0]


@pytest.mark.parametrize("upscale", ["latent", "latent-nearest", "image"])
def test_the_second_pass_makes_the_same_picture_larger(studio: Studio, upscale: Any) -> None:
    first, second = made(studio, upscale, 0.4)
    assert second.shape == (1, 4, 32, 32)
    small, large = (numpy.asarray(seen(studio, rows), float) for rows in (first, second))
    back = numpy.asarray(seen(studio, second).resize((64, 64), Image.Resampling.BOX), float)
    assert large.shape == (128, 128, 3)
    assert numpy.corrcoef(back.flatten(), small.flatten())[0, 1] > 0.85
    # It draws anew: what is only enlarged is less sharp.
    plain = numpy.asarray(seen(studio, first).resize((128, 128), Image.Resampling.BICUBIC), float)
    edges = [numpy.abs(numpy.diff(one, axis=1)).max(axis=1).mean() for one in (large, plain)]
    assert edges[0] > 1.1 * edges[1]


def test_the_same_seed_gives_the_same_second_pass(studio: Studio) -> None:
    assert torch.equal(made(studio, "latent", 0.5)[1], made(studio, "latent", 0.5)[1])


def test_pictures_are_encoded_as_the_model_does(studio: Studio) -> None:
    rows = torch.stack([draw_noise(seed, (4, 16, 16)) for seed in (1, 2)])
    both = enlarged(studio.parts, rows, (96, 96), "image")
    assert both.shape == (2, 4, 24, 24)
    one = enlarged(studio.parts, rows[1:], (96, 96), "image")
    torch.testing.assert_close(both[1:], one, rtol=1e-3, atol=1e-3)
