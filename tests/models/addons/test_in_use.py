"""LoRAs and embeddings that settings, or prompts, ask for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdcreative import RenderSettings, Studio, UsageError
from sdcreative.core.prompt_syntax import read_prompt
from sdcreative.models.addons.embedding_installing import install
from sdcreative.models.digests import model_digest
from sdcreative.models.loading import Parts
from sdcreative.models.places import ModelPlace, locate
from sdcreative.models.text import chunks


class Prompted(RenderSettings):
    prompt: str = "a bear"


@pytest.fixture
def place(tiny_checkpoint: Path) -> Callable[..., ModelPlace]:
    def find(**values: Any) -> ModelPlace:
        return locate(Prompted.model_validate({"model": str(tiny_checkpoint), **values}))

    return find


def picture(place: ModelPlace) -> np.ndarray:
    studio = Studio.load(place, device="cpu")
    return np.asarray(studio.picture("a bear", steps=2, guidance_scale=3), int)


def test_a_lora_of_the_settings_changes_pictures_and_the_digest(
    place: Callable[..., ModelPlace], kohya: Path
) -> None:
    plain, added = place(), place(loras=[str(kohya)])
    assert np.abs(picture(added) - picture(plain)).max() > 2
    assert model_digest(plain) != model_digest(added)
    assert model_digest(added) != model_digest(place(loras=[{"file": str(kohya), "scale": 0.5}]))


def test_a_tag_in_a_prompt_is_the_same_as_the_setting(
    place: Callable[..., ModelPlace], kohya: Path
) -> None:
    folder = {"models_dir": [str(kohya.parent)]}
    tagged = place(prompt=f"a bear <lora:{kohya.stem}:0.5>", **folder)
    said = place(loras=[{"file": kohya.stem, "scale": 0.5}], **folder)
    assert tagged.addons == said.addons
    plain = place(prompt=f"a bear <lora:{kohya.stem}:0.5>", prompt_syntax="plain", **folder)
    assert plain.addons == place().addons


def test_a_lora_that_is_not_there_is_said(place: Callable[..., ModelPlace]) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        place(prompt="a bear <lora:nowhere:1>")


def test_an_embedding_of_the_settings_is_a_word(
    place: Callable[..., ModelPlace], tmp_path: Path
) -> None:
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    save_file({"emb_params": vectors}, tmp_path / "toy.safetensors")
    said = place(embeddings=[{"file": str(tmp_path / "toy.safetensors"), "token": "<toy>"}])
    studio = Studio.load(said, device="cpu")
    [chunk] = chunks(studio.parts, read_prompt("<toy>", "weighted").terms[0].at(0, 1))
    assert len(chunk.tokens) == 2
    table = studio.parts.text_encoder.get_input_embeddings().weight
    assert torch.allclose(table[list(chunk.tokens)], vectors, atol=1e-6)


def test_a_word_of_several_vectors_is_not_cut_in_two(parts: Parts) -> None:
    room = parts.context - 2
    with install(parts, [("<toy>", torch.randn(3, 32))]):
        found = chunks(
            parts, read_prompt("b " * (room - 2) + "<toy>", "weighted").terms[0].at(0, 1)
        )
        assert [len(chunk.tokens) for chunk in found] == [room - 2, 3]
