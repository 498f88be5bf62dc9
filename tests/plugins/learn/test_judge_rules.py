"""Scenes, figures, keeping the best, and the final sentence: all without a model."""

from __future__ import annotations

import math

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch.nn.functional import normalize

from sdcreative import UsageError
from sdcreative_plugins.train.inversion.best import Best
from sdcreative_plugins.train.inversion.curve import BEST, LOSS, draw_curve, write_curve
from sdcreative_plugins.train.inversion.judge_settings import JudgeSettings
from sdcreative_plugins.train.inversion.scenes import check_prompt, fill, plan, read_scene
from sdcreative_plugins.train.inversion.sheets import draw_sheet
from sdcreative_plugins.train.inversion.summary import Vocabulary, follow, summarise, tell
from sdcreative_plugins.train.inversion.verdicts import (
    LEAST,
    Cosines,
    Verdict,
    balance,
    compare,
    editability,
    own_likeness,
    similarity,
)

WHITE = Image.new("RGB", (2, 2), "white")


def verdict(step: int, similar: float, editable: float) -> Verdict:
    return Verdict(step, similar, editable, Cosines(0.5, 0.4, 0.1), WHITE)


def test_a_scene_is_what_its_commas_part_from_the_word() -> None:
    assert read_scene("a picture of a {}, on a blue background").text == "on a blue background"
    assert read_scene("a picture of a bear, {} style").text == "a picture of a bear"
    assert read_scene("a {}, in snow, at night").text == "in snow, at night"


@pytest.mark.parametrize(
    ("template", "fault"),
    [("a picture of a {}", "nothing beside"), ("a bear, at night", "no place"), ("{},", "nothing")],
)
def test_a_scene_needs_the_word_and_something_else(template: str, fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        read_scene(template)
    with pytest.raises(ValidationError, match=fault):
        JudgeSettings(scenes=[template])


def test_a_prompt_needs_the_word_alone() -> None:
    assert check_prompt("{}") == "{}"
    with pytest.raises(ValidationError, match="no place"):
        JudgeSettings(prompts=["a bear"])


def test_the_article_goes_with_the_word() -> None:
    assert fill("a picture of a {}", "owl") == "a picture of an owl"
    assert fill("An {}, on a red background", "bear") == "A bear, on a red background"
    assert fill("banana {}", "owl") == "banana owl"


def test_every_group_of_pictures_has_the_same_seeds() -> None:
    settings = JudgeSettings(prompts=["{}", "a {}"], scenes=["{}, at night"])
    groups = plan(settings.prompts_for("object"), settings.scenes_for("object"), 3)
    assert [[one.number for one in group] for group in groups] == [[0, 1, 2], [0, 1, 2]]
    assert [one.template for one in groups[0]] == ["{}", "a {}", "{}"]
    assert len(JudgeSettings().scenes_for("style")) == 4


def test_cosines_are_means_over_all_pictures() -> None:
    east, north = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    between = normalize(east + north, dim=0)
    found = compare(
        [torch.stack([east, between]), torch.stack([north, between])],
        torch.stack([east, north]),
        north[None],
    )
    half = math.sqrt(0.5)
    assert found.likeness == pytest.approx((1 + 0 + half + half) / 4)
    assert found.fit == pytest.approx((1 + half) / 2)
    assert found.without == pytest.approx(half / 2)
    assert found.lift == pytest.approx(0.5)


def test_training_pictures_are_compared_with_others_not_with_themselves() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert own_likeness(vectors) == pytest.approx(1 / 3)
    assert own_likeness(vectors[:1]) == 1.0


def test_similarity_goes_from_the_initial_word_to_the_training_pictures() -> None:
    initial = Cosines(0.4, 0.5, 0.2)
    assert similarity(initial, initial, 0.8) == 0
    assert similarity(Cosines(0.8, 0, 0), initial, 0.8) == pytest.approx(1)
    assert similarity(Cosines(0.3, 0, 0), initial, 0.8) == pytest.approx(-0.25)
    assert similarity(Cosines(0.41, 0, 0), initial, 0.4) == pytest.approx(0.01 / LEAST)


def test_editability_is_what_scenes_do_by_what_they_did() -> None:
    initial = Cosines(0.4, 0.5, 0.2)
    assert editability(initial, initial) == pytest.approx(1)
    # A word whose pictures fit the scene anyway has not obeyed it.
    assert editability(Cosines(0.4, 0.6, 0.6), initial) == 0
    assert editability(Cosines(0.4, 0.35, 0.2), initial) == pytest.approx(0.5)


def test_neither_share_makes_up_for_the_other() -> None:
    assert balance(1, 1) == 1
    assert balance(3, 1) == 1
    assert balance(0.5, 1) == pytest.approx(2 / 3)
    assert balance(0.9, 0.1) < balance(0.5, 0.5)
    assert balance(-0.2, 1) == -0.2 < balance(0, 1) == 0 < balance(0.01, 1)


def test_the_best_is_kept_and_what_comes_after_it_is_waited_for() -> None:
    rows = torch.ones(1, 2)
    best = Best().after(verdict(0, 0.0, 1.0), rows, 0.01)
    assert (best.step, best.score, best.waited) == (0, 0.0, 0)
    rows[0, 0] = 5
    assert best.rows[0].tolist() == [[1, 1]]
    better = best.after(verdict(10, 0.6, 0.9), rows, 0.01)
    assert (better.step, better.waited, better.rows[0].tolist()) == (10, 0, [[5, 1]])
    # As similar as can be, but nothing else acts: not better.
    after = better.after(verdict(20, 1.0, 0.1), rows * 0, 0.01)
    assert (after.step, after.waited) == (10, 1)
    hardly = after.after(verdict(30, 0.605, 0.9), rows, 0.01)
    assert (hardly.step, hardly.waited) == (10, 2)
    assert [hardly.is_enough(patience) for patience in (0, 2, 3)] == [False, True, False]


def test_the_best_goes_through_a_checkpoint() -> None:
    rows = [torch.rand(2, 3), torch.rand(2, 4)]
    best = Best().after(verdict(7, 0.5, 0.5), rows, 0.0)
    again = Best.of_state(best.after(verdict(8, 0, 0), rows, 0.0).state())
    assert (again.step, again.score, again.waited) == (7, best.score, 1)
    assert all(torch.equal(a, b) for a, b in zip(again.rows, rows, strict=True))


def test_a_sheet_has_a_row_for_each_seed_and_enlarges_small_pictures() -> None:
    columns = [[Image.new("RGB", (64, 32), colour)] * 2 for colour in ("red", "blue")]
    sheet = draw_sheet(["owl", "<toy> on a very long title that is broken ✨"], columns)
    assert sheet.width == 256
    top = sheet.height - 128
    assert top > 30
    assert sheet.getpixel((127, top)) == (255, 0, 0)
    assert sheet.getpixel((128, sheet.height - 1)) == (0, 0, 255)


def test_the_curve_shows_both_shares_the_loss_and_what_is_kept(tmp_path) -> None:
    rows = [
        {"step": 0, "similarity": 0.0, "editability": 1.0, "validation_loss": 0.3},
        {"step": 100, "similarity": 0.8, "editability": 0.9, "validation_loss": 0.2},
    ]
    whole = {colour for _, colour in draw_curve(rows, "toy", 100).getcolors(1 << 20)}
    without = [{k: v for k, v in row.items() if k != "validation_loss"} for row in rows]
    plain = {colour for _, colour in draw_curve(without, "toy").getcolors(1 << 20)}
    loss, best = (tuple(bytes.fromhex(one[1:])) for one in (LOSS, BEST))
    assert {loss, best} <= whole
    assert not {loss, best} & plain
    write_curve(tmp_path / "new" / "curve.png", rows[:1], "one look")
    assert Image.open(tmp_path / "new" / "curve.png").size == (720, 360)


KNOWN = Vocabulary(
    torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [0.0, 0.5]]), ("cat", "dog", "", "3")
)


