"""The pair beside a locked text encoder: what a batch holds, what is learnt, what is stored."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from pydantic import ValidationError

from sdcreative import UsageError
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.sources import BUILTIN
from sdcreative.presets import load_preset, validate
from sdcreative_plugins.train.clip import ClipObjective, clip_objective
from sdcreative_plugins.train.clip_locked import LockedClipObjective, _things, _whiten
from sdcreative_plugins.train.pictures import BACKGROUNDS, Drawing
from sdcreative_plugins.train.placing import place
from sdcreative_plugins.train.settings import ClipStage, TrainSettings

COLOURS = {"bear": "brown", "owl": "purple", "banana": "yellow", "frog": "green"}


def drawing(thing: str, style: str, **changes: Any) -> Drawing:
    """A disc or a bar of the thing's colour on nothing."""
    picture = Image.new("RGBA", (32, 32))
    shape = (
        ImageDraw.Draw(picture).ellipse if style == "flat" else ImageDraw.Draw(picture).rectangle
    )
    shape((6, 6, 26, 26), fill=(*BACKGROUNDS[COLOURS[thing]], 255))
    noun = f"{'an' if thing[0] == 'o' else 'a'} {thing}"
    given = {
        "rgba": np.array(picture),
        "captions": (f"a picture of {noun}", noun, f"{noun}, {style} style"),
        "background_caption": "on a {background} background",
        "name": thing,
        "avoid": frozenset({"blue"}),
    }
    return Drawing(**(given | changes))


DRAWINGS = [drawing(name, style) for name in COLOURS for style in ("flat", "retro")]


def stage(**changes: Any) -> ClipStage:
    given: dict[str, Any] = {
        "schedule": {"steps": 5, "batch": 8},
        "locked_text": "emoji",
        "channels": [8, 16],
        "projection": 16,
    }
    return ClipStage.model_validate(given | changes)


@pytest.fixture
def objective(tmp_path: Path) -> LockedClipObjective:
    made = clip_objective(
        stage(), 32, DRAWINGS, DRAWINGS, torch.device("cpu"), tmp_path / "tokenizer"
    )
    assert isinstance(made, LockedClipObjective)
    return made


def test_placing_depends_on_the_seed_alone() -> None:
    def placed(seed: int) -> tuple[torch.Tensor, list[str | None]]:
        return place(DRAWINGS, np.random.default_rng(seed))

    pixels, names = placed(1)
    again, same = placed(1)
    assert torch.equal(pixels, again)
    assert names == same
    assert not torch.equal(pixels, placed(2)[0])
    assert pixels.shape == (8, 3, 32, 32)
    assert pixels.abs().max() < 1.8


def test_backgrounds_are_those_that_are_named() -> None:
    rng = np.random.default_rng(0)
    counts: dict[str | None, int] = {}
    for _ in range(40):
        pixels, names = place(DRAWINGS, rng)
        for picture, name in zip(pixels, names, strict=True):
            counts[name] = counts.get(name, 0) + 1
            if name is not None:
                corner = picture[:, :3, :3].mean(dim=(1, 2))
                wanted = torch.tensor(BACKGROUNDS[name]) / 127.5 - 1
                assert (corner - wanted).abs().max() < 0.35
    assert counts.get("blue", 0) == 0
    assert counts["white"] / 320 == pytest.approx(0.45, abs=0.1)
    assert counts[None] / 320 == pytest.approx(0.25, abs=0.1)
    assert len(counts) == len(BACKGROUNDS)


def test_what_has_no_transparency_stays_in_its_place() -> None:
    opaque = np.full((32, 32, 4), 255, np.uint8)
    opaque[:, 16:, :3] = 0
    picture = drawing("bear", "flat", rgba=opaque, background_caption="", mirror=False)
    pixels, names = place([picture] * 6, np.random.default_rng(0))
    assert names == [None] * 6
    left, right = pixels[..., :14].mean(dim=(1, 2, 3)), pixels[..., 18:].mean(dim=(1, 2, 3))
    assert (left > 0.2).all()
    assert (right < -0.8).all()
    turned, _ = place(
        [drawing("bear", "flat", rgba=opaque, background_caption="")] * 12, np.random.default_rng(0)
    )
    assert 0 < int((turned[..., :14].mean(dim=(1, 2, 3)) < 0).sum()) < 12


def test_a_thing_is_asked_for_by_what_all_its_drawings_share() -> None:
    own, phrases = _things(DRAWINGS)
    assert own == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sorted(phrases[1]) == ["a picture of an owl"] * 3 + ["an owl"]
    unnamed = [drawing("bear", style, name="") for style in ("flat", "flat")]
    own, phrases = _things(unnamed)
    assert own == [0, 1]
    assert set(phrases[0]) == set(unnamed[0].captions)


