"""`sdcreative attention` with the built-in model: the picture is the plain one, shares are said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from sdcreative import Studio
from sdcreative.attention import Attended, WordMap, attend, draw_attention, overlay
from sdcreative.cli.attention import attention_command
from sdcreative.errors import OutputError, UsageError
from sdcreative.storyboard.tiles import Tile, TileRow, enlarged, tile_sheet

APPLE = "a red apple, on a yellow background"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)


def run(*words: str) -> str:
    return CliRunner().invoke(attention_command(), words, catch_exceptions=False).output


def test_a_sheet_is_written_and_shares_are_said() -> None:
    said = run(APPLE, "apple", "yellow background", "--steps", "2", "-o", "maps.png")
    head, apple, background, written = said.splitlines()
    assert head.split() == ["WORD", "TOKENS", "MEAN", "MOST"]
    assert apple.split()[:2] == ["apple", "1"]
    assert background.split()[:3] == ["yellow", "background", "2"]
    assert written == "maps.png: 960x224"
    with Image.open("maps.png") as sheet:
        assert sheet.size == (960, 224)
    with pytest.raises(OutputError, match="exists; pass --overwrite"):
        run(APPLE, "apple", "-o", "maps.png")


def test_json_has_the_same_figures(studio: Studio) -> None:
    [found] = json.loads(
        run(APPLE, "apple", "--steps", "3", "--seed", "1", "--last", "1", "--json")
    )
    [one] = attend(studio, APPLE, ["apple"], seed=1, steps=3, last=1).words
    assert found == {"word": "apple", "tokens": [3], "mean": one.mean, "most": one.most}
    [later] = attend(studio, APPLE, ["apple"], seed=1, steps=3, first=2).words
    assert later.mean != one.mean


def test_the_picture_is_the_plain_one_and_attention_to_an_apple_is_in_the_middle(
    studio: Studio,
) -> None:
    found = attend(studio, APPLE, ["apple"], seed=1, steps=6)
    plain = np.asarray(studio.picture(APPLE, seed=1, steps=6), dtype=int)
    assert np.abs(np.asarray(found.picture, dtype=int) - plain).max() <= 1
    shares = found.words[0].shares
    rim = torch.ones(16, 16, dtype=torch.bool)
    rim[2:-2, 2:-2] = False
    assert shares[6:11, 4:12].mean() > 1.3 * shares[rim].mean()


def test_samplers_of_two_calls_a_step_are_averaged_by_steps(studio: Studio) -> None:
    whole = attend(studio, APPLE, ["apple"], steps=2, sampler="Heun").words[0].mean
    first = attend(studio, APPLE, ["apple"], steps=2, sampler="Heun", last=1).words[0].mean
    second = attend(studio, APPLE, ["apple"], steps=2, sampler="Heun", first=2).words[0].mean
    # The last step takes one call, the first one two.
    assert whole == pytest.approx((2 * first + second) / 3, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"words": []}, "no words"),
        ({"words": ["owl"]}, "does not say 'owl'"),
        ({"first": 3, "last": 2}, "steps 3 to 2 of 4"),
        ({"last": 5}, "steps 1 to 5 of 4"),
        ({"prompt": "a bear AND an apple"}, "one prompt that stays as it is"),
        ({"prompt": "a [bear:apple:0.5]"}, "one prompt that stays as it is"),
        ({"prompt": "a bear <lora:x>"}, "one prompt that stays as it is"),
    ],
)
def test_what_cannot_be_shown_is_said(
    studio: Studio, options: dict[str, object], said: str
) -> None:
    given = {"prompt": "a bear", "words": ["bear"], "steps": 4, **options}
    with pytest.raises(UsageError, match=said):
        attend(studio, **given)  # type: ignore[arg-type]


def test_the_colour_is_deepest_where_a_word_is_looked_at_most() -> None:
    grey = Image.new("RGB", (32, 32), (128, 128, 128))
    shares = torch.zeros(4, 4)
    shares[1, 2] = 0.3
    drawn = np.asarray(overlay(grey, shares), dtype=int)
    brightness = drawn.sum(axis=2)
    row, column = np.unravel_index(brightness.argmin(), brightness.shape)
    assert 8 <= row < 16 and 16 <= column < 24
    assert drawn[31, 0].std() == 0
    even = np.asarray(overlay(grey, torch.full((4, 4), 0.1)))
    assert len(np.unique(even)) == 1


def test_many_words_go_on_in_the_next_row_and_large_pictures_get_more_room() -> None:
    def sheet(side: int, words: int) -> Image.Image:
        one = WordMap("bear", (1,), torch.rand(4, 4, generator=torch.Generator().manual_seed(0)))
        return draw_attention(Attended(Image.new("RGB", (side, side), "navy"), (one,) * words))

    assert sheet(64, 5).size == (960, 224)
    assert sheet(64, 6).height > 360
    assert sheet(512, 2).size == (960, 384)


def test_pictures_on_a_sheet_keep_their_pixels() -> None:
    picture = Image.new("RGB", (2, 1), "red")
    picture.putpixel((1, 0), (0, 0, 255))
    large = enlarged(picture, 9)
    assert large.size == (8, 4)
    assert large.getcolors() == [(16, (255, 0, 0)), (16, (0, 0, 255))]
    assert enlarged(Image.new("L", (30, 60)), 20).size == (10, 20)
    sheet = tile_sheet([TileRow([Tile(picture, "a", "b"), None], "name"), TileRow([None, None])], 8)
    assert sheet.size == (960, 2 * 24 + 8 + 48 + 18 + 8)
