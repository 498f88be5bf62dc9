"""The `scout` tool: distances, orders against brute force, the sheet, and what is printed."""

from __future__ import annotations

import math
import random
import re
from itertools import pairwise, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcreative import Job, OutputError, PresetError, Studio
from sdcreative.media.metadata import read_tags
from sdcreative.models.clip.loading import load_pair
from sdcreative.presets import load_preset, validate
from sdcreative.provenance import preset_text, read_provenance
from sdcreative_plugins.scout import sdcreative_tools
from sdcreative_plugins.scout.job import visual_distances
from sdcreative_plugins.scout.order import shortened, smooth_order, steps
from sdcreative_plugins.scout.settings import ScoutSettings
from sdcreative_plugins.scout.sheet import MARGIN, labelled_sheet, sheet_size


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> ScoutSettings:
    """Settings of a preset; its text begins on line 2."""
    Path("scout.yaml").write_text(f"plugin: scout\n{text}\n", encoding="utf-8")
    return validate(load_preset("scout.yaml"), ScoutSettings)


def between(points: list[tuple[float, float]]) -> list[list[float]]:
    return [[math.dist(a, b) for b in points] for a in points]


def shuffled(count: int, seed: int = 1) -> list[int]:
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


@pytest.mark.parametrize("count", [2, 3, 8, 40])
def test_points_on_a_line_come_in_their_order(count: int) -> None:
    places = shuffled(count)
    order = smooth_order(between([(place, 0.0) for place in places]), closed=False)
    found = [places[i] for i in order]
    assert found in (list(range(count)), list(range(count))[::-1])
    assert order[0] < order[-1]


@pytest.mark.parametrize("count", [3, 8, 40])
def test_points_on_a_circle_come_round_it(count: int) -> None:
    places = shuffled(count)
    turns = [2 * math.pi * place / count for place in places]
    order = smooth_order(between([(math.cos(a), math.sin(a)) for a in turns]), closed=True)
    assert order[0] == 0
    hops = {(places[b] - places[a]) % count for a, b in pairwise(order)}
    assert hops in ({1}, {count - 1})


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("seed", range(8))
def test_small_orders_are_as_short_as_can_be(seed: int, closed: bool) -> None:
    numbers = random.Random(seed)
    distances = between([(numbers.random(), numbers.random()) for _ in range(7)])
    found = sum(steps(smooth_order(distances, closed), distances, closed))
    shortest = min(sum(steps(order, distances, closed)) for order in permutations(range(7)))
    assert found == pytest.approx(shortest)


def test_a_point_out_of_the_way_is_left_out() -> None:
    points = [(0.0, 0.0), (1.0, 0.0), (50.0, 50.0), (2.0, 0.0), (3.0, 0.0), (-40.0, 9.0)]
    distances = between(points)
    for closed in (False, True):
        order = smooth_order(distances, closed)
        assert sorted(order) == list(range(6))
        assert sorted(shortened(order, distances, closed, 4)) == [0, 1, 3, 4]
        assert shortened(order, distances, closed, 6) == order
    assert shortened(smooth_order(distances, False), distances, False, 4) == [0, 1, 3, 4]


def test_steps() -> None:
    distances = between([(0.0, 0.0), (3.0, 4.0), (3.0, 0.0)])
    assert steps([0, 1, 2], distances, closed=False) == [5.0, 4.0]
    assert steps([0, 1, 2], distances, closed=True) == [5.0, 4.0, 3.0]


def test_distances_closed_forms() -> None:
    black, white = Image.new("RGB", (64, 48)), Image.new("RGB", (64, 48), "white")
    half = black.copy()
    half.paste("white", (0, 0, 32, 48))
    red = Image.new("RGB", (64, 48), (255, 0, 0))
    expected = [
        [0, 1, math.sqrt(1 / 2), math.sqrt(1 / 3)],
        [1, 0, math.sqrt(1 / 2), math.sqrt(2 / 3)],
    ]
    found = visual_distances([black, white, half, red])
    assert np.array(found[:2]) == pytest.approx(np.array(expected))
    assert pytest.approx(np.array(found)) == np.array(found).T


