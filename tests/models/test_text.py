from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdcreative import Studio
from sdcreative.core.prompt_syntax import read_prompt
from sdcreative.core.prompt_words import Wording
from sdcreative.errors import UsageError
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.text import chunks, encode
from sdcreative.models.weighted_text import cut, reweigh

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
    pieces = [chunk.tokens for chunk in chunks(parts, LONG)]
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
    assert [chunk.tokens for chunk in chunks(parts, "")] == [()]


def test_clip_skip_takes_earlier_layers(parts: Parts) -> None:
    (skipped,) = encode(parts, ["a bear"], clip_skip=3)
    encoder = parts.text_encoder
    ids = parts.tokenizer("a bear", padding="max_length", max_length=16, return_tensors="pt")
    layers = encoder(ids.input_ids, output_hidden_states=True).hidden_states
    # Embeddings, then the states after each of the three layers.
    assert len(layers) == 4
    assert torch.equal(skipped.embeddings, encoder.final_layer_norm(layers[1]))
    # The norm of the last layer's states is what clip_skip 1 gives.
    (plain,) = encode(parts, ["a bear"])
    assert torch.equal(plain.embeddings, encoder.final_layer_norm(layers[3]))


@pytest.mark.parametrize("wrong", [-1, 0, 4])
def test_clip_skip_out_of_range(parts: Parts, wrong: int) -> None:
    with pytest.raises(UsageError, match=f"clip_skip must be 1 to 3 for this model, not {wrong}"):
        encode(parts, ["a bear"], clip_skip=wrong)


WEIGHTED = [
    "a (red:1.4) bear",
    "((a picture)) of [a bear], (a red apple:0.3)",
    "(a bear:-0.5) (and:0) an apple",
    "(" + "a picture of a bear, " * 12 + ":1.3) a [[blue car]]",
]


def worded(text: str) -> Wording:
    return read_prompt(text).terms[0].at(0, 1)


def restated(parts: Parts, ids: list[int], weights: list[float]) -> Tensor:
    """Hidden states of one chunk weighed as AUTOMATIC1111 does, written out token by token."""
    tokenizer, length = parts.tokenizer, parts.context
    rest = length - len(ids) - 2
    row = [tokenizer.bos_token_id, *ids, *[tokenizer.eos_token_id] * (rest + 1)]
    with torch.no_grad():
        states = parts.text_encoder(torch.tensor([row])).last_hidden_state[0]
    mean = sum(float(vector.double().sum()) for vector in states) / states.numel()
    heavy = [
        vector.double() * weight
        for vector, weight in zip(states, [1.0, *weights, *[1.0] * (rest + 1)], strict=True)
    ]
    new_mean = sum(float(vector.sum()) for vector in heavy) / states.numel()
    return torch.stack(heavy) * (mean / new_mean)


@pytest.mark.parametrize("text", WEIGHTED)
def test_weights_multiply_the_vectors_and_the_mean_is_restored(studio: Studio, text: str) -> None:
    parts, wording = studio.parts, worded(text)
    (found,) = encode(parts, [wording])
    expected = [restated(parts, list(c.tokens), list(c.weights)) for c in chunks(parts, wording)]
    assert torch.allclose(found.embeddings[0].double(), torch.cat(expected), atol=1e-4)
    plain = encode(parts, [text])[0].embeddings
    assert found.embeddings.shape[1] <= plain.shape[1]
    for chunk in found.embeddings[0].split(parts.context):
        assert torch.isfinite(chunk).all()


