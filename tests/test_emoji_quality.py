"""The benchmark of the built-in model: its yardsticks, held against what they must say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import emoji_classifier
import emoji_evaluation
import emoji_measures
import emoji_quality
from sdcreative import Studio
from sdcreative_plugins.train.autoencoder import AutoencoderObjective
from sdcreative_plugins.train.pictures import Drawing, compose
from sdcreative_plugins.train.settings import AutoencoderStage, Schedule

SIDE = 64
SHAPES = {"bear": "brown", "red apple": "red", "lime": "green", "plum": "purple"}


@pytest.fixture(scope="module")
def drawings() -> list[Drawing]:
    return [_draw(name, style) for style in range(3) for name in SHAPES]


def _draw(name: str, style: int) -> Drawing:
    picture = Image.new("RGBA", (SIDE, SIDE))
    pen = ImageDraw.Draw(picture)
    box = (6 + 2 * style, 6, 56, 58 - 4 * style)
    if name in ("bear", "lime"):
        pen.ellipse(box, fill=SHAPES[name])
    else:
        pen.rectangle(box, fill=SHAPES[name])
    pen.line((10, 12 + 8 * style, 40, 50), fill="navy", width=3)
    return Drawing(
        rgba=np.array(picture),
        captions=(f"a picture of a {name}",),
        background_caption="on a {background} background",
        name=name,
        style=str(style),
        avoid=frozenset({"teal"}),
    )


def test_things_are_spread_and_hold_bear_and_apple() -> None:
    names = sorted([f"thing {i:03}" for i in range(200)] + ["bear", "red apple"])
    chosen = emoji_evaluation.choose_things(names, 20)
    assert len(chosen) == len(set(chosen)) == 20
    assert {"bear", "red apple"} <= set(chosen)
    assert emoji_evaluation.spread(range(9), 3) == [0, 3, 6]
    assert emoji_evaluation.spread([1, 2], 5) == [1, 2]


def test_the_classifier_learns_and_is_cached(drawings: list[Drawing], tmp_path: Path) -> None:
    device, lines = torch.device("cpu"), []
    small = [emoji_classifier.fit_drawing(d, 32) for d in drawings]
    first = emoji_classifier.read_classifier(small, 40, tmp_path, device, lines.append)
    again = emoji_classifier.read_classifier(small, 40, tmp_path, device, lines.append)
    assert len(lines) == 1
    pixels = emoji_measures.composed(drawings, 24, white=0.5)
    guesses = first.guess(pixels)
    assert guesses == again.guess(pixels)
    names = [(drawings[i % len(drawings)].name,) for i in range(24)]
    assert emoji_measures.recognise(guesses, names).top1 > 0.9


def test_the_background_of_real_compositions_is_named(drawings: list[Drawing]) -> None:
    rng = np.random.default_rng(3)
    samples = [compose(d, rng, white=0.2) for d in drawings * 4]
    found = emoji_measures.background_names(torch.from_numpy(np.stack([s.pixels for s in samples])))
    for name, sample in zip(found, samples, strict=True):
        assert f"on a {name} background" in sample.captions[-1]


def test_held_out_pairs_are_those_training_avoids(drawings: list[Drawing]) -> None:
    held, seen = emoji_evaluation.choose_pairs(drawings, sorted(SHAPES), 4)
    assert [name for name, _ in held] == [name for name, _ in seen] == sorted(SHAPES)
    assert {colour for _, colour in held} == {"teal"}
    assert not {colour for _, colour in seen} & {"teal", "white"}


def test_distance_is_blind_to_placement_and_mirror_but_not_to_the_thing(
    drawings: list[Drawing],
) -> None:
    placed = emoji_measures.composed(drawings[:4], 16)
    near = emoji_measures.nearest_distances(placed, drawings[:4])
    far = emoji_measures.nearest_distances(placed[::4], drawings[1:4])
    assert near.max() < 0.15
    assert far.min() > 0.2
    assert emoji_measures.cropped(torch.ones(1, 3, 16, 16)).shape == (1, 3, 32, 32)


def test_psnr_is_that_of_training(drawings: list[Drawing]) -> None:
    studio = Studio.load("emoji", device="cpu", dtype="float32")
    size = studio.size[0]
    held_out = [emoji_classifier.fit_drawing(d, size) for d in drawings]
    stage = AutoencoderStage(schedule=Schedule(steps=1))
    objective = AutoencoderObjective(
        stage, size, held_out, held_out, torch.device("cpu"), studio.parts.vae
    )
    measured = emoji_measures.measure_autoencoder(studio, held_out)
    assert measured.psnr == pytest.approx(objective.psnr(measured.pictures), abs=1e-3)


def test_from_end_to_end(
    drawings: list[Drawing],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    split = drawings[:-1], drawings[-1:]
    monkeypatch.setattr(emoji_quality, "read_split", lambda *arguments: split)
    monkeypatch.setattr(emoji_measures, "PSNR_PICTURES", 2)
    command = "--size 32 --prompts 3 --seeds 2 --pairs 2 --favourite-seeds 2 --steps 1 "
    command += f"--classifier-steps 3 --device cpu --cache {tmp_path} "
    command += f"--json {tmp_path}/a.json --sheet {tmp_path}/a.png"
    assert emoji_quality.main(command.split()) == 0
    document = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert document["figures"]["things, generated"]["pictures"] == 6
    assert document["figures"]["backgrounds, held-out pairs"]["pictures"] == 2
    assert len(document["guesses"]["bear"]) == 2
    assert "apple, seeds 0 to 1" in capsys.readouterr().out
    with Image.open(tmp_path / "a.png") as sheet:
        assert sheet.width == 16 * (Studio.load("emoji", device="cpu").size[0] + 6)


def test_a_preset_of_other_pictures_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = tmp_path / "mine.yaml"
    data, stage = "{source: folder, folder: y}", "{schedule: {steps: 1}}"
    preset.write_text(f"plugin: train\noutput: x\ndata: {data}\nautoencoder: {stage}\n")
    assert emoji_quality.main(["--preset", str(preset), "--cache", str(tmp_path)]) == 2
    assert "source: emoji" in capsys.readouterr().err
