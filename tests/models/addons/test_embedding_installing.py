"""New words: where prompts hold them, what they become, and that nothing of them stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from sdcreative.errors import ModelError, UsageError
from sdcreative.models.addons.embedding_files import TextualEmbedding
from sdcreative.models.addons.embedding_installing import install, words_of
from sdcreative.models.loading import Parts
from sdcreative.models.text import encode

WIDTH, OLD = 32, 517


def vectors(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def ids(parts: Parts, text: str) -> list[int]:
    return list(parts.tokenizer(text, add_special_tokens=False).input_ids)


def embedded(parts: Parts, prompt: str) -> torch.Tensor:
    return encode(parts, [prompt])[0].embeddings


def test_a_word_becomes_its_vectors(parts: Parts) -> None:
    rows = vectors(3)
    with install(parts, [("<cat-toy>", rows)]):
        found = ids(parts, "a <cat-toy> bear")
        assert found == [*ids(parts, "a"), OLD, OLD + 1, OLD + 2, *ids(parts, "bear")]
        table = parts.text_encoder.get_input_embeddings()
        assert torch.equal(table(torch.tensor(found[1:4])), rows)
        assert len(parts.tokenizer) == table.num_embeddings == OLD + 3
        assert words_of(parts.tokenizer) == {OLD: 3}


def test_the_encoder_reads_the_vectors_in_their_places(parts: Parts) -> None:
    # A known token's own vector under a new word: the same text.
    table = parts.text_encoder.get_input_embeddings().weight
    known = ids(parts, "bear")
    before = embedded(parts, "a bear, a bear bear")
    with install(parts, [("grizzly", table[known].clone()), ("pair", table[known * 2].clone())]):
        assert torch.equal(embedded(parts, "a grizzly, a pair"), before)
        assert torch.equal(embedded(parts, "a bear, a bear bear"), before)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("EasyNegative", 1),
        ("easynegative, EASYNEGATIVE", 2),
        ("uneasynegative", 0),
        ("easynegatives", 0),
        ("(easynegative:1.2)", 1),
        ("<cat-toy>", 1),
        ("a<Cat-Toy>b", 1),
        ("cat-toy", 0),
        ("my   style v2.", 1),
        ("my style v22", 0),
        ("my style", 0),
        ("my style v2 x", 1),
    ],
)
def test_where_words_are_found(parts: Parts, prompt: str, count: int) -> None:
    words = [("EasyNegative", vectors(2)), ("<cat-toy>", vectors(1)), ("my style v2", vectors(4))]
    with install(parts, words):
        firsts = words_of(parts.tokenizer)
        assert firsts == {OLD: 2, OLD + 2: 1, OLD + 3: 4}
        assert sum(one in firsts for one in ids(parts, prompt)) == count


def test_the_longest_word_is_taken(parts: Parts) -> None:
    with install(parts, [("my style", vectors(1)), ("my style plus", vectors(1))]):
        assert ids(parts, "my style plus") == [OLD + 1]
        assert ids(parts, "my style") == [OLD]


def test_nothing_stays(parts: Parts) -> None:
    prompt = "a <cat-toy> bear in mystyle"
    tokenizer, table = parts.tokenizer, parts.text_encoder.get_input_embeddings()
    before = ids(parts, prompt), embedded(parts, prompt), len(tokenizer), tokenizer.get_vocab()
    backend, weight, rows = tokenizer.backend_tokenizer, table.weight, table.weight.clone()
    with install(parts, [("<cat-toy>", vectors(2))]):
        with install(parts, [("mystyle", vectors(3))]):
            assert words_of(tokenizer) == {OLD: 2, OLD + 2: 3}
            assert {OLD, OLD + 1, OLD + 2, OLD + 3, OLD + 4} < set(ids(parts, prompt))
        assert words_of(tokenizer) == {OLD: 2}
        assert not torch.equal(embedded(parts, prompt), before[1])
    assert parts.tokenizer is tokenizer
    assert tokenizer.backend_tokenizer is backend
    assert table.weight is weight
    assert torch.equal(weight, rows)
    assert table.num_embeddings == OLD
    assert words_of(tokenizer) == {}
    assert before[0] == ids(parts, prompt)
    assert torch.equal(before[1], embedded(parts, prompt))
    assert before[2:] == (len(tokenizer), tokenizer.get_vocab())


def test_the_pooled_position_is_the_end_of_the_text(parts: Parts) -> None:
    encoder, tokenizer = parts.text_encoder, parts.tokenizer
    encoder.eos_token_id = 2
    end = tokenizer.eos_token_id

    def pooled(tokens: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        padded = [tokenizer.bos_token_id, *tokens, *[end] * (15 - len(tokens))]
        output = encoder(torch.tensor([padded]))
        return output.pooler_output[0], output.last_hidden_state[0, len(tokens) + 1]

    before, place = pooled(ids(parts, "a bear"))
    assert torch.equal(before, place)
    with install(parts, [("<cat>", vectors(2))]):
        assert torch.equal(*pooled(ids(parts, "a <cat> bear")))
        assert torch.equal(pooled(ids(parts, "a bear"))[0], before)
    assert encoder.eos_token_id == 2


def test_a_padded_table_is_filled_before_it_grows(parts: Parts) -> None:
    table = parts.text_encoder.get_input_embeddings()
    padded = torch.nn.Parameter(torch.cat([table.weight, torch.zeros(3, WIDTH)]))
    table.weight, table.num_embeddings = padded, OLD + 3
    rows = vectors(2)
    with install(parts, [("<cat>", rows)]):
        assert table.weight.shape == (OLD + 3, WIDTH)
        assert torch.equal(table.weight[OLD : OLD + 2], rows)
    assert table.weight is padded
    assert not padded[OLD:].any()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bear"], "has the token 'bear' already"),
        (["BEAR"], "has the token 'BEAR' already"),
        (["<|endoftext|>"], "has the token '<|endoftext|>' already"),
        (["<new>", "<NEW>"], "two embeddings have the token '<NEW>'"),
        ([""], "needs a word that stands for it, not ''"),
        ([" \n"], "needs a word that stands for it"),
        (["x<|endoftext|>y"], "cannot be a word of a prompt"),
    ],
)
def test_words_that_cannot_be_new(parts: Parts, words: list[str], message: str) -> None:
    backend, table = parts.tokenizer.backend_tokenizer, parts.text_encoder.get_input_embeddings()
    weight = table.weight
    with pytest.raises(UsageError) as caught:
        install(parts, [(word, vectors(1)) for word in words])
    assert message in str(caught.value)
    assert parts.tokenizer.backend_tokenizer is backend
    assert table.weight is weight
    assert words_of(parts.tokenizer) == {}


def test_a_word_that_is_installed_already(parts: Parts) -> None:
    with (
        install(parts, [("<cat>", vectors(2))]),
        pytest.raises(UsageError, match="has the token '<Cat>' already"),
    ):
        install(parts, [("<Cat>", vectors(1))])
    assert len(parts.tokenizer) == OLD


def test_vectors_for_other_models(parts: Parts) -> None:
    for width, family in ((768, "Stable Diffusion 1"), (1024, "Stable Diffusion 2")):
        message = f"vectors of {width} numbers, as made for {family}; the text encoder of this "
        with pytest.raises(ModelError, match=f"{message}model takes 32 numbers"):
            install(parts, [("<cat>", torch.ones(1, width))])
    two = TextualEmbedding(
        "xl", torch.ones(1, 768), torch.ones(1, 1280), None, None, Path("xl.safetensors")
    )
    message = (
        r"xl\.safetensors has vectors of 768 and 1280 numbers, as made for Stable Diffusion XL"
    )
    with pytest.raises(ModelError, match=message):
        install(parts, [("xl", two)])
    with pytest.raises(ModelError, match="has 15 vectors; a prompt has room for 14"):
        install(parts, [("<cat>", vectors(15))])
    with pytest.raises(ModelError, match=r"no.* table of vectors|not a table of vectors"):
        install(parts, [("<cat>", torch.ones(WIDTH))])


def test_half_precision_that_overflows(parts: Parts) -> None:
    parts.text_encoder.half()
    weight = parts.text_encoder.get_input_embeddings().weight
    with pytest.raises(ModelError, match="an embedding overflows float16"):
        install(parts, [("<cat>", vectors(1) * 1e6)])
    assert parts.text_encoder.get_input_embeddings().weight is weight


def test_two_text_encoders_are_taught_together(parts: Parts) -> None:
    import copy
    from types import SimpleNamespace

    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    second = CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=48,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            vocab_size=OLD,
            max_position_embeddings=16,
        )
    ).eval()
    both = SimpleNamespace(
        text_encoder=parts.text_encoder,
        tokenizer=parts.tokenizer,
        text_encoder_2=second,
        tokenizer_2=copy.deepcopy(parts.tokenizer),
        context=16,
    )
    other = torch.ones(2, 48)
    with install(both, [("<cat>", (vectors(2), other))]):  # type: ignore[arg-type]
        found = both.tokenizer_2("<cat>", add_special_tokens=False).input_ids
        assert found == ids(parts, "<cat>") == [OLD, OLD + 1]
        assert torch.equal(second.get_input_embeddings().weight[OLD:], other)
    with pytest.raises(ModelError, match="the text encoders of this model take 32 and 48 numbers"):
        install(both, [("<cat>", vectors(2))])  # type: ignore[arg-type]
    assert len(both.tokenizer_2) == OLD
