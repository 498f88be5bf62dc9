"""CLIP, SigLIP and SigLIP 2 give what transformers' own models give; what is broken is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sdcreative.errors import ModelError, UsageError
from sdcreative.models.clip.loading import load_pair
from sdcreative.models.clip.words import canonical

TEXTS = ["a picture of a bear", "an owl", "the red bear"]


def transformers_tokens(folder: Path, texts: list[str], length: int) -> Any:
    from transformers import CLIPTokenizer, PreTrainedTokenizerFast

    kind: Any = CLIPTokenizer if (folder / "vocab.json").is_file() else PreTrainedTokenizerFast
    return kind.from_pretrained(folder)(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_clip_gives_transformers_logits(clip_folder: Path, pictures: list[Image.Image]) -> None:
    from transformers import CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    pair = load_pair(str(clip_folder), device="cpu")
    values = CLIPImageProcessorPil.from_pretrained(clip_folder)(pictures, return_tensors="pt")
    tokens = transformers_tokens(clip_folder, TEXTS, 16)
    with torch.no_grad():
        wanted = CLIPModel.from_pretrained(clip_folder)(**tokens, **values)
    texts, seen = pair.texts(TEXTS), pair.pictures(pictures)
    same(texts, wanted.text_embeds)
    same(seen, wanted.image_embeds)
    logits = pair.logits(seen, texts)
    same(logits, wanted.logits_per_image)
    same(pair.probabilities(logits), wanted.logits_per_image.softmax(dim=1))
    same(seen.norm(dim=1), torch.ones(3))
    assert (seen @ texts.T).std() > 0.01


def test_a_siglip_gives_transformers_logits(
    siglip_folder: Path, pictures: list[Image.Image]
) -> None:
    from transformers import SiglipModel
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    pair = load_pair(str(siglip_folder), device="cpu")
    values = SiglipImageProcessorPil.from_pretrained(siglip_folder)(pictures, return_tensors="pt")
    ids = transformers_tokens(siglip_folder, TEXTS, 8).input_ids
    with torch.no_grad():
        wanted = SiglipModel.from_pretrained(siglip_folder)(input_ids=ids, **values)
    logits = pair.logits(pair.pictures(pictures), pair.texts(["A Picture, of a bear!", *TEXTS[1:]]))
    same(logits, wanted.logits_per_image)
    same(pair.probabilities(logits), wanted.logits_per_image.sigmoid())
    assert pair.bias is not None


def test_a_siglip_2_gives_transformers_logits(
    siglip2_folder: Path, pictures: list[Image.Image]
) -> None:
    from transformers import Siglip2Model
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    pair = load_pair(str(siglip2_folder), device="cpu")
    processor = Siglip2ImageProcessorPil.from_pretrained(siglip2_folder)
    values = processor(pictures, return_tensors="pt")
    ids = transformers_tokens(siglip2_folder, TEXTS, 8).input_ids
    with torch.no_grad():
        wanted = Siglip2Model.from_pretrained(siglip2_folder)(input_ids=ids, **values)
    logits = pair.logits(pair.pictures(pictures), pair.texts([TEXTS[0].upper(), *TEXTS[1:]]))
    same(logits, wanted.logits_per_image)


def test_one_tower_of_a_clip_gives_the_vectors_of_the_pair(
    clip_folder: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    from transformers import CLIPTextModelWithProjection, CLIPVisionModelWithProjection

    for kind in (CLIPTextModelWithProjection, CLIPVisionModelWithProjection):
        folder = tmp_path / kind.__name__
        shutil.copytree(clip_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
        kind.from_pretrained(clip_folder).save_pretrained(folder)
    pair = load_pair(str(clip_folder), device="cpu")
    texts = load_pair(str(tmp_path / "CLIPTextModelWithProjection"), device="cpu")
    seen = load_pair(str(tmp_path / "CLIPVisionModelWithProjection"), device="cpu")
    same(texts.texts(TEXTS), pair.texts(TEXTS))
    same(seen.pictures(pictures), pair.pictures(pictures))
    with pytest.raises(UsageError, match="has no picture tower"):
        texts.pictures(pictures)
    with pytest.raises(UsageError, match="has no text tower"):
        seen.texts(TEXTS)


def test_vectors_do_not_depend_on_what_else_is_asked(
    clip_folder: Path, pictures: list[Image.Image]
) -> None:
    pair = load_pair(str(clip_folder), device="cpu")
    many = [f"bear {n}" for n in range(70)]
    same(pair.texts(many)[69:], pair.texts(many[69:]))
    same(pair.pictures(pictures * 15)[44:], pair.pictures(pictures[2:]))
    assert pair.texts([]).shape[0] == pair.pictures([]).shape[0] == 0


def test_what_is_beyond_the_context_is_counted_and_left_out(clip_folder: Path) -> None:
    pair = load_pair(str(clip_folder), device="cpu")
    assert pair.room == 14
    assert [pair.beyond(text) for text in ("bear", "bear " * 14, "bear " * 20)] == [0, 0, 6]
    same(pair.texts(["bear " * 14]), pair.texts(["bear " * 20]))
    assert not torch.allclose(pair.texts(["bear " * 13]), pair.texts(["bear " * 14]))
    with pytest.raises(UsageError, match="an empty text"):
        pair.texts(["bear", " "])


def test_small_letters_without_punctuation() -> None:
    assert canonical(" A Bear,  (red)! It's\n") == "a bear red its"


@pytest.fixture
def broken(clip_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip_folder, tmp_path / "broken"))


def fault(folder: Path | str) -> str:
    with pytest.raises(ModelError) as error:
        load_pair(str(folder), device="cpu")
    assert "\n" not in str(error.value)
    return str(error.value)


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_what_a_folder_lacks_is_said(broken: Path) -> None:
    weights = broken / "model.safetensors"
    state = load_file(weights)
    kept = {k: v for k, v in state.items() if k != "text_projection.weight"}
    save_file(kept, weights, metadata={"format": "pt"})
    assert "1 tensors are missing" in fault(broken)
    state["text_projection.weight"][0, 0] = float("nan")
    save_file(state, weights, metadata={"format": "pt"})
    assert "NaN" in fault(broken)
    weights.write_bytes(weights.read_bytes()[:-9])
    assert "truncated" in fault(broken)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "git-lfs pointer" in fault(broken)
    weights.write_bytes(b"\x80\x02}q\x00.")
    assert "a pickle named .safetensors" in fault(broken)
    weights.unlink()
    assert "weights of the pair are missing: no model.safetensors" in fault(broken)


def test_a_tokenizer_of_another_model_is_refused(broken: Path) -> None:
    (broken / "vocab.json").unlink()
    assert "no vocab.json" in fault(broken)
    other = {"b": 0, "e": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    (broken / "vocab.json").write_text(json.dumps(other))
    (broken / "merges.txt").write_text("#version: 0.2\n")
    assert "tokenizer and text tower do not fit: 4 tokens" in fault(broken)


def test_only_known_kinds_are_built(broken: Path) -> None:
    config = broken / "config.json"
    change(config, quantization_config={"quant_method": "bitsandbytes"})
    assert "quantized" in fault(broken)
    change(config, model_type="blip", auto_map={"AutoModel": "evil.Evil"})
    assert "holds a blip, which is no pair of picture and text; known are clip" in fault(broken)
    config.write_text("{")
    assert "cannot be read as JSON" in fault(broken)
    config.unlink()
    assert "has no pair of picture and text" in fault(broken)


def test_an_attention_that_a_folder_names_is_not_used(
    broken: Path, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    change(broken / "config.json", _attn_implementation="someone/kernels")
    pair = load_pair(str(broken), device="cpu")
    same(pair.texts(TEXTS), load_pair(str(clip_folder), device="cpu").texts(TEXTS))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": {"shortest_edge": 0}}, "cannot be followed: a side of 0 pixels"),
        ({"crop_size": 24}, "another size, (24, 24), than the tower takes: 32x32"),
        ({"image_mean": [0.5]}, "not the values of three channels"),
        ({"resample": 17}, "cannot be followed"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(
    broken: Path, changes: dict[str, Any], message: str
) -> None:
    change(broken / "preprocessor_config.json", **changes)
    assert message in fault(broken)


def test_what_is_no_pair_is_said(tiny_checkpoint: Path, tmp_path: Path) -> None:
    assert "has no pair of picture and text: neither config.json nor a folder clip/" in fault(
        tiny_checkpoint
    )
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"x")
    assert "is a single file; a pair is a folder" in fault(file)
    assert "no model 'emojy'" in fault("emojy")


def test_a_pair_in_the_cache_of_the_hub(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    repository = tmp_path / "hub" / "models--owner--pair"
    shutil.copytree(clip_folder, repository / "snapshots" / "0123")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    pair = load_pair("owner/pair", device="cpu", offline=True)
    same(pair.texts(TEXTS), load_pair(str(clip_folder), device="cpu").texts(TEXTS))
    with pytest.raises(ModelError, match="is not in the cache"):
        load_pair("owner/other", device="cpu", offline=True)
