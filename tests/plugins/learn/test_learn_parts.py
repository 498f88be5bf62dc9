"""The parts of the tool `learn`: its data and what it trains on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from sdcreative import DataError
from sdcreative.models.addons.embedding_installing import install
from sdcreative.models.text import encode
from sdcreative_plugins.train.inversion.data import may_mirror, read_pictures, variants
from sdcreative_plugins.train.inversion.drawings import draw_toy
from sdcreative_plugins.train.inversion.loop import active_rows, learning_rate
from sdcreative_plugins.train.inversion.objective import Order, counted_errors
from sdcreative_plugins.train.inversion.rows import Rows, initial_rows
from sdcreative_plugins.train.inversion.settings import LearnSettings, RowSchedule
from sdcreative_plugins.train.inversion.survey import tell_pictures
from sdcreative_plugins.train.inversion.texts import WordTexts
from sdcreative_plugins.train.tuning.buckets import place
from sdcreative_plugins.train.tuning.latents import fit

Settings = Callable[..., LearnSettings]
TOKEN = "<my-ball>"


def told_of(settings: LearnSettings) -> tuple[list[Any], list[str]]:
    lines: list[str] = []
    found = read_pictures(settings, Path(settings.data.folder), lines.append)
    tell_pictures(found, settings, lines.append)
    return found, lines


def test_pictures_are_upright_and_what_is_odd_is_said(settings: Settings, pictures: Path) -> None:
    (pictures / "red.txt").write_text("a red ball on the left")
    (pictures / "green.txt").write_text(f"a green {TOKEN.upper()} in the grass")
    (pictures / "notes.pdf").write_bytes(b"%PDF")
    found, lines = told_of(settings())
    by_name = {one.name: one for one in found}
    assert by_name["blue.png"].size == (80, 40)
    assert by_name["red.png"].captions == ("{}, a red ball on the left",)
    assert by_name["green.png"].captions == ("a green {} in the grass",)
    for line in (
        "data: 1 files are no pictures: notes.pdf",
        "data: turned upright by their EXIF tag: blue.png",
        "data: 1 of 4 are transparent, put on white",
        f"data: captions without {TOKEN}, which is put to them: red.png",
        "data: 2 without a caption are learned with plain phrases",
        "data: not mirrored, as captions speak of sides: red.png",
    ):
        assert line in lines, line


def test_a_broken_picture_is_named_and_left_out_only_if_asked(
    settings: Settings, pictures: Path
) -> None:
    (pictures / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    with pytest.raises(DataError, match=r"1 of 5 pictures cannot be used: .*torn.png.*skip_broken"):
        told_of(settings())
    found, lines = told_of(settings(skip_broken=True))
    assert len(found) == 4 and any("left out" in line and "torn.png" in line for line in lines)
    for one in pictures.glob("*.png"):
        one.unlink()
    with pytest.raises(DataError, match="no pictures"):
        told_of(settings())
    with pytest.raises(DataError, match="no such folder"):
        told_of(settings(data={"source": "folder", "folder": str(pictures / "none")}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"token": "my ball"}, "has spaces"),
        ({"token": "<my:ball>"}, "means something in prompts"),
        ({"templates": ["a picture"]}, "write {} where it goes"),
        ({"backgrounds": ["whitish"]}, "no colour"),
        ({"output": "ball.pt"}, "must end in .safetensors"),
    ],
)
def test_settings_that_make_no_sense(settings: Settings, changes: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**changes)


def test_variants_are_mirrored_coloured_and_cropped_as_their_captions_say(
    settings: Settings, pictures: Path
) -> None:
    wanted = settings(backgrounds=["white", "teal"], crops=2)
    found = {one.name: one for one in told_of(wanted)[0]}
    clear = variants(found["clear.png"], 0, place((40, 40), (32, 32)), wanted)
    assert len(clear) == 3 * 2 * 2
    teal = [one for one in clear if "teal" in one.example.captions[0]]
    assert len(teal) == 6 and all("on a teal" in text for text in teal[0].example.captions)
    assert teal[0].example.open().getpixel((0, 0)) == (0, 128, 128)
    red = variants(found["red.png"], 1, place((40, 40), (32, 32)), wanted)
    assert len(red) == 3 * 2
    plain, mirrored = (np.asarray(one.example.open()) for one in red[:2])
    assert (plain[:, ::-1] == mirrored).all() and (plain != mirrored).any()
    for one in red:
        assert fit(one.example.open(), one.placement).size == (32, 32)
    assert len({one.example.digest for one in red}) == 6
    assert not may_mirror(("a cat, its left paw up",)) and may_mirror(("a bright leftover",))


def test_what_lies_outside_of_a_mask_counts_as_little_as_wanted() -> None:
    generator = torch.Generator().manual_seed(0)
    said, target = torch.randn(2, 3, 4, 8, 8, generator=generator)
    mask = torch.zeros(3, 1, 8, 8)
    mask[..., :4] = 1
    inside = (said - target).square()[..., :4].mean(dim=(1, 2, 3))
    assert torch.allclose(counted_errors(said, target, mask, None), inside)
    whole = torch.ones(3, 1, 8, 8)
    for huber in (None, 0.3):
        one = counted_errors(said, target, whole, huber)
        assert torch.allclose(one, counted_errors(said, target, None, huber))
    far = counted_errors(torch.full((1, 1, 1, 1), 2.0), torch.zeros(1, 1, 1, 1), None, 0.5)
    assert float(far) == pytest.approx(2 * 0.5 * (2 - 0.25))


@pytest.mark.parametrize(("sizes", "batch"), [((3, 1), 4), ((5,), 8), ((2, 2, 1), 3), ((4,), 2)])
def test_every_picture_comes_up_as_often_as_any_other(sizes: tuple[int, ...], batch: int) -> None:
    buckets = [(8, 8 * (number + 1)) for number, size in enumerate(sizes) for _ in range(size)]
    order = Order(buckets, batch, 7)
    counts: Counter[int] = Counter()
    rounds = order._per_round * 3
    for number in range(rounds):
        drawn = order.at(number)
        assert len(drawn) == batch and len({buckets[one] for one in drawn}) == 1
        counts.update(drawn)
    assert len(set(counts.values())) == 1 and len(counts) == len(buckets)
    again = Order(buckets, batch, 7)
    assert [again.at(5), again.at(2)] == [order.at(5), order.at(2)]


def test_learning_rates_and_vectors_by_step() -> None:
    def rates(decay: str) -> list[float]:
        schedule = RowSchedule(steps=10, learning_rate=1, warmup=2, decay=decay)
        return [round(learning_rate(step, schedule), 4) for step in (0, 1, 2, 6, 10)]

    assert rates("constant") == [0.5, 1, 1, 1, 1]
    assert rates("linear") == [0.5, 1, 1, 0.505, 0.01]
    assert rates("cosine") == [0.5, 1, 1, 0.505, 0.01]
    assert [active_rows(step, 8, 3, progressive=True) for step in range(8)] == [
        *[1, 1, 2, 2, 3],
        *[3, 3, 3],
    ]
    assert active_rows(0, 8, 3, progressive=False) == 3


@pytest.mark.parametrize("model", ["tiny", "tiny_xl"])
def test_captions_are_read_as_the_runtime_reads_prompts_with_the_word(
    load: Any, request: Any, model: str
) -> None:
    parts = load(request.getfixturevalue(model))
    rows = Rows([torch.randn_like(one) for one in initial_rows(parts, "red apple", 2, print)])
    texts = WordTexts(parts, rows, TOKEN, 1)
    captions = ["a picture of a {}", "", "{}, on a red background", "a picture of a {}"]
    told = texts.told(captions, 2)
    with install(parts, [(TOKEN, list(rows.copies()))]):
        wanted = encode(parts, [one.replace("{}", TOKEN) for one in captions])
    for number, one in enumerate(wanted):
        assert torch.allclose(told.states[number], one.embeddings[0], atol=1e-5)
        if one.pooled is not None:
            assert torch.allclose(told.pooled[number], one.pooled[0], atol=1e-5)
    assert (told.pooled is None) == (model == "tiny")
    told.states.square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().min() > 0 for one in rows.each)
    # The model is as it was, and what the rows say now is read at once.
    assert len(parts.tokenizer(TOKEN).input_ids) > 4
    with torch.no_grad():
        rows.each[0].mul_(2)
    assert not torch.allclose(texts.told(captions, 2).states[0], told.states[0], atol=1e-3)
    assert torch.equal(texts.told(captions, 2).states[1], told.states[1])


def test_a_word_that_is_cut_off_is_said(load: Any, tiny: Path) -> None:
    parts = load(tiny)
    texts = WordTexts(parts, Rows(initial_rows(parts, "apple", 2, print)), TOKEN, 1)
    with pytest.raises(DataError, match=r"longer than the 32 tokens .* <my-ball> is cut off"):
        texts.prepare(["a bear " * 15 + "{}"], 2)


def test_a_phrase_gives_as_many_rows_as_are_asked_for(load: Any, tiny: Path) -> None:
    parts, lines = load(tiny), []
    table = parts.text_encoder.get_input_embeddings().weight
    red, apple = parts.tokenizer("red apple", add_special_tokens=False).input_ids
    for count, ids in ((None, [red, apple]), (3, [red, apple, red]), (1, [apple])):
        [rows] = initial_rows(parts, "red apple", count, lines.append)
        assert torch.equal(rows, table[ids])
    assert lines == [
        "initial: 'red apple' is 2 tokens of the model (red</w> apple</w>); the last 1 are taken. "
        "vectors: 2 takes them all"
    ]


def test_the_toy_is_drawn_each_time_in_another_way() -> None:
    drawn = draw_toy(5)
    assert len({one.tobytes() for one in drawn}) == 5
    for one in drawn:
        assert one.size == (64, 64) and one.getchannel("A").getextrema() == (0, 255)
        assert one.getpixel((0, 0))[3] == 0
    white = Image.new("RGBA", (64, 64), "white")
    assert len(Image.alpha_composite(white, drawn[0]).getcolors(4096)) > 6
