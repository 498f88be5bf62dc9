"""Distances between pictures, against closed forms and reference implementations."""

from __future__ import annotations

import importlib.util
import math
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from skimage.metrics import structural_similarity as reference_ssim

from sdcreative import Studio
from sdcreative.errors import PluginError, UsageError
from sdcreative.metrics import METRICS, PORTION, along, check_metric, find_metric
from sdcreative.metrics import structural_similarity as our_ssim
from sdcreative.models.building import build_clip, save_part
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.vae import decode_latents, to_pictures

WITHOUT_MODEL = ["ssim", "pixel"]
WITH_MODEL = ["latent", *WITHOUT_MODEL]


def noise(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    random = numpy.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), numpy.uint8))


def grey(level: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    return Image.new("RGB", size, (level,) * 3)


def faded(a: Image.Image, b: Image.Image, count: int) -> list[Image.Image]:
    return [Image.blend(a, b, i / (count - 1)) for i in range(count)]


@pytest.mark.parametrize("name", WITH_MODEL)
def test_equal_pictures_are_at_distance_0_and_others_are_not(studio: Studio, name: str) -> None:
    metric = find_metric(name, studio)
    same, other = metric([noise(1), noise(1), noise(2)])
    assert same == pytest.approx(0, abs=1e-6)
    assert other > 0.1
    assert metric([noise(2), noise(1)]) == pytest.approx([other], rel=1e-4)
    assert metric([noise(1)]) == []


def test_pixel_closed_form() -> None:
    metric = find_metric("pixel")
    assert metric([grey(0), grey(51), grey(255)]) == pytest.approx([0.2, 0.8])
    half = grey(0)
    half.paste((255,) * 3, (0, 0, 32, 64))
    assert metric([grey(0), half]) == pytest.approx([math.sqrt(0.5)])


@pytest.mark.parametrize("size", [(64, 64), (11, 40), (33, 17)])
@pytest.mark.parametrize("other", [noise, lambda seed, size: noise(1, size).rotate(2)])
def test_ssim_is_that_of_scikit_image(size, other) -> None:
    a, b = noise(1, size), other(2, size)
    wanted = reference_ssim(
        numpy.asarray(a) / 255,
        numpy.asarray(b) / 255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=-1,
    )
    [distance] = find_metric("ssim")([a, b])
    assert 1 - distance**2 == pytest.approx(wanted, abs=1e-7)


def test_ssim_of_flat_pictures_is_its_luminance_term() -> None:
    a, b = torch.full((1, 3, 16, 16), 0.25), torch.full((1, 3, 16, 16), 0.75)
    wanted = (2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4)
    assert float(our_ssim(a.double(), b.double())) == pytest.approx(wanted)


def test_ssim_is_exactly_1_for_equal_pictures() -> None:
    rows = torch.rand(3, 3, 20, 20, dtype=torch.float64)
    assert our_ssim(rows, rows.clone()).tolist() == [1.0] * 3


def test_ssim_needs_room_for_its_window() -> None:
    with pytest.raises(UsageError, match="at least 11x11 pixels, not 10x64; use pixel"):
        find_metric("ssim")([noise(1, (10, 64)), noise(2, (10, 64))])


def test_latent_is_the_root_mean_square_of_latents(studio: Studio) -> None:
    generator = torch.Generator().manual_seed(0)
    pictures = to_pictures(
        decode_latents(studio.parts, torch.randn(2, 4, 16, 16, generator=generator))
    )
    metric = find_metric("latent", studio)
    near, far = metric([pictures[0], pictures[0], pictures[1]])
    assert near == pytest.approx(0, abs=1e-5)
    assert 0.5 < far < 3  # two pictures of unit variance are about sqrt(2) apart


@pytest.mark.parametrize("name", WITH_MODEL)
def test_half_the_way_is_about_half_as_far(studio: Studio, name: str) -> None:
    # 1 - SSIM is not: of a fade in two parts, each is about a quarter of the whole.
    picture = noise(1).resize((8, 8)).resize((64, 64), Image.Resampling.BICUBIC)
    close = Image.blend(picture, noise(2), 0.06)
    metric = find_metric(name, studio)
    whole = sum(metric([picture, close]))
    halves = sum(metric([picture, Image.blend(picture, close, 0.5), close]))
    assert halves == pytest.approx(whole, rel=0.35)


@pytest.mark.parametrize("count", [1, 2, PORTION - 1, PORTION, PORTION + 1, 3 * PORTION])
def test_a_stream_gives_what_the_list_gives(count: int) -> None:
    pictures = [noise(seed, (16, 16)) for seed in range(count)]
    metric = find_metric("pixel")
    assert list(along(iter(pictures), metric)) == metric(pictures)


def test_a_stream_is_not_gathered() -> None:
    given: list[int] = []

    def endless():
        for seed in range(10_000):
            given.append(seed)
            yield grey(seed % 256, (4, 4))

    distances = along(endless(), find_metric("pixel"))
    next(distances)
    assert len(given) <= PORTION


def test_no_pictures_have_no_distances() -> None:
    assert list(along([], find_metric("pixel"))) == []


def test_a_name_is_looked_up_with_a_hint() -> None:
    assert check_metric("latent") == "latent"
    with pytest.raises(UsageError, match="no metric is called 'pixels'; did you mean 'pixel'"):
        check_metric("pixels")
    with pytest.raises(UsageError, match="choose from latent, ssim, pixel, clip, lpips"):
        find_metric("?")


def test_some_need_a_model() -> None:
    with pytest.raises(UsageError, match=r"'latent' measures with a model.*use pixel"):
        find_metric("latent")


def test_sizes_have_to_agree_and_to_fit_the_model(studio: Studio) -> None:
    with pytest.raises(UsageError, match="64x32 and 64x64 pixels; scale"):
        find_metric("pixel")([grey(0), grey(0, (64, 32))])
    with pytest.raises(UsageError, match="size 33x64"):
        find_metric("latent", studio)([grey(0, (33, 64))] * 2)


def test_clip_is_the_built_in_pairs_where_the_model_has_none(
    studio: Studio, tmp_path: Path
) -> None:
    pair = load_pair("emoji", device="cpu")
    pictures = [noise(1), grey(200), noise(3)]
    vectors = pair.pictures(pictures).double()
    wanted = [math.acos(float(a @ b)) for a, b in pairwise(vectors)]
    lacking = replace(studio, parts=without_clip(studio, tmp_path))
    for given in (None, studio, lacking):
        assert find_metric("clip", given)(pictures) == pytest.approx(wanted, abs=1e-4)


def test_clip_puts_a_bear_nearer_to_a_bear_than_to_an_apple(studio: Studio) -> None:
    bear, other, apple = (
        studio.picture(f"a picture of a {thing}", seed=seed, steps=8, guidance_scale=5)
        for thing, seed in (("bear", 1), ("bear", 2), ("red apple", 1))
    )
    near, far = find_metric("clip", studio)([bear, other, apple])
    assert 0 < near < far


def without_clip(studio: Studio, folder: Path):
    source = Path(studio.parts.tokenizer.name_or_path)
    shutil.copytree(source, folder / "tokenizer")
    tokenizer = type(studio.parts.tokenizer).from_pretrained(folder / "tokenizer")
    return replace(studio.parts, tokenizer=tokenizer)


def test_clip_is_the_angle_between_embeddings(studio: Studio, tmp_path: Path) -> None:
    parts = without_clip(studio, tmp_path)
    torch.manual_seed(0)
    words = len(parts.tokenizer)
    pair = build_clip(width=32, layers=1, heads=2, vocabulary=words, context=8, size=64, patch=16)
    save_part(pair, tmp_path / "clip")
    metric = find_metric("clip", replace(studio, parts=parts))
    pictures = [noise(1), noise(1), grey(200), noise(3)]
    pixels = torch.stack([torch.from_numpy(numpy.array(p)).permute(2, 0, 1) for p in pictures])
    with torch.no_grad():
        pooled = pair.vision_model(pixels.float() / 127.5 - 1).pooler_output
        vectors = torch.nn.functional.normalize(pair.visual_projection(pooled).double(), dim=-1)
    cosines = [float(a @ b) for a, b in pairwise(vectors)]
    distances = metric(pictures)
    assert distances[0] == pytest.approx(0, abs=1e-5)
    assert [math.cos(distance) for distance in distances] == pytest.approx(cosines, abs=1e-4)
    [large] = metric([picture.resize((128, 128)) for picture in pictures[1:3]])
    assert large == pytest.approx(distances[1], rel=0.3)


@pytest.mark.skipif(importlib.util.find_spec("lpips") is not None, reason="lpips is installed")
def test_lpips_says_what_it_lacks() -> None:
    with pytest.raises(UsageError, match=r"needs the package lpips.*use latent, ssim or pixel"):
        find_metric("lpips")


@pytest.mark.parametrize(
    ("answer", "message"),
    [([1.0, 1.0], "2 distances for 2 pictures; 1 were due"), ([math.nan], "gave nan")],
)
def test_a_plugins_distance_is_checked(monkeypatch, answer: list[float], message: str) -> None:
    def factory(studio: Studio | None):
        def metric(pictures: Sequence[Image.Image]) -> list[float]:
            return answer

        return metric

    monkeypatch.setitem(METRICS, "odd", factory)
    with pytest.raises(PluginError, match=message):
        find_metric("odd")([grey(0), grey(1)])


def test_names_are_known_without_torch() -> None:
    code = (
        "import sys; from sdcreative.metrics import check_metric; check_metric('clip');"
        "print([name for name in ('torch', 'numpy', 'PIL', 'diffusers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
