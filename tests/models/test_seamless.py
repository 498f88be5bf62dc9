from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.seamless import wrapping
from sdcreative.models.vae import decode_latents


@pytest.fixture(scope="module")
def parts(tiny_checkpoint: Path) -> Parts:
    return load_parts(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def predicted(parts: Parts, latents: Tensor) -> Tensor:
    words = noise(1, 1, 4, parts.unet.config.cross_attention_dim)
    output: Tensor = parts.unet(latents, 500, words, return_dict=False)[0]
    return output


@pytest.mark.parametrize(("axes", "dim"), [("x", -1), ("y", -2), ("xy", -1), ("xy", -2)])
def test_a_rolled_picture_gives_the_rolled_result(parts: Parts, axes: str, dim: int) -> None:
    latents = noise(0, 1, 4, 8, 8)
    stride = 2 ** (len(parts.unet.config.block_out_channels) - 1)
    with wrapping([parts.unet, parts.vae], axes):
        torch.testing.assert_close(
            predicted(parts, latents.roll(stride, dim)),
            predicted(parts, latents).roll(stride, dim),
            rtol=1e-4,
            atol=1e-5,
        )
        torch.testing.assert_close(
            decode_latents(parts, latents.roll(3, dim), tile=False),
            decode_latents(parts, latents, tile=False).roll(3 * parts.downsampling, dim),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize(("axes", "dim"), [("x", -2), ("y", -1), ("", -1)])
def test_the_other_edges_stay_edges(parts: Parts, axes: str, dim: int) -> None:
    latents = noise(0, 1, 4, 8, 8)
    with wrapping([parts.unet], axes):
        rolled = predicted(parts, latents.roll(2, dim))
        assert (rolled - predicted(parts, latents).roll(2, dim)).abs().max() > 1e-3


def test_afterwards_the_model_is_as_it_was(parts: Parts) -> None:
    latents = noise(0, 1, 4, 8, 8)
    before = predicted(parts, latents)
    with pytest.raises(KeyError), wrapping([parts.unet], "xy"):
        assert not torch.equal(predicted(parts, latents), before)
        raise KeyError
    assert torch.equal(predicted(parts, latents), before)
