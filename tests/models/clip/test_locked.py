"""The built-in pair: joined with the model's text encoder, and right about drawings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from emoji_clip import Namer
from sdcreative import Studio
from sdcreative.errors import ModelError
from sdcreative.models.building import read_part, read_tokenizer
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.clip.locked import LockedTextPair, Shape, read_locked, save_locked
from sdcreative.models.sources import BUILTIN

EMOJI = BUILTIN / "emoji"
THINGS = ["bear", "red apple", "owl", "banana", "cat", "sunflower", "octopus", "hamburger"]


def sentence(thing: str) -> str:
    return f"a picture of {'an' if thing[0] in 'aeiou' else 'a'} {thing}"


@pytest.fixture(scope="module")
def painted(studio: Studio) -> list[Image.Image]:
    return [studio.picture(sentence(thing), seed=3, steps=8, guidance_scale=6) for thing in THINGS]


def test_the_built_in_pair_names_what_the_model_paints(painted: list[Image.Image]) -> None:
    pair = load_pair(device="cpu")
    likeness = pair.likeness(painted, [sentence(thing) for thing in THINGS])
    found = [THINGS[i] for i in likeness.argmax(dim=1).tolist()]
    assert sum(a == b for a, b in zip(found, THINGS, strict=True)) >= len(THINGS) - 1
    large = [picture.resize((256, 256), Image.Resampling.BICUBIC) for picture in painted]
    again = pair.likeness(large, [sentence(thing) for thing in THINGS])
    assert (again - likeness).abs().max() < 0.1


def test_the_benchmark_names_pictures_as_the_pair_does(painted: list[Image.Image]) -> None:
    pair = load_pair(device="cpu")
    pixels = torch.stack([torch.from_numpy(np.array(p)).permute(2, 0, 1) for p in painted])
    found = Namer(pair, THINGS).guess(pixels / 127.5 - 1)
    likeness = pair.likeness(painted, [sentence(thing) for thing in THINGS])
    assert [guesses[0] for guesses in found] == [THINGS[i] for i in likeness.argmax(dim=1)]
    assert {len(set(guesses)) for guesses in found} == {5}


def test_its_texts_are_the_models_text_encoder_and_a_projection() -> None:
    pair, own = load_pair(device="cpu"), read_locked(EMOJI / "clip")
    encoder, tokenizer = read_part(EMOJI / "text_encoder"), read_tokenizer(EMOJI / "tokenizer")
    tokens = tokenizer(["a red owl"], padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        pooled = encoder(tokens.input_ids).pooler_output
        wanted = torch.nn.functional.normalize(own.text_projection(pooled), dim=-1)
    torch.testing.assert_close(pair.texts(["a red owl"]), wanted)
    assert pair.room == 30
    assert pair.beyond("owl " * 31) == 1


def test_it_is_small() -> None:
    assert (EMOJI / "clip" / "model.safetensors").stat().st_size < 900_000
    assert sum(p.numel() for p in read_locked(EMOJI / "clip").parameters()) <= 430_000


def tiny() -> LockedTextPair:
    torch.manual_seed(0)
    return LockedTextPair(Shape((8, 16), 16, 12, 32)).eval()


def test_what_is_stored_is_read_again(tmp_path: Path) -> None:
    pair = tiny()
    pair.train()
    pair.picture_features(torch.randn(4, 3, 16, 16))  # moves the running means of the norms
    pair.eval()
    save_locked(pair, tmp_path / "clip")
    again = read_locked(tmp_path / "clip")
    pixels, pooled = torch.randn(3, 3, 16, 16), torch.randn(3, 32)
    for one, other in (
        (pair.picture_features(pixels), again.picture_features(pixels)),
        (pair.text_features(pooled), again.text_features(pooled)),
    ):
        torch.testing.assert_close(one, other, atol=2e-3, rtol=2e-3)
    assert torch.equal(pair.stem_norm.running_mean, again.stem_norm.running_mean)
    assert pair.picture_features(pixels).shape == (3, 12)


@pytest.fixture
def joined(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A tiny model with a pair, to be broken."""
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(tiny_checkpoint / part, tmp_path / part)
    save_locked(tiny(), tmp_path / "clip")
    return tmp_path / "clip"


def fault(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        load_pair(str(folder), device="cpu")
    return str(error.value)


def test_a_model_and_its_pair_are_the_same_by_both_names(joined: Path) -> None:
    texts = ["a bear", "b"]
    both = [load_pair(str(folder), device="cpu").texts(texts) for folder in (joined, joined.parent)]
    assert torch.equal(*both)


def test_faults(joined: Path) -> None:
    config, weights = joined / "config.json", joined / "model.safetensors"
    good, state = config.read_text(), load_file(weights)
    config.write_text(json.dumps({**json.loads(good), "text_width": 48}))
    assert "do not fit its config.json: text_projection.weight is [12, 32]" in fault(joined)
    config.write_text(json.dumps({**json.loads(good), "channels": [8, "16"]}))
    assert "describes no pair: its numbers are missing or wrong" in fault(joined)
    config.write_text(json.dumps({**json.loads(good), "channels": []}))
    assert "describes no pair" in fault(joined)
    config.write_text(good)
    save_file({**state, "stem.weight": state["stem.weight"] * float("nan")}, weights)
    assert "NaN" in fault(joined)
    save_file({k: v for k, v in state.items() if k != "logit_scale"}, weights)
    assert "1 missing (logit_scale)" in fault(joined)
    weights.write_bytes(b"\x80\x02}q\x00.")
    assert "not a safetensors file" in fault(joined)
    weights.unlink()
    assert "cannot be read" in fault(joined)
    save_locked(LockedTextPair(Shape((8,), 16, 12, 40)), joined)
    assert "trained beside a text encoder of width 40" in fault(joined)
    shutil.rmtree(joined.parent / "text_encoder")
    assert "no folder" in fault(joined)