def test_rows_are_followed_from_where_they_began() -> None:
    [moved] = follow(torch.tensor([[0.6, 1.9]]), torch.tensor([[0.6, 0.7]]), KNOWN)
    assert moved.distance == pytest.approx(1.2)
    assert moved.relative == pytest.approx(1.2)
    assert moved.norm == pytest.approx(math.hypot(0.6, 1.9))
    assert moved.percentile == 50
    # Neither pieces of words nor numbers are named.
    assert [word for word, _ in moved.nearest] == ["dog", "cat"]
    assert moved.nearest[0][1] == pytest.approx(1.9 / math.hypot(0.6, 1.9), abs=1e-4)


def test_the_summary_answers_in_a_sentence() -> None:
    rows, began = [torch.tensor([[0.0, 2.0]])], [torch.tensor([[1.0, 0.0]])]
    summary = summarise("<toy>", "cat", verdict(40, 0.62, 0.9), rows, began, [KNOWN])
    assert summary.learned
    assert summary.lines()[-1] == (
        "It learned: pictures of <toy> are 62% of the way from 'cat' to the training pictures, "
        "and other words still act as beside 'cat'."
    )
    assert "nearest: dog 1.00" in summary.lines()[0]
    assert summary.document()["moved"][0][0]["nearest"][0] == ("dog", 1.0)


@pytest.mark.parametrize(
    ("similar", "editable", "said"),
    [
        (-0.3, 1.0, "It did not learn: pictures of <toy> are 0% of the way"),
        (0.3, 0.9, "It learned a little"),
        (0.8, 0.5, "other words do 50% of what they do"),
        (0.8, -0.1, "drowns the rest of a prompt: other words do 0%"),
    ],
)
def test_what_went_wrong_is_said(similar: float, editable: float, said: str) -> None:
    assert said in tell("<toy>", "cat", similar, editable, 50)


def test_a_norm_beyond_all_words_is_blamed() -> None:
    assert "norm is larger" in tell("<toy>", "cat", 0.9, 0.1, 100)
    assert "norm is larger" not in tell("<toy>", "cat", 0.9, 0.1, 50)
