from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdcreative.errors import UsageError
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.text import chunks, encode

SHORT = ["a bear", "", "Bear!", "ünïcödé 熊"]
LONG = "bear " * 40


@pytest.fixture(scope="module")
def parts(tiny_checkpoint: Path) -> Parts:
    return load_parts(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32)


def test_short_prompts_equal_the_pipeline_of_diffusers(parts: Parts, tiny_checkpoint: Path) -> None:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        tiny_checkpoint, safety_checker=None, feature_extractor=None
    )
    for prompt, ours in zip(SHORT, encode(parts, SHORT), strict=True):
        theirs = pipeline.encode_prompt(prompt, torch.device("cpu"), 1, False)[0]
        assert theirs.shape == (1, 16, 32)
        assert torch.equal(ours.embeddings, theirs)
        assert ours.pooled is None


def test_an_attention_mask_is_used_where_the_model_was_trained_with_one(parts: Parts) -> None:
    (before,) = encode(parts, ["a bear"])
    parts.text_encoder.config.use_attention_mask = True
    try:
        (after,) = encode(parts, ["a bear"])
    finally:
        del parts.text_encoder.config.use_attention_mask
    # Attention is causal: only what comes after the end of the text can differ.
    assert torch.allclose(before.embeddings[:, :4], after.embeddings[:, :4], atol=1e-6)
    assert not torch.allclose(before.embeddings, after.embeddings)


def test_a_prompt_is_encoded_alike_in_any_company(parts: Parts) -> None:
    together = encode(parts, [*SHORT, LONG])
    alone = [encode(parts, [prompt])[0] for prompt in [*SHORT, LONG]]
    assert all(
        torch.equal(one.embeddings, other.embeddings)
        for one, other in zip(together, alone, strict=True)
    )


def test_nothing_of_a_long_prompt_is_lost(parts: Parts) -> None:
    pieces = chunks(parts, LONG)
    assert [len(piece) for piece in pieces] == [14, 14, 12]
    assert (
        parts.tokenizer.decode([one for piece in pieces for one in piece]).split() == ["bear"] * 40
    )
    (whole,) = encode(parts, [LONG])
    assert whole.embeddings.shape == (1, 3 * 16, 32)
    (first, last) = encode(parts, ["bear " * 14, "bear " * 12])
    assert torch.equal(whole.embeddings[:, :16], first.embeddings)
    assert torch.equal(whole.embeddings[:, 32:], last.embeddings)


def test_a_prompt_that_just_fits_is_one_chunk(parts: Parts) -> None:
    assert len(chunks(parts, "bear " * 14)) == 1
    assert len(chunks(parts, "bear " * 15)) == 2
    assert chunks(parts, "") == [[]]


def test_clip_skip_takes_earlier_layers(parts: Parts) -> None:
    (skipped,) = encode(parts, ["a bear"], clip_skip=2)
    encoder = parts.text_encoder
    ids = parts.tokenizer("a bear", padding="max_length", max_length=16, return_tensors="pt")
    layers = encoder(ids.input_ids, output_hidden_states=True).hidden_states
    # Embeddings, then the states after each of the three layers.
    assert len(layers) == 4
    assert torch.equal(skipped.embeddings, encoder.final_layer_norm(layers[1]))
    # The norm of the last layer's states is what clip_skip 0 gives.
    (plain,) = encode(parts, ["a bear"])
    assert torch.equal(plain.embeddings, encoder.final_layer_norm(layers[3]))


@pytest.mark.parametrize("wrong", [-1, 3, 12])
def test_clip_skip_out_of_range(parts: Parts, wrong: int) -> None:
    with pytest.raises(UsageError, match=f"clip_skip must be 0 to 2 for this model, not {wrong}"):
        encode(parts, ["a bear"], clip_skip=wrong)
