"""Looks with the built-in model and its pair, where the right verdicts are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sdcreative import ModelError, PictureText, Studio, UsageError, load_pair
from sdcreative.models.addons.embedding_installing import install
from sdcreative.models.sources import BUILTIN
from sdcreative_plugins.train.inversion.judge_settings import JudgeSettings
from sdcreative_plugins.train.inversion.judging import Judge, choose_pair
from sdcreative_plugins.train.inversion.rows import initial_rows
from sdcreative_plugins.train.inversion.summary import vocabularies
from sdcreative_plugins.train.inversion.verdicts import Verdict

TOKEN = "<fruit>"
SETTINGS = JudgeSettings(
    scenes=["a picture of a {}, on a blue background", "a picture of a {}, on a black background"],
    seeds=2,
    steps=6,
)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.load("emoji", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def judge(studio: Studio) -> Judge:
    """Of a word that is to become a banana, and begins as a bear."""
    pictures = [studio.picture("a picture of a banana", seed=90 + n, steps=8) for n in range(3)]
    return Judge(studio.parts, TOKEN, "bear", pictures, SETTINGS, 0)


def rows_of(studio: Studio, word: str) -> torch.Tensor:
    numbers = studio.parts.tokenizer(word, add_special_tokens=False).input_ids
    return studio.parts.text_encoder.get_input_embeddings().weight[numbers].clone()


def test_a_word_that_says_what_the_initial_one_says_is_nothing_new(
    judge: Judge, studio: Studio
) -> None:
    verdict = judge.look(3, rows_of(studio, "bear"))
    assert verdict.step == 3
    assert verdict.similarity == pytest.approx(0, abs=1e-5)
    assert verdict.editability == pytest.approx(1, abs=1e-5)
    # Initial word, token, and two scenes.
    assert verdict.sheet.width == 4 * 128
    halves = [verdict.sheet.crop((x, 40, x + 128, verdict.sheet.height)) for x in (0, 128)]
    assert halves[0].tobytes() == halves[1].tobytes()


@pytest.fixture(scope="module")
def learned(judge: Judge, studio: Studio) -> Verdict:
    """Of a word that says what the pictures show."""
    return judge.look(5, rows_of(studio, "banana"))


def test_a_word_that_says_what_the_pictures_show_is_learned(learned: Verdict) -> None:
    assert learned.similarity > 0.6
    assert learned.editability > 0.6
    assert learned.figures()["score"] == learned.score > 0.6


def test_a_word_that_contradicts_the_rest_of_a_prompt_loses_editability(
    judge: Judge, studio: Studio, learned: Verdict
) -> None:
    stubborn = judge.look(6, rows_of(studio, "banana on a pink pink pink pink background"))
    assert stubborn.editability < learned.editability - 0.3


def test_a_look_changes_neither_model_nor_random_state(judge: Judge, studio: Studio) -> None:
    table = studio.parts.text_encoder.get_input_embeddings().weight
    before, state = table.clone(), torch.get_rng_state()
    judge.look(0, torch.full((2, table.shape[1]), 0.01))
    after = studio.parts.text_encoder.get_input_embeddings().weight
    assert torch.equal(after, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_rows_that_are_no_numbers_are_refused(judge: Judge, studio: Studio) -> None:
    table = studio.parts.text_encoder.get_input_embeddings().weight
    with pytest.raises(ModelError, match="numbers"):
        judge.look(0, torch.zeros(1, table.shape[1] + 1))
    with pytest.raises(ModelError, match="overflows"):
        judge.look(0, torch.full((1, table.shape[1]), float("nan")))
    assert studio.parts.text_encoder.get_input_embeddings().weight is table


def test_the_vocabulary_is_that_of_the_model_without_the_token(studio: Studio) -> None:
    [before] = vocabularies(studio.parts)
    with install(studio.parts, [(TOKEN, rows_of(studio, "bear"))]):
        [during] = vocabularies(studio.parts)
    assert len(before.table) == 1407 == len(during.table)
    assert torch.equal(before.table, during.table)
    [number] = studio.parts.tokenizer("owl", add_special_tokens=False).input_ids
    assert before.words[number] == "owl"


def test_a_pair_of_pictures_alone_cannot_judge(studio: Studio) -> None:
    pair = load_pair("emoji", device="cpu")
    blind = type(pair)("blind", 1.0, None, pair.picture_tower, None)
    with pytest.raises(UsageError, match="no text tower"):
        Judge(studio.parts, TOKEN, "bear", [Image.new("RGB", (64, 64))], SETTINGS, pair=blind)


class _Colours:
    """Towers of a pair of the sigmoid kind: mean colours, and the names of three."""

    room = 64

    def count(self, text: str) -> int:
        return len(text)

    def embed(self, items: Sequence[str | Image.Image]) -> torch.Tensor:
        names = ("red", "green", "blue")
        rows = [
            [float(name in one) for name in names]
            if isinstance(one, str)
            else [value + 1.0 for value in one.resize((1, 1)).getpixel((0, 0))]
            for one in items
        ]
        return torch.tensor(rows)


@pytest.mark.parametrize(("model", "encoders"), [("tiny", 1), ("tiny_xl", 2)])
def test_families_with_one_or_two_text_encoders_are_judged_by_any_pair(
    model: str, encoders: int, load: Callable[[Path], Any], request: pytest.FixtureRequest
) -> None:
    parts = load(request.getfixturevalue(model))
    pair = PictureText("colours", 10.0, -5.0, _Colours(), _Colours())
    settings = JudgeSettings(
        scenes=["a {}, on a blue background"], seeds=3, steps=2, guidance_scale=100
    )
    red = Image.new("RGB", (32, 32), "red")
    judge = Judge(parts, TOKEN, "bear", [red], settings, 7, pair=pair, size=(32, 32))
    rows = initial_rows(parts, "bear", None, lambda line: None)
    assert len(rows) == encoders
    same = judge.look(1, rows)
    assert same.cosines == judge.initial_cosines
    assert same.similarity == 0
    # The only scene is a column beside both words; every seed is a row.
    assert (same.sheet.width, judge.top) == (3 * 128, 1.0)
    assert same.sheet.height > 3 * 128
    # The last encoder's rows are read too.
    other = judge.look(2, [*rows[:-1], 50 * rows[-1].flip(1)])
    assert other.cosines != same.cosines
    with pytest.raises(ModelError, match="numbers"):
        judge.look(3, [*rows, rows[0]])


def test_the_pair_is_the_one_asked_for_or_the_models_own(tmp_path: Path) -> None:
    assert choose_pair("mine", BUILTIN / "emoji") == "mine"
    assert choose_pair(None, BUILTIN / "emoji") == str(BUILTIN / "emoji")
    assert choose_pair(None, tmp_path) == "emoji"
    assert choose_pair(None, tmp_path / "model.safetensors") == "emoji"
