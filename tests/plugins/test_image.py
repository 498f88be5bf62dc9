"""The `image` tool: grids of prompts and seeds, start pictures, masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcreative import Blend, DataError, Noise, OutputError, PresetError, Shot, Studio
from sdcreative.presets import load_preset, schema, validate
from sdcreative.produce import produce
from sdcreative_plugins.image import sdcreative_tools
from sdcreative_plugins.image.settings import ImageSettings
from sdcreative_plugins.image.timeline import timeline


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str) -> ImageSettings:
    """Settings of a preset; its text begins on line 2."""
    Path("bear.yaml").write_text(f"plugin: image\n{text}\n", encoding="utf-8")
    return validate(load_preset("bear.yaml"), ImageSettings)


def shots(settings: ImageSettings) -> list[Shot]:
    return [frame for frame in timeline(settings) if isinstance(frame, Shot)]


def picture(name: str, colour: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> str:
    Image.new(mode, size, colour).save(name)
    return name


def test_one_picture() -> None:
    settings = load("prompt: a bear\nseed: 7\nnegative_prompt: blue\nguidance_scale: 3\nsize: 32")
    assert shots(settings) == [Shot(Blend("a bear"), Noise(7), Blend("blue"), 3.0)]
    made = timeline(settings)
    assert (len(made), made.columns, made.size) == (1, None, (32, 32))


def test_a_grid_has_a_row_per_prompt_and_a_column_per_seed() -> None:
    settings = load("prompt: [bear, apple]\ncount: 3\nseed: 5")
    assert [(s.prompt.start, s.noise.start) for s in shots(settings)] == [
        (prompt, seed) for prompt in ("bear", "apple") for seed in (5, 6, 7)
    ]
    assert timeline(settings).columns == 3


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("prompt: a\ncount: 3", 3),
        ("prompt: a\ncount: 20", 8),
        ("prompt: a\ncount: 20\ncolumns: 5", 5),
        ("prompt: [a, b]", 1),
        ("prompt: [a, b]\ncolumns: 2", 2),
        ("prompt: [a]\ncolumns: 2", None),
    ],
)
def test_columns(text: str, columns: int | None) -> None:
    assert timeline(load(text)).columns == columns


def test_seeds_go_round_at_their_end() -> None:
    settings = load(f"prompt: a\ncount: 2\nseed: {2**32 - 1}")
    assert [shot.noise for shot in shots(settings)] == [Noise(2**32 - 1), Noise(0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("promt: a", " missing key 'prompt'\nbear.yaml:2:1: unknown key 'promt'; did you mean"),
        ("prompt: []", "2:9: prompt: 0 items; at least 1 item"),
        ("prompt: 3", "2:9: prompt: 3 is not text or a list"),
        ("prompt: [a, 3]", "2:13: prompt.1: 3 is not text; put it in quotes"),
        ("prompt: a\ncount: 0", "3:8: count: 0 is too small; at least 1"),
        ("prompt: a\ncolumns: 0", "3:10: columns: 0 is too small; at least 1"),
        (
            "prompt: a\nmask: m.png",
            "3:7: mask: needs 'image', the picture that it is laid on",
        ),
        ("prompt: a\nstrength: 1", "3:11: strength: needs 'image', the picture to start from"),
        ("prompt: a\nimage: x\nstrength: 2", "4:11: strength: 2 is too large; at most 1"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert str(error.value).startswith(f"bear.yaml:{message}")


def test_a_start_picture_and_its_mask() -> None:
    picture("start.png", "red")
    picture("mask.png", "white", mode="L")
    [shot] = shots(load("prompt: a\nimage: start.png\nmask: mask.png\nstrength: 0.3"))
    assert shot.image is not None and shot.mask is not None
    assert (shot.image.mode, shot.mask.mode, shot.strength) == ("RGB", "L", 0.3)
    [shot] = shots(load("prompt: a\nimage: start.png"))
    assert (shot.mask, shot.strength) == (None, 0.75)


def test_start_pictures_that_cannot_be_read() -> None:
    with pytest.raises(DataError, match=r"^start\.png: no such file$"):
        timeline(load("prompt: a\nimage: start.png"))
    Path("start.png").write_text("<html>")
    with pytest.raises(DataError, match=r"^start\.png: is no picture"):
        timeline(load("prompt: a\nimage: start.png"))


def test_schema() -> None:
    result = schema(ImageSettings)
    assert result["then"] == {"required": ["prompt"]}
    own = set(ImageSettings.__annotations__) - {"model_config"}
    assert [name for name in own if "description" not in result["properties"][name]] == []


def make(studio: Studio, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[str]:
    """What is reported of a picture written to out.png."""
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    given = {"prompt": "a bear", "steps": 2, "device": "cpu", "output": "out.png"}
    lines: list[str] = []
    produce(
        sdcreative_tools()[0],
        ImageSettings(**(given | changes)),
        default_name="bear",
        overwrite=False,
        dry_run=False,
        report=lines.append,
    )
    return lines


def read(name: str) -> np.ndarray:
    with Image.open(name) as opened:
        return np.asarray(opened.convert("RGB"), dtype=int)


def test_a_sheet_holds_the_plain_pictures(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = make(studio, monkeypatch, prompt=["a bear", "an apple"], count=3, seed=5)
    assert lines == ["out.png: 6 frames of 64x64, seed 5"]
    sheet = read("out.png")
    assert sheet.shape == (128, 192, 3)
    plain = np.asarray(studio.picture("an apple", seed=7, steps=2), dtype=int)
    assert np.abs(sheet[64:, 128:] - plain).max() <= 1
    with pytest.raises(OutputError, match="overwrite"):
        make(studio, monkeypatch)


def test_strength_0_gives_the_picture_back(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    make(studio, monkeypatch, image=picture("start.png", "teal"), strength=0.0)
    assert (read("out.png") == read("start.png")).all()


def test_what_a_mask_keeps_is_kept(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = Image.new("L", (64, 64), "black")
    mask.paste("white", (32, 0, 64, 64))
    mask.save("mask.png")
    make(studio, monkeypatch, image=picture("start.png", "teal"), mask="mask.png", strength=1.0)
    made, start = read("out.png"), read("start.png")
    assert (made[:, :32] == start[:, :32]).all()
    assert np.abs(made[:, 32:] - start[:, 32:]).max() > 1


def test_seamless_pictures_wrap_around() -> None:
    assert timeline(load("prompt: a leaf")).seamless == ""
    assert timeline(load("prompt: a leaf\nseamless: xy")).seamless == "xy"
