"""The sheet holds what it was given, and everything on it fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sdcreative import Blend, Noise, Shot, Timeline
from sdcreative.storyboard.board import read_board
from sdcreative.storyboard.drawing import MARGIN, WIDTH, draw_board, seed_words
from sdcreative.storyboard.series import Line, Plot
from sdcreative.storyboard.text import COLOURS, SOFT, drawable, font, join, shorten, width, wrap

LONG = "a picture of a very small bear that wears a hat and sits below a tree in the rain " * 3


def film(*prompts: str, frames: int = 5, guidance: float = 0.0) -> Timeline:
    """From prompt to prompt, in so many frames each."""
    shots = []
    for start, end in zip(prompts, prompts[1:] or prompts, strict=False):
        for i in range(frames):
            blend = Blend(start, end, i / frames) if i else Blend(start)
            shots.append(Shot(blend, Noise(1), guidance_scale=4 + guidance * len(shots)))
    return Timeline(lambda: shots, len(shots))


def sheet(timeline: Timeline, picture: Image.Image | None = None, **more: Plot) -> np.ndarray:
    board = read_board(timeline, 12)
    pictures = [picture or Image.new("RGB", (64, 64), "#336699")] * len(board.stills)
    return np.asarray(draw_board(board, pictures, "title", "subtitle", **more))


def count(pixels: np.ndarray, colour: str) -> int:
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((pixels == wanted).all(axis=-1).sum())


def test_every_prompt_has_its_colour_in_plot_and_legend() -> None:
    pixels = sheet(film("a bear", "an apple", "a cat"))
    assert all(count(pixels, colour) > 150 for colour in COLOURS[:3])
    assert count(pixels, COLOURS[4]) == 0


@pytest.mark.parametrize("prompts", [("a", "b"), (LONG, LONG + "x", "y"), ("", "b" * 400)])
@pytest.mark.parametrize("size", [(64, 64), (1024, 128), (96, 900)])
def test_nothing_is_drawn_into_the_margins(prompts: tuple[str, ...], size: tuple[int, int]) -> None:
    pixels = sheet(film(*prompts, guidance=0.1), Image.new("RGB", size, "#336699"))
    assert pixels.shape[1] == WIDTH
    for edge in (pixels[: MARGIN // 2], pixels[-MARGIN // 2 :], pixels[:, : MARGIN - 8]):
        assert (edge == 255).all()
    assert (pixels[:, -MARGIN // 2 :] == 255).all()


def test_many_prompts_and_stills_fit() -> None:
    names = [f"{LONG[:40]} {i}" for i in range(30)]
    pixels = sheet(film(*names))
    assert (pixels[:, -MARGIN // 2 :] == 255).all()


def test_stills_are_shown_in_their_own_shape() -> None:
    wide = sheet(film("a", "b"), Image.new("RGB", (128, 64), "#336699"))
    shown = (wide == (0x33, 0x66, 0x99)).all(axis=-1)
    rows, columns = shown.any(axis=1).sum(), shown.any(axis=0).sum()
    assert columns == pytest.approx(5 * 2 * rows, abs=10)


def test_a_still_that_cannot_be_shown_is_an_empty_panel() -> None:
    board = read_board(film("a", "b"), 2)
    picture = Image.new("RGB", (64, 64), "#336699")
    both = np.asarray(draw_board(board, [picture, picture], "t", "s"))
    one = np.asarray(draw_board(board, [picture, None], "t", "s"))
    assert count(one, "#336699") == pytest.approx(count(both, "#336699") / 2, rel=0.02)
    assert one.shape == both.shape
    assert draw_board(board, [None, None], "t", "s").width == WIDTH


def test_a_picture_alone_has_no_plots_and_a_film_where_nothing_changes_has_none() -> None:
    picture = Timeline(lambda: [Shot(Blend("a"), Noise(1))], 1)
    still = Timeline(lambda: [Shot(Blend("a"), Noise(1))] * 9, 9)
    assert all(count(sheet(one), COLOURS[0]) == 0 for one in (picture, still))


def test_sound_is_one_more_plot() -> None:
    timeline = film("a bear", "an apple")
    onsets = Line("onsets", tuple((i, i % 2) for i in range(5)))
    sound = Plot("sound", (onsets,), shares=True, marks=(0.0, 2.5))
    without, with_sound = sheet(timeline), sheet(timeline, sound=sound)
    assert with_sound.shape[0] > without.shape[0] + 100


def test_words_are_wrapped_and_cut_to_the_room() -> None:
    lines = wrap(LONG, 16, 200, 3)
    assert len(lines) == 3
    assert all(width(line, 16) <= 200 for line in lines)
    assert LONG.startswith(lines[0] + " " + lines[1])
    assert lines[2].endswith("...")
    assert wrap("a bear", 16, 200, 3) == ["a bear"]
    assert "".join(wrap("x" * 60, 16, 200, 9)) == "x" * 60
    assert wrap("", 16, 200, 3) == []
    assert width(shorten(LONG, 16, 90), 16) <= 90
    assert join(["a", "b"], 16, 200) == ["a  ·  b"]
    assert join(["a" * 20, "b" * 20], 16, 200) == ["a" * 20, "b" * 20]


def test_small_shares_are_left_out() -> None:
    assert seed_words({"seed 1": 0.999, "seed 2": 0.001}) == ["seed 1"]
    many = {f"seed {i}": 0.2 for i in range(5)}
    assert seed_words(many) == ["20 % seed 0", "20 % seed 1", "20 % seed 2", "2 others"]


def test_a_sheet_has_no_seconds() -> None:
    shots = [Shot(Blend("a bear"), Noise(seed)) for seed in range(2)]
    timeline = Timeline(lambda: shots, 2)
    board = replace(read_board(replace(timeline, columns=2), 12), plots=())
    pictures = [Image.new("RGB", (64, 64))] * 2
    without, with_seconds = (
        np.asarray(draw_board(replace(board, sheet=sheet), pictures, "t", "s"))
        for sheet in (True, False)
    )
    assert count(with_seconds, SOFT) > count(without, SOFT)


def test_letters_that_the_font_lacks_lose_their_accents_and_become_no_boxes() -> None:
    assert drawable("a bear · 4° {}") == "a bear · 4° {}"
    assert drawable("Pâté, Œuf – “Straße”") == 'Pate, OEuf - "Strasse"'
    assert drawable("熊 bär") == "熊 bar"
    assert shorten("Bär", 16, 200) == "Bar"
    assert wrap("ein Bär", 16, 200, 2) == ["ein Bar"]
    assert join(["Bär"], 16, 200) == ["Bar"]
    box = bytes(font(20).getmask("\uffff"))
    letters = "ÀÉÎÕÜçñß“”‘’–…æøłžŐ"
    assert not any(bytes(font(20).getmask(c)) == box for c in drawable(letters))
