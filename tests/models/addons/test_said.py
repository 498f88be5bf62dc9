"""Words of prompts that are names of files in a models folder, where nobody lists them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdcreative import RenderSettings, Studio
from sdcreative.core.prompt_syntax import read_prompt
from sdcreative.models.addons.said import said_embeddings
from sdcreative.models.digests import model_digest
from sdcreative.models.facts import reading_notes
from sdcreative.models.places import ModelPlace, locate
from sdcreative.models.text import chunks


class Prompted(RenderSettings):
    prompt: str = "a bear"
    negative_prompt: str = ""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A1111's: embeddings in the home itself, another folder within, pictures beside."""
    folder = tmp_path / "embeddings"
    (folder / "negative").mkdir(parents=True)
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    save_file({"<my-toy>": vectors}, folder / "my-toy.safetensors")
    torch.save({"string_to_param": {"*": vectors[:1]}}, folder / "my-toy.pt")
    torch.save({"string_to_param": {"*": -vectors}}, folder / "negative" / "Calm.pt")
    (folder / "my-toy.png").write_bytes(b"a preview")
    return tmp_path


@pytest.fixture
def place(tiny_checkpoint: Path, home: Path) -> Callable[..., ModelPlace]:
    def find(prompt: str, **values: Any) -> ModelPlace:
        given = {"model": str(tiny_checkpoint), "models_dir": [str(home)], "prompt": prompt}
        return locate(Prompted.model_validate(given | values))

    return find


def words(place: ModelPlace) -> list[tuple[str, str | None]]:
    return [(one.path.name, one.token) for one in place.addons.embeddings]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a My-Toy in the grass", ["my-toy"]),
        ("a <my-toy>", ["<my-toy>"]),
        ("a (embedding:my-toy:1.2)", ["embedding:my-toy"]),
        ("[my-toy|bear], <my-toy>", ["my-toy", "<my-toy>"]),
        (r"a my\-toy", ["my-toy"]),
        ("my-toys, not-my-toy_2, amy-toy", []),
        ("a bear", []),
    ],
)
def test_a_prompt_names_a_file(
    place: Callable[..., ModelPlace], prompt: str, expected: list[str]
) -> None:
    assert words(place(prompt)) == [("my-toy.safetensors", one) for one in expected]


def test_negative_prompts_and_subfolders_count_and_other_settings_do_not(
    place: Callable[..., ModelPlace], home: Path
) -> None:
    assert words(place("a bear", negative_prompt="calm, bad")) == [("Calm.pt", "Calm")]
    assert place("a bear", output="calm.png").addons == place("a bear").addons
    assert words(place("calm", models_dir=[])) == []
    # A plain folder may hold models and LoRAs of such names.
    assert said_embeddings(["calm my-toy"], [home / "embeddings" / "negative"]) == []


def test_what_is_listed_is_not_taken_twice(place: Callable[..., ModelPlace], home: Path) -> None:
    listed = place("a <my-toy>", embeddings=["my-toy"])
    assert words(listed) == [("my-toy.safetensors", None)]
    other = {"file": str(home / "embeddings/negative/Calm.pt"), "token": "my-toy"}
    both = place("a my-toy", embeddings=[other])
    studio = Studio.load(both, device="cpu")
    [chunk] = chunks(studio.parts, read_prompt("my-toy").terms[0].at(0, 1))
    table = studio.parts.text_encoder.get_input_embeddings().weight
    calm = torch.load(home / "embeddings/negative/Calm.pt")["string_to_param"]["*"]
    assert torch.equal(table[list(chunk.tokens)], calm)


@pytest.mark.parametrize("prompt", ["my-toy", "<my-toy>", "embedding:my-toy"])
def test_the_word_is_the_vectors_and_is_said(
    place: Callable[..., ModelPlace], home: Path, prompt: str
) -> None:
    found = place(f"a ({prompt}:1.1)")
    parts = Studio.load(found, device="cpu").parts
    [chunk] = chunks(parts, read_prompt(f"({prompt}:1.1)").terms[0].at(0, 1))
    assert chunk.weights == (1.1, 1.1)
    vectors = parts.text_encoder.get_input_embeddings().weight[list(chunk.tokens)]
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(vectors, torch.randn(2, 32, generator=generator))
    path = home / "embeddings" / "my-toy.safetensors"
    assert reading_notes(found) == (
        f"a prompt says {prompt!r}, which is {path} where that fits the model",
    )
    assert reading_notes(place("a bear")) == ()
    assert model_digest(found) != model_digest(place("a bear"))


def test_words_of_other_families_and_of_the_model_stay_text(
    place: Callable[..., ModelPlace], home: Path
) -> None:
    save_file({"emb_params": torch.ones(1, 768)}, home / "embeddings" / "ink.safetensors")
    save_file({"emb_params": torch.ones(1, 32)}, home / "embeddings" / "bear.safetensors")
    found = place("an ink bear")
    assert words(found) == [("bear.safetensors", "bear"), ("ink.safetensors", "ink")]
    parts = Studio.load(found, device="cpu").parts
    plain = Studio.load(place("a"), device="cpu").parts
    ids = [one.tokenizer("an ink bear").input_ids for one in (parts, plain)]
    assert ids[0] == ids[1]