def test_texture_counts_for_nothing_and_places_do() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    grid, shifted = (
        Image.fromarray(np.uint8(each)).convert("RGB") for each in (board, 255 - board)
    )
    left, right = Image.new("RGB", (64, 64)), Image.new("RGB", (64, 64))
    left.paste("white", (0, 0, 32, 64))
    right.paste("white", (32, 0, 64, 64))
    assert visual_distances([grid, shifted])[0][1] < 0.01
    assert visual_distances([left, right])[0][1] == pytest.approx(1)


def test_pictures_smaller_than_the_comparison_are_compared_as_they_are() -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("black", "white")]
    assert visual_distances(pictures)[0][1] == pytest.approx(1)


@pytest.mark.parametrize(("size", "scale"), [((64, 64), 3), ((200, 100), 1)])
def test_the_sheet_holds_every_picture_and_a_label(size: tuple[int, int], scale: int) -> None:
    colours = ["red", "green", "blue"]
    pictures = [Image.new("RGB", size, colour) for colour in colours]
    sheet = labelled_sheet(pictures, ["seed 1\nnext 0.1", "", "seed 3"], 2)
    assert sheet.size == sheet_size(size, 3, 2)
    width, height = sheet.width // 2, sheet.height // 2
    assert width == scale * size[0] + 2 * MARGIN
    for index, colour in enumerate(colours):
        left, top = width * (index % 2), height * (index // 2)
        centre = (left + width // 2, top + MARGIN + scale * size[1] // 2)
        assert sheet.getpixel(centre) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        below = (left, top + scale * size[1] + 2 * MARGIN, left + width, top + height)
        written = np.asarray(sheet.crop(below).convert("L")).min()
        assert (written < 128) == (colour != "green")


def scout(studio: Studio, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """What is reported of a sheet."""
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    given = {"prompt": "a bear", "first": 5, "show": 3, "steps": 2, "device": "cpu"}
    overwrite, dry_run = (changes.pop(key, False) for key in ("overwrite", "dry_run"))
    metadata = changes.pop("metadata", True)
    lines: list[str] = []
    [tool] = sdcreative_tools()
    tool.run(ScoutSettings(**(given | changes)), Job(overwrite, dry_run, lines.append, metadata))
    return lines


@pytest.mark.parametrize("loop", [False, True])
def test_a_sheet_is_written_and_its_seeds_printed(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, loop: bool
) -> None:
    lines = scout(studio, monkeypatch, seed=20, loop=loop)
    seeds = load(f"prompt: a\n{lines[0]}").seeds
    assert seeds is not None
    assert len(set(seeds)) == 3
    assert set(seeds) <= set(range(20, 25))
    numbers = [float(number) for number in re.findall(r"\d\.\d{3}", lines[1])]
    assert len(numbers) == 4
    assert numbers[0] <= numbers[1]
    assert lines[2] == "scout.png: 3 of 5 seeds"
    with Image.open("scout.png") as sheet:
        assert sheet.size == sheet_size((64, 64), 3, 4)
        shown = sheet.crop((MARGIN, MARGIN, MARGIN + 192, MARGIN + 192)).resize((64, 64))
        plain = studio.picture("a bear", seed=seeds[0], steps=2)
        difference = np.abs(np.asarray(shown, dtype=float) - np.asarray(plain, dtype=float))
        assert difference.mean() < 3


def test_seeds_that_fit_a_text_best_come_first(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    monkeypatch.setattr("sdcreative.load_pair", load_pair, raising=False)
    pictures = [studio.picture("a bear", seed=seed, steps=2) for seed in range(5)]
    fits = load_pair("emoji", device="cpu").likeness(pictures, ["an owl"])[:, 0].tolist()
    wanted = sorted(range(5), key=lambda seed: -fits[seed])[:3]
    lines = scout(studio, monkeypatch, rank_by="text", text="an owl")
    assert lines[0] == f"seeds: {wanted}"
    best, last, mean = (float(number) for number in re.findall(r"-?\d\.\d{3}", lines[1]))
    assert (best, last) == pytest.approx((fits[wanted[0]], fits[wanted[2]]), abs=6e-4)
    assert mean == pytest.approx(sum(fits) / 5, abs=6e-4)
    lines = scout(studio, monkeypatch, rank_by="text", overwrite=True)
    assert lines[1].startswith("fits 'a bear': ")
    long = scout(studio, monkeypatch, rank_by="text", text="owl " * 40, overwrite=True)
    assert long[1].endswith("; its last 10 tokens are beyond what emoji reads")


def test_what_exists_is_replaced_only_when_asked(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("scout.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match="overwrite"):
        scout(studio, monkeypatch)
    assert scout(studio, monkeypatch, dry_run=True) == [
        "5 pictures in 2 steps; 3 of them to scout.png"
    ]
    assert Path("scout.png").read_bytes() == b"mine"
    scout(studio, monkeypatch, overwrite=True)
    with Image.open("scout.png") as sheet:
        assert sheet.format == "PNG"


def test_seeds_and_more_than_there_are(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ScoutSettings(prompt="a bear", seeds=[8, 3], steps=2, device="cpu")
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    lines: list[str] = []
    sdcreative_tools()[0].run(given, Job(False, False, lines.append))
    assert lines[0] == "seeds: [8, 3]"
    lines = scout(studio, monkeypatch, seed=-1, output="drawn.png")
    assert re.fullmatch(r"seed \d+", lines[0])


def test_the_sheet_becomes_a_preset_of_the_same_sheet(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = scout(studio, monkeypatch, seed=-1, negative_prompt="blue")
    assert list(read_tags("scout.png")) == ["sdcreative"]
    provenance = read_provenance("scout.png")
    assert lines[0] == f"seed {provenance.seed}"
    assert re.fullmatch(r"[0-9a-f]{16}", provenance.digest or "")
    text = preset_text(provenance, "scout", ScoutSettings, Path("scout.png"), "again.png")
    Path("again.yaml").write_text(text, encoding="utf-8")
    again = validate(load_preset("again.yaml"), ScoutSettings)
    changes = again.model_dump(exclude={"device"})
    assert lines[1:3] == scout(studio, monkeypatch, **changes)[:2]
    assert Path("again.png").read_bytes() == Path("scout.png").read_bytes()


def test_without_metadata_the_sheet_says_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    scout(studio, monkeypatch, metadata=False)
    assert read_tags("scout.png") == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first: 4", " missing key 'prompt'"),
        ("prompt: a\nseeds: [1]", "3:8: seeds: 1 item; at least 2 items"),
        ("prompt: a\nseeds: [1, 2, 1]", "3:15: seeds.2: seed 1 again; keep one of them"),
        ("prompt: a\nseeds: [1, 2]\nfirst: 4", "4:8: first: give 'seeds' or 'first', not both"),
        ("prompt: a\nfirst: 1000", "3:8: first: 1000 is too large; at most 256"),
        ("prompt: a\nprocess: [deflicker]", "3:10: process: is for films and pictures, not for"),
        ("prompt: a\ntext: b", "3:7: text: goes with rank_by: text"),
        ("prompt: a\nrank_by: text\nloop: true", "4:7: loop: goes with rank_by: walk"),
        ("prompt: ' '\nrank_by: text", "2:9: prompt: is empty; say what to look for"),
        ("prompt: a\nrank_by: text\ntext: ' '", "4:7: text: is empty; say what to look for"),
        ("prompt: a\nshow: 1", "3:7: show: 1 is too small; at least 2"),
        ("prompt: a\noutput: a.mp4", "3:9: output: 'a.mp4' is no picture; end it with .png"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert str(error.value).startswith(f"scout.yaml:{message}")


def test_the_bundled_preset_fits() -> None:
    assert validate(load_preset("scout_bears"), ScoutSettings).show == 12
