"""Films are measured: every figure against films whose figure is known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from click.testing import CliRunner
from PIL import Image

from sdcreative.cli.smoothness import smoothness_command
from sdcreative.errors import DataError, OutputError, SdcreativeError, UsageError
from sdcreative.media.writers import open_writer
from sdcreative.metrics import PORTION, find_metric
from sdcreative.smoothness import Smoothness, analyse, draw_steps
from sdcreative.smoothness.analysis import flicker_of
from sdcreative.smoothness.plot import round_unit

PIXEL = find_metric("pixel")


def wipe(place: float, size: int = 64) -> Image.Image:
    """Grey, with the part left of the place in white; equal moves are equal steps."""
    picture = Image.new("RGB", (size, size), (90, 90, 90))
    picture.paste((250, 250, 250), (0, 0, round(place), size))
    return picture


def levels(*values: int) -> list[Image.Image]:
    """Pictures whose pixels differ by what their levels do; a corner keeps them from being flat."""
    found = []
    for value in values:
        picture = Image.new("RGB", (64, 64), (value,) * 3)
        picture.paste((255, 0, 0), (0, 0, 16, 16))
        found.append(picture)
    return found


def test_an_even_film() -> None:
    found = analyse(levels(*range(20, 120, 10)), PIXEL)
    step = 10 / 255 * math.sqrt(15 / 16)
    assert found.steps == pytest.approx([step] * 9)
    assert (found.largest, found.median, found.ratio) == pytest.approx((step, step, 1))
    assert (found.jumps, found.duplicates, found.black, found.flat) == ((), (), (), ())
    assert found.flicker == 0
    assert found.seam == pytest.approx(9 * step)
    assert found.frames == 10


def test_a_jump_is_found_however_even_the_rest() -> None:
    found = analyse(levels(20, 30, 40, 50, 60, 90, 100, 110, 120), PIXEL)
    assert found.jumps == (4,)
    assert found.ratio == pytest.approx(3)


def test_an_uneven_film_without_jumps_has_none() -> None:
    places = [0.0]
    for i in range(30):
        places.append(places[-1] + 4 + 3 * math.sin(i * 2.4))
    assert analyse(levels(*map(round, places)), PIXEL).jumps == ()


def test_jumps_of_a_film_that_mostly_stands_still() -> None:
    found = analyse(levels(*[20] * 30, *[200] * 30, *[100] * 30), PIXEL)
    assert found.jumps == (29, 59)
    assert len(found.duplicates) == 87
    assert found.ratio == math.inf


def test_a_film_on_twos_has_duplicates_and_no_jumps() -> None:
    found = analyse(levels(*[10 * (i // 2) for i in range(20)]), PIXEL)
    assert found.jumps == ()
    assert found.duplicates == tuple(range(0, 19, 2))


def test_a_film_where_nothing_moves() -> None:
    found = analyse(levels(50, 50, 50), PIXEL)
    assert (found.ratio, found.jumps, found.duplicates) == (1.0, (), (0, 1))


def test_black_and_flat_frames() -> None:
    pictures = levels(100, 120, 140, 160)
    pictures[1] = Image.new("RGB", (64, 64), (3, 0, 5))
    pictures[2] = Image.new("RGB", (64, 64), (200, 30, 30))
    found = analyse(pictures, PIXEL)
    assert (found.black, found.flat) == ((1,), (2,))


@pytest.mark.parametrize(
    ("brightness", "flicker"),
    [
        ([0.1, 0.9] * 10, 1.0),
        ([i / 20 for i in range(20)], 0.0),
        ([0.2, 0.2, 0.8, 0.8] * 50, 0.5),  # turns back after every second change: w = pi / 2
        ([0.5] * 10, 0.0),
        ([0.5, 0.5005] * 10, 0.0),  # beneath what 8 bits show
        ([0.1, 0.9], 0.0),
    ],
)
def test_flicker_closed_forms(brightness: list[float], flicker: float) -> None:
    assert flicker_of(brightness) == pytest.approx(flicker, abs=0.01)


@pytest.mark.parametrize("turn", [0.1, 0.7, 2.0])
def test_flicker_of_a_wave_is_its_frequency(turn: float) -> None:
    wave = [0.5 + 0.4 * math.sin(turn * i) for i in range(5000)]
    assert flicker_of(wave) == pytest.approx(math.sin(turn / 2) ** 2, rel=0.01)


def test_the_seam_of_a_loop_is_one_more_step() -> None:
    circle = [wipe(32 + 30 * math.cos(2 * math.pi * i / 24)) for i in range(24)]
    found = analyse(circle, PIXEL)
    [step] = PIXEL([circle[-1], circle[0]])
    assert found.seam == step


@pytest.mark.parametrize(("count", "words"), [(0, "0 pictures;"), (1, "1 picture;")])
def test_a_film_has_at_least_two_pictures(count: int, words: str) -> None:
    with pytest.raises(DataError, match=words):
        analyse(levels(*range(count)), PIXEL)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="64x64"):
        analyse([wipe(3), wipe(3, 32)], PIXEL)


def test_a_long_film_is_not_gathered() -> None:
    alive = []

    def film() -> Iterator[Image.Image]:
        import weakref

        for i in range(200):
            picture = wipe(i % 64)
            alive.append(weakref.ref(picture))
            most.append(sum(one() is not None for one in alive))
            yield picture

    most: list[int] = []
    analyse(film(), PIXEL)
    assert max(most) <= 2 * PORTION + 3


def test_the_plot_marks_jumps_and_fits_any_film() -> None:
    jumping = analyse(levels(20, 30, 40, 50, 60, 90, 100), PIXEL)
    even = analyse(levels(20, 30, 40, 50, 60, 70, 80), PIXEL)
    red = [count_red(draw_steps(found, "pixel", "film")) for found in (jumping, even)]
    assert red[0] > 50
    assert red[1] == 0
    for steps in [(0.0,), (1e-9, 1e9), (5.0,) * 3000]:
        found = Smoothness(steps, max(steps), steps[0], 1.0, (), (0,), (), (), 0.0, 0.0)
        assert draw_steps(found, "latent", "Bär").size == (960, 420)


def count_red(picture: Image.Image) -> int:
    return int((numpy.asarray(picture) == (208, 47, 47)).all(axis=-1).sum())


@pytest.mark.parametrize(
    ("least", "unit"), [(0.011, 0.02), (0.2, 0.2), (3, 5), (70, 100), (1, 1), (5.1, 10)]
)
def test_axes_have_round_numbers(least: float, unit: float) -> None:
    assert round_unit(least) == pytest.approx(unit)


def write(path: Path, pictures: list[Image.Image]) -> Path:
    with open_writer(path, 12, pictures[0].size) as writer:
        for picture in pictures:
            writer.add(picture)
    return path


FAULTY = levels(*range(20, 80, 10), *[70] * 3, *range(120, 220, 10), 220)


@pytest.mark.parametrize("suffix", [".mp4", ".webp", ".apng", ""])
def test_faults_are_found_after_encoding(tmp_path: Path, suffix: str) -> None:
    film = write(tmp_path / f"film{suffix}", FAULTY)
    result = CliRunner().invoke(smoothness_command(), [str(film), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["frames"], found["metric"]) == (20, "pixel")
    assert (found["jumps"], found["duplicates"]) == ([8], [5, 6, 7])
    assert len(found["steps"]) == 19


def test_the_command_says_it_in_words_and_draws(tmp_path: Path) -> None:
    film = write(tmp_path / "film.apng", FAULTY)
    plot = tmp_path / "steps.png"
    words = [str(film), "--plot", str(plot)]
    result = CliRunner().invoke(smoothness_command(), words)
    assert result.exit_code == 0, result.output
    assert "frames       20\n" in result.output
    assert "jumps        1: after frame 8" in result.output
    assert "duplicates   3: frame 6, 7, 8\n" in result.output
    assert "black        none\n" in result.output
    with Image.open(plot) as drawn:
        assert count_red(drawn.convert("RGB")) > 50
    refused = CliRunner().invoke(smoothness_command(), words)
    assert isinstance(refused.exception, OutputError)
    assert CliRunner().invoke(smoothness_command(), [*words, "--overwrite"]).exit_code == 0


def test_the_metric_can_be_chosen(tmp_path: Path) -> None:
    film = write(tmp_path / "film.apng", FAULTY)
    result = CliRunner().invoke(smoothness_command(), [str(film), "--metric", "ssim", "--json"])
    found = json.loads(result.output)
    assert found["metric"] == "ssim"
    assert found["steps"] == pytest.approx(find_metric("ssim")(FAULTY))


def test_json_has_no_infinity(tmp_path: Path) -> None:
    film = write(tmp_path / "film.apng", levels(*[20] * 5, 90))
    result = CliRunner().invoke(smoothness_command(), [str(film), "--json"])
    assert json.loads(result.output)["ratio"] is None
    assert "Infinity" not in result.output


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["none.mp4"], "no such file", 1),
        (["page.mp4"], "no film that decodes", 1),
        (["one.png"], "1 picture;", 1),
        (["none.mp4", "--plot", "steps.gif"], "steps.gif: ending '.gif'; use .png", 1),
        (["one.png", "--metric", "pixle"], "did you mean 'pixel'", 2),
        (["one.png", "--metric", "latent"], "measures with a model; name it: --model emoji", 2),
    ],
)
def test_what_cannot_be_measured_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.mp4").write_text("<html></html>")
    wipe(3).save("one.png")
    error = CliRunner().invoke(smoothness_command(), words).exception
    assert isinstance(error, SdcreativeError)
    assert (message in str(error), error.exit_code) == (True, code)
