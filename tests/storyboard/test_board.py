"""Keyframes and values are read from shots alone, whatever plugin made them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image

from sdcreative import (
    Between,
    Blend,
    Mixture,
    Noise,
    Shot,
    Timeline,
    Trunk,
    seed_curve,
    seed_wander,
)
from sdcreative.core.shots import Follow, Inversion, Motion
from sdcreative.core.timeline import Frame
from sdcreative.storyboard.board import Board, fill, read_board, thin
from sdcreative.storyboard.series import Plot, noise_shares, prompt_shares


def film(*frames: Frame) -> Timeline:
    return Timeline(lambda: frames, len(frames), fps=4)


def path(words: str, steps: int = 4) -> list[Blend]:
    """From prompt to prompt, each of them shown."""
    names = words.split()
    found = []
    for start, end in pairwise(names):
        found += [Blend(start), *(Blend(start, end, i / steps) for i in range(1, steps))]
    return [*found, Blend(names[-1])]


def plot(board: Board, title: str) -> Plot:
    return next(plot for plot in board.plots if plot.title.startswith(title))


def lines(board: Board, title: str) -> dict[str, list[float]]:
    return {line.name: [value for _, value in line.points] for line in plot(board, title).lines}


def test_keyframes_are_the_pure_prompts() -> None:
    board = read_board(film(*(Shot(blend, Noise(1)) for blend in path("a b c d"))), 12)
    assert board.keyframes == (0, 4, 8, 12)
    assert [still.frame for still in board.stills] == [0, 4, 8, 12]
    assert all(still.keyframe for still in board.stills)
    assert [still.prompts for still in board.stills] == [{name: 1.0} for name in "abcd"]


def test_keyframes_that_no_frame_hits_are_where_the_ends_change() -> None:
    blends = [Blend("a", "b", t) for t in (0.3, 0.6, 0.9)] + [
        Blend("b", "c", t) for t in (0.2, 0.5)
    ]
    assert read_board(film(*(Shot(b, Noise(1)) for b in blends)), 12).keyframes == (0, 3)


def test_a_hold_is_one_keyframe_and_a_cut_is_another() -> None:
    blends = [Blend("a")] * 5 + [Blend("b")] * 5 + [Blend("c", "d", 0.5)] * 2
    assert read_board(film(*(Shot(b, Noise(1)) for b in blends)), 12).keyframes == (0, 5, 10)


def test_ends_are_the_same_however_they_are_written() -> None:
    for start, end in [(Blend("a", "b", 0.0), Blend("a", "b", 1.0)), (Blend("a"), Blend("b"))]:
        shots = [Shot(blend, Noise(1)) for blend in (start, Blend("a", "b", 0.5), end)]
        assert read_board(film(*shots), 12).keyframes == (0, 2)


def test_seeds_and_negative_prompts_have_keyframes_too() -> None:
    noises = [Noise(1), Noise(1, 2, 0.5), Noise(2), Noise(2), Noise(2), Noise(2), Noise(2)]
    negatives = ["", "", "", "", "x", "x", "x"]
    shots = [Shot(Blend("a"), n, Blend(x)) for n, x in zip(noises, negatives, strict=True)]
    assert read_board(film(*shots), 12).keyframes == (0, 2, 4)


def test_a_curve_through_seeds_has_its_keyframes_on_them() -> None:
    seeds = [1, 2, 3, 4]
    noises = [Mixture(seed_curve(seeds, k, i / 5)) for k in range(3) for i in range(5)]
    shots = [Shot(Blend("a"), noise) for noise in [*noises, Noise(4)]]
    assert read_board(film(*shots), 12).keyframes == (0, 5, 10, 15)


def test_another_seed_in_every_frame_is_no_keyframe_and_no_plot() -> None:
    shots = [Shot(blend, Noise(i)) for i, blend in enumerate(path("a b c d"))]
    board = read_board(film(*shots), 12)
    assert board.keyframes == (0, 4, 8, 12)
    assert [plot.title for plot in board.plots] == ["prompts"]
    assert "13 seeds" in board.facts


def test_in_betweens_are_no_stills() -> None:
    frames = [Shot(Blend("a"), Noise(1)), Between(0.5), Shot(Blend("b"), Noise(1)), Between(0.5)]
    board = read_board(film(*frames, frames[0]), 12)
    assert [still.frame for still in board.stills] == [0, 2, 4]
    assert lines(board, "prompts")["a"] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("keyframes", "most", "shown"),
    [
        ([0, 47], 12, [0, 12, 24, 36, 47]),
        ([0, 47], 3, [0, 24, 47]),
        ([0, 47], 1, [0, 47]),
        ([0], 12, [0, 6, 12, 24, 36]),
        ([0, 10, 20, 47], 12, [0, 10, 20, 47]),
    ],
)
def test_few_keyframes_are_filled_up(keyframes: list[int], most: int, shown: list[int]) -> None:
    assert fill(keyframes, range(48), 48, most) == shown


def test_filling_up_keeps_to_shots_and_ends_where_there_are_none() -> None:
    assert fill([0, 6], [0, 2, 6], 7, 12) == [0, 2, 6]
    assert fill([0], [0], 1, 12) == [0]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 20])
def test_thinning_is_even(most: int) -> None:
    found = thin(range(0, 200, 10), most)
    assert len(found) == min(most, 20)
    assert found[0] == 0
    if most > 1:
        assert found[-1] == 190
        gaps = [b - a for a, b in pairwise(found)]
        assert max(gaps) - min(gaps) <= 10


def test_thinned_keyframes_still_are_told() -> None:
    board = read_board(film(*(Shot(Blend(name), Noise(1)) for name in "abcdefgh")), 3)
    assert len(board.keyframes) == 8
    assert len(board.stills) == 3


def test_shares_add_up_to_one() -> None:
    assert prompt_shares(Blend("a", "b", 0.25)) == {"a": 0.75, "b": 0.25}
    for noise in (Noise(1, 2, 0.3), Mixture(((1, 0.6), (2, -0.8)))):
        assert sum(noise_shares(noise).values()) == pytest.approx(1)
    assert noise_shares(Noise(1, 2, 1 / 3))[1] == pytest.approx(math.cos(math.pi / 6) ** 2)


def test_plots_are_of_what_changes_and_facts_of_the_rest() -> None:
    shots = [
        Shot(blend, Noise(9), Blend("snow"), 3.0 + i) for i, blend in enumerate(path("a b", 2))
    ]
    board = read_board(film(*shots), 12)
    assert [plot.title for plot in board.plots] == ["prompts", "guidance"]
    assert lines(board, "prompts") == {"a": [1.0, 0.5, 0.0], "b": [0.0, 0.5, 1.0]}
    assert lines(board, "guidance") == {"": [3.0, 4.0, 5.0]}
    assert board.facts == ("seed 9", "negative prompt snow")


def test_the_noise_is_that_of_the_trunk() -> None:
    trunk = Trunk(Blend("a"), Noise(5), 2)
    board = read_board(film(*[Shot(Blend("a"), Noise(1), trunk=trunk)] * 3), 12)
    assert "seed 5" in board.facts


def test_inverted_pictures_have_names() -> None:
    one, other = (Inversion(Image.new("RGB", (8, 8)), Blend("a")) for _ in range(2))
    shots = [Shot(Blend("a"), Noise(one, other, i / 4)) for i in range(5)]
    board = read_board(film(*shots), 12)
    assert list(lines(board, "seeds")) == ["picture 1", "picture 2"]
    assert board.stills[0].seeds == {"picture 1": 1.0}


def test_motion_is_plotted_where_it_changes_and_frames_that_follow_are_not_filled_in() -> None:
    shots = [Shot(Blend("a"), Noise(1), strength=1.0)]
    for i in range(1, 9):
        motion = Motion(zoom=1.02, angle=i / 2, shift=(0.0, 3.0))
        shots.append(replace(shots[0], image=Follow(motion), strength=0.4))
    board = read_board(film(*shots), 12)
    assert [still.frame for still in board.stills] == [0]
    assert [plot.title for plot in board.plots] == ["turn per frame, in degrees"]
    assert plot(board, "turn").lines[0].points[0] == (1, 0.5)
    assert "zoom 1.02 per frame" in board.facts
    assert "shift 0 right, 3 down per frame" in board.facts
    assert "strength 0.4" in board.facts


def test_each_of_very_many_seeds_is_told_where_it_comes_up() -> None:
    noises = [Noise(i // 4, i // 4 + 1, i % 4 / 4) for i in range(160)]
    board = read_board(film(*(Shot(Blend("a"), noise) for noise in noises)), 12)
    found = {line.name: dict(line.points) for line in plot(board, "seeds").lines}
    assert len(found) == 41
    assert sorted(found["seed 9"]) == list(range(32, 41))
    assert found["seed 9"][32] == found["seed 9"][40] == 0
    for frame in range(160):
        assert sum(shares.get(frame, 0) for shares in found.values()) == pytest.approx(1)


@pytest.mark.parametrize("closed", [False, True])
def test_a_random_walk_has_no_keyframes_on_its_way(closed: bool) -> None:
    noises = [Mixture(terms) for terms in seed_wander([1, 2, 3, 4], 24, 0.1, 5, closed=closed)]
    board = read_board(film(*(Shot(Blend("a"), noise) for noise in noises)), 12)
    assert board.keyframes == (0,)


def test_every_picture_of_a_sheet_is_shown_and_it_has_no_plots() -> None:
    shots = [Shot(Blend(prompt), Noise(seed)) for prompt in "ab" for seed in range(3)]
    board = read_board(replace(film(*shots), columns=3), 12)
    assert [still.frame for still in board.stills] == list(range(6))
    assert board.keyframes == tuple(range(6))
    assert board.sheet
    assert board.plots == ()
    assert not read_board(film(*shots), 12).sheet
