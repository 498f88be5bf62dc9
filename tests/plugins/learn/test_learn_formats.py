"""Files of learned words as other programs read them, by rules restated from their sources.

AUTOMATIC1111: modules/textual_inversion/textual_inversion.py; ComfyUI: comfy/sd1_clip.py; kohya's
sd-scripts: gen_img.py, sdxl_gen_img.py. diffusers reads by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdcreative.models.addons.embedding_files import read_embedding
from sdcreative.models.addons.finding import addon_digest
from sdcreative.models.addons.wanted import add_to, find_addons
from sdcreative_plugins.train.inversion.files import describe, write_older, write_word

TOKEN = "<my-ball>"
FACTS: dict[str, Any] = {"step": 7, "model": "emoji", "digest": "0" * 16, "prediction": "epsilon"}
Read = tuple[str, dict[str, Tensor]]


def opened(path: Path, *, endings: tuple[str, ...]) -> dict[str, Any]:
    assert path.suffix in endings, "the program does not look at files of this ending"
    found: dict[str, Any]
    found = load_file(path) if path.suffix == ".safetensors" else torch.load(path)
    return found


def automatic(path: Path) -> Read:
    """The word is the file's name; one term, or both of SDXL's; a vector alone is one of one."""
    data = opened(path, endings=(".safetensors", ".pt", ".bin"))
    if "string_to_param" in data:
        terms = data["string_to_param"]
        assert len(terms) == 1
        vectors = {"": next(iter(terms.values()))}
    elif "clip_g" in data and "clip_l" in data:
        vectors = {key: data[key] for key in data}
    else:
        assert len(data) == 1
        [only] = data.values()
        assert type(only) is Tensor
        vectors = {"": only[None] if only.dim() == 1 else only}
    # Counted by the last axis, and by the first, of every tensor.
    assert all(one.dim() == 2 for one in vectors.values())
    return path.stem, vectors


def comfy(path: Path, key: str = "clip_l") -> Read:
    """The file's name behind "embedding:"; the encoder's own key, else the first tensor."""
    data = opened(path, endings=(".safetensors", ".pt", ".bin"))
    if "string_to_param" in data:
        found = next(iter(data["string_to_param"].values()))
    else:
        found = data[key] if key in data else next(iter(data.values()))
    assert found.dim() == 2, "rows become tokens one by one"
    return path.stem, {key: found}


def kohya(path: Path, *, sdxl: bool = False) -> Read:
    """The file's name; the first tensor, of SDXL's by their keys; must be a table of vectors."""
    data = opened(path, endings=(".safetensors", ".pt", ".bin"))
    data = data.get("string_to_param", data)
    found = {key: data[key] for key in ("clip_l", "clip_g")} if sdxl else {}
    if not sdxl:
        found[""] = next(iter(data.values()))
    assert all(type(one) is Tensor for one in found.values())
    assert len({len(one) for one in found.values()}) == 1
    return path.stem, found


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """Ending -> file, of a word with these rows."""

    def write(*rows: Tensor) -> dict[str, Path]:
        path = tmp_path / "my-ball.safetensors"
        said = describe(TOKEN, rows, licence="CC0-1.0", preset={"token": TOKEN}, **FACTS)
        write_word(path, TOKEN, rows, said)
        older = {form: write_older(path, form, TOKEN, rows, said) for form in ("pt", "bin")}
        return {"safetensors": path, **older}

    return write


@pytest.mark.parametrize("count", [1, 3])
def test_every_program_reads_the_word_of_one_text_encoder(
    written: Callable[..., dict[str, Path]], count: int
) -> None:
    rows = torch.randn(count, 768)
    for path in written(rows).values():
        for read in (automatic, comfy, kohya):
            word, vectors = read(path)
            assert word == "my-ball"
            [found] = vectors.values()
            assert torch.equal(found, rows), (path, read)
        found = read_embedding(path)
        assert torch.equal(found.vectors, rows) and found.second is None
        assert found.name == ("my-ball" if path.suffix == ".pt" else TOKEN)
        assert found.family == "Stable Diffusion 1"


def test_every_program_reads_the_word_of_both_text_encoders(
    written: Callable[..., dict[str, Path]],
) -> None:
    first, second = torch.randn(2, 768), torch.randn(2, 1280)
    files = written(first, second)
    for path in (files["safetensors"], files["pt"]):
        word, vectors = automatic(path)
        assert word == "my-ball" and sorted(vectors) == ["clip_g", "clip_l"]
        assert torch.equal(vectors["clip_l"], first) and torch.equal(vectors["clip_g"], second)
        assert torch.equal(comfy(path, "clip_l")[1]["clip_l"], first)
        assert torch.equal(comfy(path, "clip_g")[1]["clip_g"], second)
        found = kohya(path, sdxl=True)[1]
        assert torch.equal(found["clip_l"], first) and torch.equal(found["clip_g"], second)
    for path in files.values():
        embedding = read_embedding(path)
        assert torch.equal(embedding.vectors, first), path
        assert embedding.second is not None and torch.equal(embedding.second, second), path
        assert embedding.family == "Stable Diffusion XL"


def test_the_file_says_what_it_is(written: Callable[..., dict[str, Path]]) -> None:
    from safetensors import safe_open

    with safe_open(written(torch.randn(2, 768))["safetensors"], "pt") as file:
        said = file.metadata()
    assert said["token"] == said["modelspec.trigger_phrase"] == TOKEN
    assert said["modelspec.architecture"] == "stable-diffusion-v1/textual-inversion"
    found = read_embedding(written(torch.randn(2, 768))["pt"])
    assert (found.step, found.base) == (7, "emoji")


def test_diffusers_loads_the_word(written: Callable[..., dict[str, Path]], tiny: Path) -> None:
    from diffusers import StableDiffusionPipeline

    rows = torch.randn(2, 32)
    for form, path in written(rows).items():
        pipe = StableDiffusionPipeline.from_pretrained(tiny)
        # Only .pt says no word but its file's name and, within, the token that is taken here.
        pipe.load_textual_inversion(str(path))
        ids = pipe.tokenizer.convert_tokens_to_ids([TOKEN, f"{TOKEN}_1"])
        assert torch.equal(pipe.text_encoder.get_input_embeddings().weight[ids], rows), form
        prompt = pipe.maybe_convert_prompt(f"a {TOKEN}", pipe.tokenizer)
        assert pipe.tokenizer(prompt, add_special_tokens=False).input_ids[-2:] == ids


def test_diffusers_loads_the_word_of_sdxl_for_either_text_encoder(
    written: Callable[..., dict[str, Path]], tiny_xl: Path
) -> None:
    from diffusers import StableDiffusionXLPipeline

    rows = torch.randn(2, 32), torch.randn(2, 64)
    files = written(*rows)
    state = load_file(files["safetensors"])
    second = files["bin"].with_name("my-ball_2.bin")
    for first_of, second_of, token in (
        (state["clip_l"], state["clip_g"], TOKEN),
        (str(files["bin"]), str(second), None),
    ):
        pipe = StableDiffusionXLPipeline.from_pretrained(tiny_xl)
        both = [(pipe.text_encoder, pipe.tokenizer), (pipe.text_encoder_2, pipe.tokenizer_2)]
        for (encoder, tokenizer), given, expected in zip(
            both, (first_of, second_of), rows, strict=True
        ):
            pipe.load_textual_inversion(
                given, token=token, text_encoder=encoder, tokenizer=tokenizer
            )
            ids = tokenizer.convert_tokens_to_ids([TOKEN, f"{TOKEN}_1"])
            assert torch.equal(encoder.get_input_embeddings().weight[ids], expected)


def test_two_files_of_the_example_of_diffusers_are_one_word(
    tmp_path: Path, tiny_xl: Path, load: Callable[[Path], Any]
) -> None:
    first, second = (
        tmp_path / "learned_embeds.safetensors",
        tmp_path / "learned_embeds_2.safetensors",
    )
    vectors = torch.ones(1, 32), torch.full((1, 64), 2.0)
    save_file({"<cat>": vectors[0]}, first)
    alone = addon_digest(first)
    save_file({"<cat>": vectors[1]}, second)
    assert addon_digest(first) != alone
    parts = load(tiny_xl)
    with add_to(parts, find_addons([], [(str(first), None)], [])):
        for encoder, tokenizer, expected in (
            (parts.text_encoder, parts.tokenizer, vectors[0]),
            (parts.text_encoder_2, parts.tokenizer_2, vectors[1]),
        ):
            ids = tokenizer("<cat>", add_special_tokens=False).input_ids
            assert torch.equal(encoder.get_input_embeddings().weight[ids], expected)


@pytest.mark.parametrize(
    "other",
    [
        {"<cat>": torch.ones(1, 768)},
        {"<cat>": torch.ones(1, 1024)},
        {"<dog>": torch.ones(1, 1280)},
        {"<cat>": torch.ones(1, 1280), "<dog>": torch.ones(1, 1280)},
    ],
)
def test_a_file_beside_that_is_something_else_is_left_alone(tmp_path: Path, other: Any) -> None:
    save_file({"<cat>": torch.ones(1, 768)}, tmp_path / "cat.safetensors")
    save_file(other, tmp_path / "cat_2.safetensors")
    assert read_embedding(tmp_path / "cat.safetensors").second is None
