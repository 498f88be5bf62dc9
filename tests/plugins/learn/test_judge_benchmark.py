"""The benchmark of learned words: its yardsticks, and the other algorithm, a few steps of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import learning_measures
import learning_reference
import learning_turns
from emoji_classifier import Classifier
from learning_measures import Figures
from learning_reference import Item, Recipe
from sdcreative import Studio
from sdcreative_plugins.train.pictures import BACKGROUNDS


class _ByRed(torch.nn.Module):
    """Logits of two things: how red a picture is, and nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        red = pixels[:, 0].mean(dim=(1, 2)) * self.scale
        return torch.stack([red, torch.zeros_like(red)], dim=1)


def plain(*colours: str) -> torch.Tensor:
    values = torch.tensor([BACKGROUNDS[one] for one in colours]) / 127.5 - 1
    return values.float()[:, :, None, None].expand(-1, -1, 16, 16).contiguous()


def test_probabilities_are_means_of_the_classifiers_softmax() -> None:
    classifier = Classifier(_ByRed(), ("fire", "other"), 16)
    pixels = torch.zeros(2, 3, 16, 16)
    pixels[0, 0] = 1.0
    pixels[1, 0] = -1.0
    first = torch.tensor(1.0).sigmoid().item()
    probability, named = learning_measures.recognised(classifier, pixels[:1], "fire")
    assert (probability, named) == (pytest.approx(first), 1.0)
    both = learning_measures.recognised(classifier, pixels, "fire")
    assert both == (pytest.approx(0.5), 0.5)


def test_a_background_is_obeyed_where_it_has_the_colour_asked_for() -> None:
    pixels = plain("blue", "red", "black", "pink")
    assert learning_measures.obeyed(pixels, ["blue", "red", "black", "pink"]) == 1
    assert learning_measures.obeyed(pixels, ["blue", "blue", "blue", "pink"]) == 0.5


class Other:
    """The other end of the connection: two portions of a tenth of a second, then rows."""

    def __init__(self) -> None:
        self.answers = [(0.1, None), (0.2, None), (None, torch.ones(2, 3))]

    def send(self, _: object) -> None:
        pass

    def recv(self) -> tuple[float | None, torch.Tensor | None]:
        return self.answers.pop(0)


def test_steps_are_timed_in_turn_and_without_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(learning_turns.time, "perf_counter", lambda: now[0])
    lines: list[str] = []
    beside = learning_turns.Beside(Other())  # type: ignore[arg-type]
    report = beside.after(lines.append)
    for seconds, line in [
        (50, "learn 0/50  validation 0.2  similarity 0.00  editability 1.00  (best so far)"),
        (2, "learn 20/50  loss 0.1850  7.45 steps/s"),
        (100, "learn 20/50  validation 0.1  similarity 0.50  editability 1.00  (best so far)"),
        (3, "learn 50/50  loss 0.1850  7.45 steps/s"),
        (1, "<toy> written to toy.safetensors"),
    ]:
        now[0] += seconds
        report(line)
    assert beside.ours == pytest.approx([0.1, 0.1])
    assert beside.theirs == [0.1, 0.2]
    assert torch.equal(beside.rows(lines.append), torch.ones(2, 3))
    assert lines[-1] == "<toy> written to toy.safetensors"


def test_the_table_has_a_column_for_each_word() -> None:
    first = Figures(0.01, 0.0, 8, 1.0, 0.02, 40, 0.0, 1.0)
    second = Figures(0.756, 0.875, 8, 0.9, 0.5, 40, 0.8, 0.95, 0.25)
    lines = learning_measures.table({"initial": first, "learn": second}).splitlines()
    assert lines[:2] == ["|  | initial | learn |", "|---|---|---|"]
    assert "| probability of the thing, of 8 pictures | 1.0% | 75.6% |" in lines
    assert lines[-1] == "| steps a second |  | 4.00 |"


def test_drawings_are_fitted_to_the_classifier() -> None:
    [drawing] = learning_measures.as_drawings([np.zeros((32, 32, 4), np.uint8)], "<toy>", 64)
    assert (drawing.rgba.shape, drawing.name) == ((64, 64, 4), "<toy>")


@pytest.fixture
def studio() -> Studio:
    return Studio.load("emoji", device="cpu", dtype="float32")


def test_the_reference_moves_its_rows_alone(studio: Studio) -> None:
    parts = studio.parts
    table = parts.text_encoder.get_input_embeddings().weight.detach().clone()
    began = table[[5, 9]]
    items = [Item(plain(one).repeat(1, 1, 2, 2)[0], ("a {}",)) for one in ("red", "blue")]
    recipe = Recipe(steps=2, batch=2, learning_rate=1e-3)
    training = learning_reference.learn_reference(parts, "<toy>", began, items, recipe)
    seconds, rows = [], None
    while rows is None:
        try:
            seconds.append(next(training))
        except StopIteration as end:
            rows = end.value
    after = parts.text_encoder.get_input_embeddings().weight.detach()
    assert torch.equal(after[: len(table)], table)
    assert torch.equal(after[len(table) :], rows)
    # Adam's first steps are as long as the learning rate, which is that of both pictures.
    moved = (rows - began).abs()
    assert recipe.rate == 2e-3
    assert 1e-3 < float(moved.median()) < 2 * recipe.rate + 1e-4
    assert len(seconds) == 1
    assert seconds[0] > 0


def test_the_reference_predicts_what_the_model_was_trained_to(studio: Studio) -> None:
    parts = studio.parts
    words = learning_reference.add_words(
        parts, "<toy>", parts.text_encoder.get_input_embeddings().weight[5:7].detach().clone()
    )
    assert words == "<toy> <toy>_1"
    ids = parts.tokenizer(words, add_special_tokens=False).input_ids
    assert ids == [1407, 1408]
    picture = studio.picture("a picture of a bear", seed=3, steps=8)
    pixels = torch.from_numpy(np.array(picture, dtype=np.float32).transpose(2, 0, 1)) / 127.5 - 1

    def loss(caption: str) -> float:
        generator = torch.Generator().manual_seed(0)
        items = [Item(pixels, (caption,))] * 8
        with torch.no_grad():
            return float(learning_reference.loss_of(parts, items, words, 0.0, generator))

    # A model that knows the picture's caption predicts it better than with another one.
    assert loss("a picture of a bear") < loss("a picture of a banana, on a blue background")
    assert loss("a picture of a bear") < 0.5


def test_every_picture_is_drawn_before_one_is_drawn_again() -> None:
    drawn = learning_reference.draw(5, torch.Generator().manual_seed(1))
    rounds = [[next(drawn) for _ in range(5)] for _ in range(3)]
    assert all(sorted(one) == list(range(5)) for one in rounds)
    assert rounds[0] != rounds[1]