@pytest.mark.parametrize("text", [text.replace(",", "") for text in WEIGHTED])
def test_tokens_and_vectors_are_those_of_another_embedder(studio: Studio, text: str) -> None:
    """It leaves out the mean, and the rule for commas."""
    embedder = pytest.importorskip("diffusion_prompt_embedder.clip.tokenization")
    embedding = pytest.importorskip("diffusion_prompt_embedder.core.embedding")
    parts = studio.parts
    ids, weights = embedder.get_prompts_tokens_with_weights(parts.tokenizer, text)
    ours = chunks(parts, worded(text))
    assert [token for chunk in ours for token in chunk.tokens] == ids
    assert [w for chunk in ours for w in chunk.weights] == pytest.approx(weights, rel=1e-12)
    ends = parts.tokenizer.bos_token_id, parts.tokenizer.eos_token_id
    room = parts.context - 2
    groups = [
        [ends[0], *chunk.tokens, *[ends[1]] * (room - len(chunk.tokens) + 1)] for chunk in ours
    ]
    factors = [[1.0, *c.weights, *[1.0] * (room - len(c.weights) + 1)] for c in ours]
    with torch.no_grad():
        theirs = embedding.encode_tokens_with_weights(
            parts.text_encoder, groups, factors, parts.device, torch.float32
        )
    for mine, other in zip(
        encode(parts, [worded(text)])[0].embeddings.split(parts.context, dim=1), theirs, strict=True
    ):
        # The same directions and proportions; our chunk is scaled as a whole.
        assert torch.allclose(mine * (other.mean() / mine.mean()), other, atol=1e-3)


def test_weights_of_one_change_no_bit(studio: Studio) -> None:
    text = "a picture of a bear, a red apple"
    (plain, weighed) = encode(studio.parts, [text, worded(f"({text}:1)")])
    assert torch.equal(plain.embeddings, weighed.embeddings)


def test_vectors_whose_mean_is_gone_stay_numbers() -> None:
    states = torch.tensor([[[1.0], [1.0]]])
    assert torch.equal(reweigh(states, (1.0, -1.0)), torch.tensor([[[1.0], [-1.0]]]))
    half = reweigh(states.half(), (1.0, 3.0))
    assert half.dtype == torch.float16
    assert torch.equal(half, torch.tensor([[[0.5], [1.5]]]).half())


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        # 75 tokens a chunk; where the last comma is among the last 20, the chunk ends behind it.
        ("a " * 60 + ", " + "b " * 30, [61, 30]),
        ("a " * 55 + ", " + "b " * 30, [56, 30]),
        ("a " * 54 + ", " + "b " * 30, [75, 10]),
        ("a " * 74 + ", " + "b " * 5, [75, 5]),
        ("a " * 75 + ", " + "b " * 5, [75, 6]),
        ("a " * 60 + ", " + "b " * 14, [75]),
        ("a , " * 60, [75, 45]),
        ("a " * 60 + ", " + "b " * 60 + ", " + "c " * 20, [61, 61, 20]),
        ("a " * 90, [75, 15]),
    ],
)
def test_a_comma_near_the_end_ends_a_chunk(studio: Studio, words: str, sizes: list[int]) -> None:
    tokenizer = studio.parts.tokenizer
    found = cut(tokenizer, Wording.of(words), 75)
    # A comma right at the end is where the chunk would have ended anyway.
    assert [len(chunk.tokens) for chunk in found] == sizes
    ids = tokenizer(words, add_special_tokens=False).input_ids
    assert [token for chunk in found for token in chunk.tokens] == ids


def test_weights_move_with_their_tokens(studio: Studio) -> None:
    text = "a " * 60 + ", (" + "b " * 30 + ":2)"
    first, second = cut(studio.parts.tokenizer, worded(text), 75)
    assert set(first.weights) == {1} and set(second.weights) == {2}


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("a BREAK b c", [1, 2]),
        ("a BREAK BREAK b", [1, 0, 1]),
        ("BREAK a", [0, 1]),
        ("a BREAK", [1]),
        ("BREAK", [0]),
        ("a " * 14 + "BREAK b", [14, 1]),
        ("a " * 15 + "BREAK b", [14, 1, 1]),
    ],
)
def test_break_pads_a_chunk(parts: Parts, text: str, sizes: list[int]) -> None:
    assert [len(chunk.tokens) for chunk in chunks(parts, worded(text))] == sizes
    (found,) = encode(parts, [worded(text)])
    assert found.embeddings.shape == (1, 16 * len(sizes), 32)


def test_a_chunk_after_break_is_encoded_alone(parts: Parts) -> None:
    whole, first, second = encode(parts, [worded("a bear BREAK (b:2)"), "a bear", worded("(b:2)")])
    expected = torch.cat([first.embeddings, second.embeddings], dim=1)
    assert torch.equal(whole.embeddings, expected)
