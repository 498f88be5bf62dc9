"""Recorded attention: shares that add up, a U-Net that says what it said, words at their tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sdcreative import Studio
from sdcreative.core.prompt_words import Wording
from sdcreative.errors import UsageError
from sdcreative.models.attention_maps import AttentionMaps, recording, token_places, word_map
from sdcreative.models.building import build_unet


@pytest.fixture(scope="module")
def unet() -> Any:
    torch.manual_seed(0)
    return build_unet((32, 64), 1, 4, 8, 16).eval()


def call(unet: Any, height: int = 8, width: int = 12, **options: Any) -> Tensor:
    torch.manual_seed(1)
    latents, text = torch.randn(2, 4, height, width), torch.randn(2, 5, 16)
    with torch.inference_mode():
        predicted: Tensor = unet(latents, 500, encoder_hidden_states=text, **options).sample
    return predicted


@contextmanager
def kept_scores(unet: Any) -> Iterator[list[Tensor]]:
    """Shares (rows, heads, places, tokens) as diffusers' own slower processor computes them."""
    from diffusers.models.attention_processor import AttnProcessor

    found: list[Tensor] = []
    before = unet.attn_processors
    unet.set_attn_processor(AttnProcessor())
    layers = [one for name, one in unet.named_modules() if name.endswith("attn2")]
    for layer in layers:

        def score(query: Tensor, key: Tensor, mask: Any = None, own: Any = layer) -> Tensor:
            shares: Tensor = type(own).get_attention_scores(own, query, key, mask)
            found.append(shares.unflatten(0, (-1, own.heads)))
            return shares

        layer.get_attention_scores = score
    yield found
    for layer in layers:
        del layer.get_attention_scores
    unet.set_attn_processor(before)


def test_shares_of_all_tokens_add_up_to_1_at_every_place(unet: Any) -> None:
    with recording(unet) as maps:
        call(unet)
        call(unet, 7, 9)
    assert [each.shape for each in maps.calls] == [(2, 5, 8, 12), (2, 5, 7, 9)]
    for each in maps.calls:
        assert (each.sum(dim=1) - 1).abs().max() < 1e-5
        assert each.min() >= 0
        assert each.std(dim=(2, 3)).min() > 0


def test_the_unet_predicts_as_without_recording_and_is_left_as_it_was(unet: Any) -> None:
    plain, before = call(unet), unet.attn_processors
    with recording(unet):
        assert (call(unet) - plain).abs().max() < 1e-5
    assert unet.attn_processors == before
    assert not any(one._forward_pre_hooks or one._forward_hooks for one in unet.modules())
    with pytest.raises(ZeroDivisionError), recording(unet):
        _ = 1 / 0
    assert torch.equal(call(unet), plain)


def test_maps_are_the_mean_of_what_diffusers_computes_itself(unet: Any) -> None:
    with recording(unet) as maps:
        call(unet)
    with kept_scores(unet) as scores:
        call(unet)
    assert len(scores) == 4
    # All layers with attention lie on the second level, of half the size.
    square = torch.stack(scores).mean(dim=(0, 2)).mT.unflatten(-1, (4, 6))
    wanted = torch.nn.functional.interpolate(square, (8, 12), mode="bilinear")
    assert (maps.calls[0] - wanted).abs().max() < 1e-6


def test_tokens_that_are_masked_get_nothing(unet: Any) -> None:
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    plain = call(unet, encoder_attention_mask=mask)
    with recording(unet) as maps:
        assert (call(unet, encoder_attention_mask=mask) - plain).abs().max() < 1e-5
    assert maps.calls[0][0, 3:].max() == 0
    assert maps.calls[0][1, 3:].min() > 0


def test_a_whole_picture_is_the_same_with_recording(studio: Studio) -> None:
    plain = studio.picture("a red apple", seed=3, steps=2)
    with recording(studio.parts.unet) as maps:
        recorded = studio.picture("a red apple", seed=3, steps=2)
    near = [abs(a - b) for a, b in zip(plain.tobytes(), recorded.tobytes(), strict=True)]
    assert max(near) <= 1
    # Without a prompt and with one, side by side.
    assert [each.shape for each in maps.calls] == [(2, 32, 16, 16)] * 2
    assert not torch.allclose(maps.calls[0][0], maps.calls[0][1])


def test_means_over_calls_and_rows() -> None:
    maps = AttentionMaps([torch.full((2, 3, 1, 1), float(value)) for value in (1, 2, 6)])
    maps.calls[0][1] = 4
    assert float(maps.mean()[0]) == 4
    assert float(maps.mean(row=0, stop=2)[0]) == 1.5
    assert float(maps.mean(first=2)[0]) == 6
    with pytest.raises(UsageError, match="from call 3 to 5; 3 were recorded"):
        maps.mean(first=3, stop=5)
    maps.calls.append(torch.zeros(1, 4, 1, 1))
    with pytest.raises(UsageError, match="differ in size has no mean"):
        maps.mean()


def test_words_are_found_at_their_tokens_in_every_chunk(studio: Studio) -> None:
    parts = studio.parts
    # The start token is at 0, and at 32 of the second chunk.
    assert token_places(parts, "a picture of a bear", "Bear") == (5,)
    assert token_places(parts, "a picture of a bear", "a") == (1, 4)
    assert token_places(parts, "a red apple, on a plate", "red apple") == (2, 3)
    assert token_places(parts, "bear " * 31, "bear") == (*range(1, 31), 33)
    sections = ((("a", 1.0), ("bear", 1.2)), (("a bear", 1.0),))
    assert token_places(parts, Wording(sections), "bear") == (2, 34)
    pieces = parts.tokenizer("dreambeach", add_special_tokens=False).input_ids
    assert token_places(parts, "dreambeach", "dreambeach") == tuple(range(1, len(pieces) + 1))


@pytest.mark.parametrize("word", ["apple", "bear picture", ""])
def test_a_word_that_is_not_there_is_refused_with_the_tokens(studio: Studio, word: str) -> None:
    with pytest.raises(UsageError, match=r"its tokens are a</w> bear</w>"):
        token_places(studio.parts, "a bear", word)


def test_the_share_of_a_word_is_that_of_its_tokens_together() -> None:
    maps = torch.arange(12.0).reshape(3, 2, 2)
    assert torch.equal(word_map(maps, (0, 2)), maps[0] + maps[2])


def test_unets_that_cannot_be_recorded_are_refused(unet: Any) -> None:
    with pytest.raises(UsageError, match="this model's transformer"), recording(None):
        pass
    alone = build_unet((32, 64), 1, 4, 8, None)
    with pytest.raises(UsageError, match="attends to no text"), recording(alone):
        pass
    before = unet.attn_processors
    own = pytest.raises(UsageError, match="by _Recorder, in a way of its own")
    with recording(unet), own, recording(unet):
        pass
    layer = next(one for name, one in unet.named_modules() if name.endswith("attn2"))
    layer.norm_q = SimpleNamespace()
    try:
        with pytest.raises(UsageError, match="in a way of its own"), recording(unet):
            pass
    finally:
        layer.norm_q = None
    assert unet.attn_processors == before
