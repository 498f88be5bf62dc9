"""Keys and values of prompts are computed once, and are those that the U-Net would compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from sdcreative import Studio
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.guidance import predict_guided
from sdcreative.core.sampling import Guidance
from sdcreative.models.attention_maps import recording
from sdcreative.models.denoiser import predictor
from sdcreative.models.parts import Parts


@pytest.fixture
def parts(studio: Studio) -> Parts:
    return studio.parts


@pytest.fixture
def keyed(parts: Parts) -> Any:
    """Counts how often the U-Net's layer of keys is called."""
    calls: list[int] = []
    first = parts.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_k
    hook = first.register_forward_hook(lambda *said: calls.append(1))
    yield calls
    hook.remove()


def words(parts: Parts, rows: int, seed: int = 0) -> Conditioning:
    draws = torch.Generator().manual_seed(seed)
    width = parts.unet.config.cross_attention_dim
    return Conditioning(torch.randn(rows, 77, width, generator=draws))


def plain(parts: Parts, latents: torch.Tensor, time: int, told: Conditioning) -> torch.Tensor:
    output: torch.Tensor = parts.unet(latents, time, told.embeddings, return_dict=False)[0]
    return output


def test_a_prompt_is_looked_at_once_for_all_steps(parts: Parts, keyed: list[int]) -> None:
    predict = predictor(parts)
    guidance = Guidance(words(parts, 2), words(parts, 2, 1), torch.full((2,), 4.0))
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        for time in (900, 500, 100):
            predict_guided(predict, latents, torch.tensor(time), guidance)
        assert len(keyed) == 1
        again = replace(guidance, conditional=words(parts, 2, 3))
        predict_guided(predict, latents, torch.tensor(900), again)
        assert len(keyed) == 2


def test_what_it_gives_is_bit_for_bit_the_u_nets(parts: Parts) -> None:
    predict, one, other = predictor(parts), words(parts, 2), words(parts, 2, 1)
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        for told, time in ((one, 900), (one, 500), (other, 500), (one, 500)):
            found = predict(latents, torch.tensor(time), told)
            assert torch.equal(found, plain(parts, latents, time, told))


def test_changed_weights_are_seen_by_the_next_film(parts: Parts) -> None:
    told, latents = words(parts, 2), torch.randn(2, 4, 8, 8)
    layer = parts.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_v
    with torch.inference_mode():
        before = predictor(parts)(latents, torch.tensor(500), told)
        kept = layer.weight.data
        layer.weight.data = kept * 2
        try:
            found = predictor(parts)(latents, torch.tensor(500), told)
            assert not torch.equal(found, before)
            assert torch.equal(found, plain(parts, latents, 500, told))
        finally:
            layer.weight.data = kept


def test_attention_that_is_recorded_is_computed_anew(parts: Parts) -> None:
    predict, told, latents = predictor(parts), words(parts, 2), torch.randn(2, 4, 8, 8)
    with torch.inference_mode():
        expected = predict(latents, torch.tensor(500), told)
        with recording(parts.unet) as maps:
            found = predict(latents, torch.tensor(500), told)
        assert maps.calls[0].shape[:2] == (2, 77)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(predict(latents, torch.tensor(500), told), expected)


def test_gradients_go_through_to_the_prompt(parts: Parts) -> None:
    predict, latents = predictor(parts), torch.randn(1, 4, 8, 8)
    embeddings = words(parts, 1).embeddings.requires_grad_(True)
    for _ in range(2):
        predict(latents, torch.tensor(500), Conditioning(embeddings)).sum().backward()
    assert embeddings.grad is not None and bool(embeddings.grad.abs().sum() > 0)
