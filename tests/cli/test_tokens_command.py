"""`sdcreative tokens`, with the built-in model."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from sdcreative import Studio
from sdcreative.cli.tokens import tokens_command
from sdcreative.errors import SdcreativeError


def run(*words: str) -> str:
    return CliRunner().invoke(tokens_command(), list(words), catch_exceptions=False).output


def read(*words: str) -> Any:
    return json.loads(run(*words, "--json"))


def test_a_word_in_its_pieces(studio: Studio) -> None:
    [term] = read("dreambeach")["terms"]
    [wording] = term["wordings"]
    assert "".join(one["token"] for one in wording["tokens"]) == "dreambeach</w>"
    ids = studio.parts.tokenizer("dreambeach", add_special_tokens=False).input_ids
    assert [one["id"] for one in wording["tokens"]] == ids
    assert f"{len(ids)} tokens in 1 chunk of 30" in run("dreambeach")


def test_what_is_beyond_a_chunk_goes_to_the_next() -> None:
    found = read("bear " * 40)
    tokens = found["terms"][0]["wordings"][0]["tokens"]
    assert [one["chunk"] for one in tokens] == [1] * 30 + [2] * 10
    assert found["room"] == 30
    assert "40 tokens in 2 chunks of 30; 10 beyond the first" in run("bear " * 40)
    assert "2 tokens in 2 chunks of 30; 1 beyond the first" in run("red BREAK bear")


def test_weights_schedules_joined_prompts_and_wildcards() -> None:
    words = ("a (red:1.2) [bear|apple] AND {blue|blue} sky :0.5 <lora:x:0.8:1>", "--steps", "5")
    said = run(*words)
    assert "read as: a (red:1.2) [bear|apple] AND blue sky :0.5 <lora:x:0.8:1>" in said
    assert "prompt 1 of 2, weight 1, steps 1, 3, 5 of 5" in said
    assert "prompt 1 of 2, weight 1, steps 2, 4 of 5" in said
    assert "prompt 2 of 2, weight 0.5\n" in said
    assert "LoRA x: 1 of it to the U-Net, 0.8 to the text encoder" in said
    found = read(*words)
    first, second = found["terms"]
    assert [each["steps"] for each in first["wordings"]] == [[1, 3, 5], [2, 4]]
    assert [one["weight"] for one in first["wordings"][0]["tokens"]] == [1, 1.2, 1]
    assert second["weight"] == 0.5
    assert "steps 1-3 of 6" in run("[a:b:0.5]", "--steps", "6")


def test_plain_takes_every_character() -> None:
    [term] = read("({a|b}:2)", "--plain")["terms"]
    tokens = term["wordings"][0]["tokens"]
    assert "".join(one["token"].removesuffix("</w>") for one in tokens) == "({a|b}:2)"
    assert {one["weight"] for one in tokens} == {1}


def test_neighbours_are_the_nearest_by_angle(studio: Studio) -> None:
    [term] = read("red bear", "--neighbours", "5")["terms"]
    rows = studio.parts.text_encoder.get_input_embeddings().weight.double()
    for one in term["wordings"][0]["tokens"]:
        cosines = torch.nn.functional.cosine_similarity(rows, rows[one["id"]][None])
        order = [other for other in cosines.argsort(descending=True).tolist() if other != one["id"]]
        assert [other["id"] for other in one["neighbours"]] == order[:5]
        for other in one["neighbours"]:
            assert other["cosine"] == pytest.approx(float(cosines[other["id"]]), abs=1e-3)
    assert "NEIGHBOURS" in run("red", "--neighbours", "1")


def test_no_words_and_no_model() -> None:
    assert "0 tokens in 1 chunk of 30" in run("")
    with pytest.raises(SdcreativeError):
        run("a", "--model", "/no/such/folder")


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from sdcreative.cli.tokens import tokens_command; tokens_command();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