def test_a_batch_knows_which_captions_fit_which_pictures(objective: LockedClipObjective) -> None:
    batch = objective.batch(np.random.default_rng(3), 24)
    assert batch.pixels.shape == (24, 3, 32, 32)
    assert bool(batch.fits.diagonal().all())
    names = [next(name for name in COLOURS if name in caption) for caption in batch.captions]
    for row in range(24):
        assert names[row] in batch.bank[int(batch.things[row])]
        for column in range(24):
            if batch.fits[row, column]:
                assert names[row] == names[column]
    assert len(batch.bank) == len({text.split()[-1] for text in batch.bank}) == 4
    assert any("background" in caption for caption in batch.captions)


def test_the_loss_is_that_of_the_formulas(objective: LockedClipObjective) -> None:
    batch = objective.batch(np.random.default_rng(0), 6)
    objective.clip.eval()
    with torch.no_grad():
        found = objective.loss(batch, torch.Generator())
        seen = objective.picture_features(batch.pixels).double()
        scale = float(objective.clip.logit_scale.exp())
        among = scale * seen @ objective.text_features(batch.bank).double().T
        logits = scale * seen @ objective.text_features(batch.captions).double().T
    by_thing = by_picture = by_text = 0.0
    for i in range(6):
        logs = among[i] - among[i].logsumexp(0)
        by_thing -= float(0.9 * logs[batch.things[i]] + 0.1 * logs.mean()) / 6
        row = [j for j in range(6) if j == i or not batch.fits[i, j]]
        by_picture -= float(logits[i, i] - logits[i, row].logsumexp(0)) / 6
        column = [j for j in range(6) if j == i or not batch.fits[j, i]]
        by_text -= float(logits[i, i] - logits[column, i].logsumexp(0)) / 6
    assert float(found["things"]) == pytest.approx(by_thing, rel=1e-4)
    assert float(found["loss"]) == pytest.approx(by_thing + (by_picture + by_text) / 2, rel=1e-4)


def test_it_learns_and_the_text_encoder_stays(
    objective: LockedClipObjective, tmp_path: Path
) -> None:
    assert "text_encoder" not in "".join(objective.modules)
    optimizer = torch.optim.AdamW(objective.clip.parameters(), lr=5e-3)
    rng, losses, right = np.random.default_rng(0), [], []
    for _ in range(40):
        terms = objective.loss(objective.batch(rng, 16), torch.Generator())
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        losses.append(float(terms["loss"].detach()))
        right.append(float(terms["accuracy"]))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])
    assert np.mean(right[-5:]) > 0.6
    objective.clip.eval()
    assert objective.measure()["named_top5"] == 1.0
    objective.save(tmp_path)
    for name in ("text_encoder/model.safetensors", "tokenizer/vocab.json"):
        assert (tmp_path / name).read_bytes() == (BUILTIN / "emoji" / name).read_bytes()
    pair = load_pair(str(tmp_path), device="cpu")
    texts = ["a picture of a bear", "an owl"]
    wanted = objective.text_features(texts).detach()
    torch.testing.assert_close(pair.texts(texts), wanted, atol=5e-3, rtol=5e-3)
    assert objective.sheet().size[0] > 32


def test_whitened_texts_lie_evenly(objective: LockedClipObjective) -> None:
    pooled = objective.pooled([f"a picture of a {name}" for name in COLOURS]).cpu()
    projection = torch.nn.Linear(pooled.shape[1], 4)
    _whiten(projection, pooled)
    with torch.no_grad():
        vectors = projection(pooled)
    assert vectors.mean(dim=0).abs().max() < 1e-3
    assert bool(torch.isfinite(vectors).all())
    near = torch.nn.functional.cosine_similarity(vectors[0], vectors[1], dim=0)
    assert float(near) < math.cos(math.pi / 3)


def test_without_a_locked_text_both_towers_are_trained(tmp_path: Path) -> None:
    both = ClipStage.model_validate(
        {"schedule": {"steps": 1}, "width": 32, "layers": 1, "heads": 2, "vocabulary": 600}
    )
    made = clip_objective(both, 32, DRAWINGS, [], torch.device("cpu"), tmp_path)
    assert type(made) is ClipObjective


def test_a_pair_beside_a_locked_text_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave out start_from"):
        clip_objective(
            stage(), 32, DRAWINGS, [], torch.device("cpu"), tmp_path, torch.nn.Identity()
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 64}, "width: is the locked text encoder's own"),
        ({"patch": 4}, "patch: is the locked"),
        ({"locked_text": None}, "channels: goes with locked_text"),
        ({"channels": []}, "at least 1 item"),
        ({"label_smoothing": 1.0}, "less than 1"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        stage(**changes)


def test_the_bundled_preset_fits() -> None:
    settings = validate(load_preset("train_emoji_clip"), TrainSettings)
    assert settings.clip is not None
    assert settings.clip.locked_text == "emoji"
