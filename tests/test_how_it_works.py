"""docs/how-it-works.md: its pictures can be made again, and what it names exists."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import how_it_works
from how_it_works import BEAR, PARTS, Sizes, noise_of, trace
from how_it_works_plot import Axes, Curve, draw_axes
from sdcreative import Studio
from sdcreative.cli.attention import attention_command
from sdcreative.cli.tokens import tokens_command

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-it-works.md"
TEXT = PAGE.read_text("utf-8")
SMALLEST = Sizes(steps=2, points=3)
MOST_BYTES = 350_000


@pytest.mark.parametrize("name", PARTS)
def test_a_picture_can_be_made_again(studio: Studio, name: str, tmp_path: Path) -> None:
    sheet = PARTS[name](studio, SMALLEST)
    how_it_works.write(sheet, tmp_path / "again.png")
    with Image.open(tmp_path / "again.png") as again, Image.open(drawn(name)) as known:
        assert again.size == sheet.size == known.size
        assert again.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        near = np.asarray(again.convert("RGB"), int) - np.asarray(sheet, int)
    assert np.abs(near).mean() < 4


def test_all_pictures_are_named_by_the_page_and_small() -> None:
    named = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert sorted(named) == sorted(f"how-it-works/{name}.png" for name in PARTS)
    assert sorted(path.stem for path in drawn("noising").parent.iterdir()) == sorted(PARTS)
    assert sum(drawn(name).stat().st_size for name in PARTS) < MOST_BYTES


def test_every_function_and_page_that_is_named_exists() -> None:
    links = re.findall(r"\[`([\w.]+)`\]\(\.\./(sdcreative/[\w/]+)\.py\)", TEXT)
    assert len(links) == TEXT.count("](../")
    assert len(links) > 20
    for name, path in links:
        module = importlib.import_module(path.replace("/", "."))
        found = getattr(module, name)
        assert found.__module__ == module.__name__, f"{name} is not at home in {path}"
    for page in re.findall(r"\]\(([\w-]+\.md)\)", TEXT):
        assert (PAGE.parent / page).is_file()
    for script in re.findall(r"python (benchmarks/\S+\.py)", TEXT):
        assert (ROOT / script).is_file()


def test_the_table_of_tokens_is_what_the_command_prints() -> None:
    said = CliRunner().invoke(tokens_command(), [BEAR], catch_exceptions=False).output
    block = [f'$ sdcreative tokens "{BEAR}"', *said.splitlines()]
    assert "".join(f"    {line}\n" for line in block) in TEXT


def test_commands_on_the_page_parse() -> None:
    lines = re.findall(r"^    sdcreative attention (.+)$", TEXT, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        attention_command().make_context("attention", shlex.split(line))


def test_the_python_example_runs(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    block = re.search(r"((?:    .*\n|\n)+?)(?=\n## 7)", TEXT[TEXT.index("with all steps kept") :])
    assert block is not None
    code = "\n".join(line[4:] for line in block[1].splitlines())
    code = code.replace("seed=1)", "seed=1, steps=5)")
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "example.py"))
    assert names["shares"].shape == (16, 16)
    assert 0 < float(names["shares"].min()) < float(names["shares"].max()) < 1


def test_watched_sampling_is_that_of_the_suite(studio: Studio) -> None:
    moments, latents = trace(studio, BEAR, noise_of(studio, 6), 3, 5.0)
    plain = studio.picture(BEAR, seed=6, steps=3, guidance_scale=5.0)
    assert how_it_works.decoded(studio, latents).tobytes() == plain.tobytes()
    assert [moment.time for moment in moments] == [999, 666, 332]
    # The last step takes away all noise that is left.
    assert torch.allclose(moments[-1].clean, latents, atol=1e-4)


def test_without_guidance_the_expected_picture_is_that_of_scale_1(studio: Studio) -> None:
    moments, _ = trace(studio, BEAR, noise_of(studio, 6), 2, 1.0)
    for moment in moments:
        alone = how_it_works.without_guidance(studio, BEAR, moment)
        assert torch.allclose(alone, moment.clean, atol=1e-4)


def test_curves_are_drawn_to_scale() -> None:
    sheet = Image.new("RGB", (400, 300), "white")
    points = [(x / 10, x / 10) for x in range(11)]
    axes = Axes("rising", "t", (Curve("one", points), Curve("half", [(0, 0.5), (1, 0.5)])))
    draw_axes(sheet, axes, (0, 0, 390, 300))
    pixels = np.asarray(sheet, int)
    blue, orange = (np.abs(pixels - rgb).sum(axis=2) < 30 for rgb in ((0, 114, 178), (213, 94, 0)))
    inside = (slice(36, 248), slice(60, 380))
    rows, columns = np.nonzero(blue[inside])
    # Both go through the middle of the panel: from 44 to 390, from 30 to 254.
    slope = np.polyfit(columns, rows, 1)[0]
    assert slope == pytest.approx(-(254 - 30) / (390 - 44), rel=0.03)
    assert np.nonzero(orange[inside])[0].mean() + 36 == pytest.approx((254 + 30) / 2, abs=1)


def drawn(name: str) -> Path:
    return PAGE.parent / "how-it-works" / f"{name}.png"
